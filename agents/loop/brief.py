"""What a client asks of an agent beyond what the agent is: instructions, tools of the client's own, limits.

Values only. A session has one; a single reply may have another.
"""

from __future__ import annotations

from dataclasses import dataclass

from agents.models.port import ToolChoice, ToolSpec


@dataclass(frozen=True, slots=True)
class Brief:
    """How an agent is to reply. ``None`` stands for the agent's own way.

    ``instructions`` replace the agent's. ``tools`` are the client's: a reply that asks for one ends there, and the
    client answers with the result. They come before the agent's own tools of the same name. ``tool_choice`` ``none``
    keeps the agent's own tools back too, and so does one that demands a call.
    """

    instructions: str | None = None
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: ToolChoice = "auto"
    max_output_tokens: int | None = None
    temperature: float | None = None

    @property
    def must_call(self) -> bool:
        """Whether the reply has to be a call of one of the client's tools."""
        return bool(self.tools) and self.tool_choice not in {"auto", "none"}

    def owns(self, name: str) -> bool:
        """Whether the client runs this tool."""
        return any(tool.name == name for tool in self.tools)


NO_BRIEF = Brief()
