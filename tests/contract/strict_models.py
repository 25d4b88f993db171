"""Is this JSON value exactly what a typed model declares? Stricter than pydantic is by itself.

Walks the annotations of pydantic models beside the value and reports every deviation with its path: a field that is
missing, a field nobody declared, another literal, another type (nothing is coerced; ``true`` is no integer, ``1.0`` is
no integer, an integer is a number). Of a union the member is meant whose literals fit; where several could be, the
nearest.
Knows no protocol: ``openai_realtime_models`` drives it with the official SDK's types.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

_SCALARS: dict[Any, tuple[type, ...]] = {str: (str,), bool: (bool,), int: (int,), float: (int, float)}
_UNIONS = (Union, types.UnionType)


def deviations(value: Any, wanted: Any, path: str = "") -> list[str]:
    """What is wrong with a JSON value where an annotation is wanted; empty if nothing."""
    return list(_deviations(value, wanted, path))


def _deviations(value: Any, wanted: Any, path: str) -> Iterator[str]:
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin is Annotated:
        yield from _deviations(value, arguments[0], path)
    elif origin in _UNIONS:
        yield from _of_union(value, _members(wanted), path)
    elif origin is Literal:
        if not any(type(value) is type(choice) and value == choice for choice in arguments):
            yield f"{_at(path)} is {_shown(value)}, not {_choices(arguments)}"
    elif origin is list:
        yield from _of_list(value, arguments[0], path)
    elif origin is dict:
        yield from _of_mapping(value, arguments[1], path)
    elif isinstance(wanted, type) and issubclass(wanted, BaseModel):
        yield from _of_model(value, wanted, path)
    else:
        yield from _of_scalar(value, wanted, path)


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


def _of_list(value: Any, wanted: Any, path: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{_at(path)} is {_shown(value)}, not a list"
        return
    for index, item in enumerate(value):
        yield from _deviations(item, wanted, f"{path}[{index}]")


def _of_mapping(value: Any, wanted: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{_at(path)} is {_shown(value)}, not an object"
        return
    for name, item in value.items():
        yield from _deviations(item, wanted, _below(path, name))


def _of_model(value: Any, model: type[BaseModel], path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{_at(path)} is {_shown(value)}, not an object ({model.__name__})"
        return
    fields = wire_fields(model)
    for name, field in fields.items():
        if name in value:
            yield from _deviations(value[name], field.annotation, _below(path, name))
        elif field.is_required():
            yield f"{_below(path, name)} is missing ({model.__name__})"
    for name in value.keys() - fields.keys():
        yield f"{_below(path, name)} is not declared by {model.__name__}"


def _of_union(value: Any, members: list[Any], path: str) -> Iterator[str]:
    meant = [member for member in members if _could_be(value, member)]
    if not meant:
        yield f"{_at(path)} is {_shown(value)}: none of {', '.join(_named(member) for member in members)}"
        return
    tried = (deviations(value, member, path) for member in meant)
    yield from min(tried, key=len)


def _could_be(value: Any, member: Any) -> bool:
    """Whether a value is meant as this member: an object whose literals do not contradict, or a scalar that fits."""
    if isinstance(member, type) and issubclass(member, BaseModel):
        return isinstance(value, dict) and all(
            name not in value or not deviations(value[name], field.annotation)
            for name, field in wire_fields(member).items()
            if _is_literal(field.annotation) and field.is_required()
        )
    origin = get_origin(member)
    if origin in (list, dict):
        return isinstance(value, origin)
    return not deviations(value, member)


def wire_fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """A model's fields by their names on the wire."""
    model.model_rebuild()
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _members(wanted: Any) -> list[Any]:
    """The members of a union, those of unions inside it included."""
    if get_origin(wanted) is Annotated:
        return _members(get_args(wanted)[0])
    if get_origin(wanted) not in _UNIONS:
        return [wanted]
    return [inner for member in get_args(wanted) for inner in _members(member)]


def _is_literal(annotation: Any) -> bool:
    return get_origin(annotation) is Literal


def _named(member: Any) -> str:
    if _is_literal(member):
        return _choices(get_args(member))
    return "null" if member is type(None) else getattr(member, "__name__", str(member))


def _choices(arguments: tuple[Any, ...]) -> str:
    return " or ".join(repr(choice) for choice in arguments)


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _at(path: str) -> str:
    return path or "the value"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
