"""Is this JSON value exactly what a typed model declares? Stricter than the libraries that declare the models.

Walks annotations beside the value and reports every deviation with its path: a field that is missing, a field nobody
declared, another literal, another type (nothing is coerced; ``true`` and ``1.0`` are no integers, an integer is a
number). Of a union the member is meant whose literals fit; where several could be, the nearest. What a model is, a
``Models`` says: pydantic's are here. Knows no protocol: ``openai_realtime_models`` and ``voicelive_models`` drive it.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal, Protocol, Union, get_args, get_origin

from pydantic import BaseModel

_SCALARS: dict[Any, tuple[type, ...]] = {str: (str,), bool: (bool,), int: (int,), float: (int, float)}
_UNIONS = (Union, types.UnionType)
Fields = dict[str, tuple[Any, bool]]
"""By name on the wire: the annotation, and whether the field must be there."""


class Models(Protocol):
    """What counts as a model, and what it declares."""

    def fields(self, wanted: type) -> Fields | None:
        """The fields of a model; None for a type that is none."""
        ...

    def kinds(self, wanted: type) -> list[type]:
        """What a value of this model may be: its subclasses, where it is only their base."""
        ...


class PydanticModels:
    """Models of pydantic."""

    def fields(self, wanted: type) -> Fields | None:
        if not issubclass(wanted, BaseModel):
            return None
        wanted.model_rebuild()
        return {
            field.alias or name: (field.annotation, field.is_required()) for name, field in wanted.model_fields.items()
        }

    def kinds(self, wanted: type) -> list[type]:
        return [wanted]


@dataclass(frozen=True)
class Walker:
    """Holds values against annotations."""

    models: Models

    def deviations(self, value: Any, wanted: Any, path: str = "") -> list[str]:
        """What is wrong with a JSON value where an annotation is wanted; empty if nothing."""
        return list(self._walk(value, wanted, path))

    def _walk(self, value: Any, wanted: Any, path: str) -> Iterator[str]:
        members = self._members(wanted)
        if len(members) > 1:
            yield from self._of_union(value, members, path)
            return
        wanted = members[0]
        origin, arguments = get_origin(wanted), get_args(wanted)
        if origin is Literal:
            yield from _of_choices(value, arguments, path)
        elif origin is list:
            yield from self._of_list(value, arguments[0], path)
        elif origin is dict:
            yield from self._of_mapping(value, arguments[1], path)
        elif isinstance(wanted, type) and (fields := self.models.fields(wanted)) is not None:
            yield from self._of_model(value, wanted.__name__, fields, path)
        elif isinstance(wanted, type) and issubclass(wanted, Enum):
            yield from _of_choices(value, tuple(wanted), path)
        else:
            yield from _of_scalar(value, wanted, path)

    def _of_list(self, value: Any, wanted: Any, path: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield f"{_at(path)} is {_shown(value)}, not a list"
            return
        for index, item in enumerate(value):
            yield from self._walk(item, wanted, f"{path}[{index}]")

    def _of_mapping(self, value: Any, wanted: Any, path: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{_at(path)} is {_shown(value)}, not an object"
            return
        for name, item in value.items():
            yield from self._walk(item, wanted, _below(path, name))

    def _of_model(self, value: Any, model: str, fields: Fields, path: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{_at(path)} is {_shown(value)}, not an object ({model})"
            return
        for name, (annotation, required) in fields.items():
            if name in value:
                yield from self._walk(value[name], annotation, _below(path, name))
            elif required:
                yield f"{_below(path, name)} is missing ({model})"
        for name in value.keys() - fields.keys():
            yield f"{_below(path, name)} is not declared by {model}"

    def _of_union(self, value: Any, members: list[Any], path: str) -> Iterator[str]:
        meant = [member for member in members if self._could_be(value, member)]
        if not meant:
            yield f"{_at(path)} is {_shown(value)}: none of {', '.join(_named(member) for member in members)}"
            return
        yield from min((self.deviations(value, member, path) for member in meant), key=len)

    def _could_be(self, value: Any, member: Any) -> bool:
        """Whether a value is meant as this member: an object whose literals fit, or a scalar that does."""
        fields = self.models.fields(member) if isinstance(member, type) else None
        if fields is not None:
            return isinstance(value, dict) and all(
                name not in value or not self.deviations(value[name], annotation)
                for name, (annotation, required) in fields.items()
                if get_origin(annotation) is Literal and required
            )
        origin = get_origin(member)
        if origin in (list, dict):
            return isinstance(value, origin)
        return not self.deviations(value, member)

    def _members(self, wanted: Any) -> list[Any]:
        """What a value may be: the members of a union, those of unions inside it, the kinds of a base."""
        if get_origin(wanted) is Annotated:
            return self._members(get_args(wanted)[0])
        if get_origin(wanted) in _UNIONS:
            return [inner for member in get_args(wanted) for inner in self._members(member)]
        if isinstance(wanted, type) and self.models.fields(wanted) is not None:
            return list(self.models.kinds(wanted))
        return [wanted]


def _of_choices(value: Any, choices: tuple[Any, ...], path: str) -> Iterator[str]:
    plain = [choice.value if isinstance(choice, Enum) else choice for choice in choices]
    if not any(type(value) is type(choice) and value == choice for choice in plain):
        yield f"{_at(path)} is {_shown(value)}, not {_choices(choices)}"


def _of_scalar(value: Any, wanted: Any, path: str) -> Iterator[str]:
    if wanted in (object, Any):
        return
    if wanted in (None, type(None)):
        if value is not None:
            yield f"{_at(path)} is {_shown(value)}, not null"
        return
    if wanted not in _SCALARS:
        raise TypeError(f"{_at(path)}: {wanted!r} is a type this walker does not know")
    if not isinstance(value, _SCALARS[wanted]) or (isinstance(value, bool) and wanted is not bool):
        yield f"{_at(path)} is {_shown(value)}, not {wanted.__name__}"


def _named(member: Any) -> str:
    if get_origin(member) is Literal:
        return _choices(get_args(member))
    if isinstance(member, type) and issubclass(member, Enum):
        return _choices(tuple(member))
    return "null" if member is type(None) else getattr(member, "__name__", str(member))


def _choices(choices: tuple[Any, ...]) -> str:
    return " or ".join(repr(choice.value if isinstance(choice, Enum) else choice) for choice in choices)


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _at(path: str) -> str:
    return path or "the value"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
