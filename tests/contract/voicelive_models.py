"""Events of our server, held against the official Azure Voice Live SDK's own types, as strictly as OpenAI's are.

The SDK (``azure-ai-voicelive``; importing its models needs ``azure-core`` and ``isodate``, nothing heavier) reads
whatever comes. Its classes still say what the service sends: fields, which of them are optional, discriminators and
enumerations. Enumerations are closed here, although the SDK lets any string pass; names of voices are not.
"""

from __future__ import annotations

from difflib import get_close_matches
from enum import Enum
from functools import cache
from types import NoneType
from typing import Any, Union, get_args, get_origin, get_type_hints

from azure.ai.voicelive import _unions, models
from azure.ai.voicelive.models import _models as declared
from contract.strict_models import Fields, Walker

_NAMES = vars(declared) | {"_models": models, "_unions": _unions}
_OPEN_ENUMS = (models.OpenAIVoiceName,)


class VoiceLiveModels:
    """Models of the Voice Live SDK, for the walker."""

    def fields(self, wanted: type) -> Fields | None:
        return _fields(wanted) if issubclass(wanted, _Base) else None

    def kinds(self, wanted: type) -> list[type]:
        mapping: dict[str, type] = wanted.__dict__.get("__mapping__", {})
        return list(mapping.values()) or [wanted]


_Base: type = models.ServerEvent.__mro__[1]
_WALKER = Walker(VoiceLiveModels())


def validate(event: dict[str, Any]) -> None:
    """An event as the server emitted it (parsed JSON).

    Raises:
        AssertionError: it is not what the SDK declares; the message names each deviation with its path.
    """
    kinds = event_models()
    kind = event.get("type")
    if not isinstance(kind, str) or kind not in kinds:
        near = get_close_matches(str(kind), kinds, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise AssertionError(f"{kind!r} is no event type of Azure Voice Live{hint}")
    found = _WALKER.deviations(event, kinds[kind])
    assert not found, "\n  ".join([f"{kind} is not what the Voice Live SDK declares:", *found])


@cache
def event_models() -> dict[str, type]:
    """The SDK's model of each event, by event type."""
    return dict(models.ServerEvent.__mapping__)


@cache
def _fields(model: type) -> Fields:
    hints = get_type_hints(model, globalns=_NAMES)
    declarations = model()._attr_to_rest_field
    return {
        field._rest_name: (_closed(_on_the_wire(field, hints[name])), NoneType not in get_args(hints[name]))
        for name, field in declarations.items()
    }


def _on_the_wire(field: Any, annotation: Any) -> Any:
    """Times travel as numbers and bytes as base64, where the field says so."""
    plain = {"unix-timestamp": int, "base64": str}.get(field._format)
    if plain is None:
        return annotation
    return plain | None if NoneType in get_args(annotation) else plain


def _closed(annotation: Any) -> Any:
    """The annotation without the ``str`` that stands beside an enumeration to let unknown values pass."""
    arguments = get_args(annotation)
    if get_origin(annotation) is list:
        return list[_closed(arguments[0])]
    if get_origin(annotation) is not Union:
        return annotation
    enums = {one for one in arguments if isinstance(one, type) and issubclass(one, Enum)}
    dropped = str if enums and not enums & set(_OPEN_ENUMS) else None
    return Union[tuple(_closed(one) for one in arguments if one is not dropped)]  # noqa: UP007
