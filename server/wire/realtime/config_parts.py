"""Pieces of a session's configuration that both dialects share: tools, tool choice, limits. Pydantic models."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from agents.models.port import ToolChoice, ToolNamed, ToolSpec
from server.wire.realtime.faults import RealtimeFault

MAX_INSTRUCTIONS = 60_000
MAX_TOOLS = 128


class Part(BaseModel):
    """Base of what clients configure: strict, and a name nobody knows is a fault, as with the original."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class FunctionTool(Part):
    """A function of the client's own."""

    type: Literal["function"] = "function"
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    description: Annotated[str, Field(max_length=10_000)] | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    def spec(self) -> ToolSpec:
        """The tool as a model sees it."""
        return ToolSpec(self.name, self.description or "", self.parameters or {"type": "object", "properties": {}})


class NamedChoice(Part):
    """One tool that must be called."""

    type: Literal["function"]
    name: str


ToolChoiceField = Literal["auto", "none", "required"] | NamedChoice
Instructions = Annotated[str, Field(max_length=MAX_INSTRUCTIONS)]
Tools = Annotated[tuple[FunctionTool, ...], Field(max_length=MAX_TOOLS, strict=False)]
MaxOutputTokens = Annotated[int, Field(ge=1, le=4_096)] | Literal["inf"]
Temperature = Annotated[float, Field(ge=0, le=2)]


def specs_of(tools: tuple[FunctionTool, ...] | None) -> tuple[ToolSpec, ...]:
    """The tools as a model sees them. Raises RealtimeFault where two have one name."""
    specs = tuple(tool.spec() for tool in tools or ())
    if len({spec.name for spec in specs}) != len(specs):
        raise RealtimeFault("Two tools have the same name.", param="session.tools")
    return specs


def choice_of(choice: ToolChoiceField | None) -> ToolChoice:
    """The choice of tools as a model takes it."""
    return ToolNamed(choice.name) if isinstance(choice, NamedChoice) else choice or "auto"


def require_known(choice: ToolChoice, tools: tuple[ToolSpec, ...], param: str) -> None:
    """Raise RealtimeFault where a tool is to be called that is none of the client's."""
    if isinstance(choice, ToolNamed) and all(tool.name != choice.name for tool in tools):
        raise RealtimeFault(f"There is no tool called '{choice.name[:64]}'.", param=param)


def tokens_of(limit: int | str | None) -> int | None:
    """A limit in tokens, where there is one."""
    return limit if isinstance(limit, int) else None


def without_absent(value: Any) -> Any:
    """The same without what is ``None``: an absent field is left out, since clients refuse many a null."""
    if isinstance(value, dict):
        return {key: without_absent(item) for key, item in value.items() if item is not None}  # pyright: ignore
    if isinstance(value, (list, tuple)):
        return [without_absent(item) for item in value]  # pyright: ignore
    return value


def merged(base: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``patch`` laid over it, objects within objects too; lists and ``null`` replace."""
    result = dict(base)
    for key, value in patch.items():
        before = result.get(key)
        both = isinstance(before, dict) and isinstance(value, dict)
        result[key] = merged(before, value) if both and not _is_whole(before, value) else value  # pyright: ignore
    return result


def _is_whole(before: dict[str, Any], value: dict[str, Any]) -> bool:
    """Whether the new object is of another kind than the old one, and replaces it."""
    return "type" in value and value["type"] != before.get("type")
