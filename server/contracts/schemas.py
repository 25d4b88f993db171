"""JSON Schemas of the contract's models, as they hold on the wire.

Pydantic writes them; two corrections follow, because a frame always says its ``type`` while a model knows its own:
``type`` is required, and a constant has no default. Driven by ``server.contracts.generate``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from pydantic.json_schema import models_json_schema

from server.contracts.base import Contract

Json = dict[str, Any]


def schemas_of(models: Iterable[type[Contract]], ref_prefix: str) -> dict[str, Json]:
    """The schema of each model and of all it refers to, by name, sorted. References start with ``ref_prefix``."""
    wanted = [(model, "validation") for model in dict.fromkeys(models)]
    _, bundle = models_json_schema(cast("Any", wanted), ref_template=ref_prefix + "{model}")
    definitions = cast("dict[str, Json]", bundle["$defs"])
    return {name: _as_on_the_wire(definitions[name]) for name in sorted(definitions)}


def _as_on_the_wire(schema: Json) -> Json:
    properties = cast("dict[str, Json]", schema.get("properties", {}))
    kind = properties.get("type")
    if kind is None or "const" not in kind:
        return schema
    without_default = {key: value for key, value in kind.items() if key != "default"}
    return {
        **schema,
        "properties": {"type": without_default, **{k: v for k, v in properties.items() if k != "type"}},
        "required": ["type", *schema.get("required", [])],
    }
