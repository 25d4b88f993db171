"""A tool: a typed Python function that an agent may call.

Owns the way from a function's signature and docstring to a JSON Schema, and from a model's JSON arguments to a checked
call. Knows nothing of turns, limits in force or threads; those are ``agents.tools.runner``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.json_schema import GenerateJsonSchema

from agents.errors import ToolError
from agents.models.port import ToolSpec

DEFAULT_LIMIT_S: Final = 10.0
MAX_ARGUMENT_CHARS: Final = 16_384
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_SECTION: Final = re.compile(r"^(args|arguments|parameters|returns|raises|yields|examples?|notes?):\s*$", re.IGNORECASE)
_ARGUMENT: Final = re.compile(r"^\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.*)$")


@dataclass(frozen=True, slots=True)
class Tool:
    """A function an agent may call.

    ``effects`` is False only where calling it changes nothing anywhere; then it may run for a draft the user never
    hears. ``limit_s`` bounds one call. ``function`` is sync or async; its parameters match ``arguments``.
    """

    spec: ToolSpec
    function: Callable[..., Any]
    arguments: type[BaseModel]
    effects: bool = True
    limit_s: float = DEFAULT_LIMIT_S

    @property
    def name(self) -> str:
        """What the model calls it."""
        return self.spec.name

    @property
    def is_async(self) -> bool:
        """Whether it runs on the event loop; the others run in a worker thread."""
        return inspect.iscoroutinefunction(self.function)

    def checked(self, arguments: str) -> dict[str, Any]:
        """A model's arguments (JSON text) as keyword arguments of the right types.

        Raises:
            ToolError: one sentence that tells the model what is wrong.
        """
        if len(arguments) > MAX_ARGUMENT_CHARS:
            raise ToolError(f"The arguments of {self.name} are too long.")
        try:
            values = self.arguments.model_validate_json(arguments.strip() or "{}")
        except ValidationError as error:
            raise ToolError(f"The arguments of {self.name} are not right: {_sentence(error)}.") from error
        return {name: getattr(values, name) for name in self.arguments.model_fields}

    def call(self, arguments: Mapping[str, Any]) -> Any | Awaitable[Any]:
        """Call the function with checked arguments."""
        return self.function(**arguments)


def tool(
    *, effects: bool = True, limit_s: float = DEFAULT_LIMIT_S, name: str | None = None
) -> Callable[[Callable[..., Any]], Tool]:
    """Make a ``Tool`` of a function with typed parameters and a docstring (Google style).

    Args:
        effects: whether calling it changes anything anywhere; say False only where it surely does not.
        limit_s: how long one call may take.
        name: what the model calls it; the function's own name by default.

    Raises:
        TypeError: a parameter without a type, or one that cannot be given by name; a missing docstring; a bad name.
    """

    def make(function: Callable[..., Any]) -> Tool:
        tool_name = name or function.__name__
        if not _NAME.fullmatch(tool_name):
            raise TypeError(f"{tool_name!r} is no name for a tool")
        description, notes = _read_docstring(function)
        if not description:
            raise TypeError(f"the tool {tool_name} needs a docstring: it is all the model knows of it")
        arguments = _arguments_model(function, tool_name, notes)
        spec = ToolSpec(tool_name, description, _schema(arguments))
        return Tool(spec, function, arguments, effects=effects, limit_s=limit_s)

    return make


def _arguments_model(function: Callable[..., Any], name: str, notes: Mapping[str, str]) -> type[BaseModel]:
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}:
            raise TypeError(f"{name}: {parameter.name} cannot be given by name")
        if parameter.name not in hints:
            raise TypeError(f"{name}: {parameter.name} has no type")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints[parameter.name], Field(default, description=notes.get(parameter.name)))
    return create_model(f"{name}_arguments", __config__=ConfigDict(extra="forbid"), **fields)


class _PlainSchema(GenerateJsonSchema):
    """Without the titles pydantic adds: they say nothing and cost the model tokens."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _schema(arguments: type[BaseModel]) -> dict[str, Any]:
    schema = arguments.model_json_schema(schema_generator=_PlainSchema)
    schema.pop("title", None)
    schema.setdefault("properties", {})
    return schema


def _read_docstring(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """What the tool does, and what its arguments mean (the ``Args:`` section)."""
    lines = inspect.cleandoc(function.__doc__ or "").splitlines()
    description: list[str] = []
    notes: dict[str, str] = {}
    section, current = "", ""
    for line in lines:
        heading = _SECTION.match(line)
        if heading:
            section = heading[1].lower()
        elif not section:
            description.append(line)
        elif section in {"args", "arguments", "parameters"} and line.strip():
            argument = _ARGUMENT.match(line.strip())
            if argument and line.startswith("    ") and not line.startswith("     "):
                current = argument[1]
                notes[current] = argument[2]
            elif current:
                notes[current] = f"{notes[current]} {line.strip()}".strip()
    return " ".join(" ".join(description).split()), notes


def _sentence(error: ValidationError) -> str:
    faults: list[str] = []
    for fault in error.errors(include_url=False, include_input=False, include_context=False)[:3]:
        place = ".".join(str(part) for part in fault["loc"])
        faults.append(f"{place}: {fault['msg']}" if place else fault["msg"])
    return "; ".join(faults)
