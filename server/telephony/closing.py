"""What is to happen to a call when the agent's words have been heard: hanging up, a transfer, keys. Pure.

A tool asks for it in the middle of a turn, or the agent says goodbye by itself; it happens when that turn is over, and
not at all where the caller spoke into it (unless it is ``firm``). Driven by ``server.telephony.conversation``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from agents.events import ToolReturned, TurnCompleted, TurnStarted
from server.telephony.tools import END_CALL, TRANSFER_CALL

Step = Literal["end", "transfer", "press"]
Target = tuple[str, str | None]
ENDINGS: Final = frozenset({END_CALL, TRANSFER_CALL})

PATIENCE_MS: Final = 20_000
"""How long the words may take; then it happens anyway."""
UNSAID_MS: Final = 3_000
"""How long words of the agent's own may take to begin: who speaks just then keeps them from being said."""


@dataclass(slots=True)
class _Plan:
    step: Step
    target: Target | None
    due_ms: int
    said: str | None
    firm: bool
    turn_id: str | None = None
    now: bool = False


class Closing:
    """One call's: at most one plan at a time, the latest."""

    def __init__(self, tools: frozenset[str] = ENDINGS) -> None:
        """``tools`` are those that ask for it."""
        self._tools = tools
        self._plan: _Plan | None = None

    def plan(
        self, step: Step, now_ms: int, target: Target | None = None, *, said: str | None = None, firm: bool = False
    ) -> None:
        """Do this after the turn that says ``said`` (``None``: the one whose tool asks for it)."""
        if self._plan is None or not self._plan.firm:
            limit_ms = PATIENCE_MS if said is None else UNSAID_MS
            self._plan = _Plan(step, target, now_ms + limit_ms, said, firm)

    def forget(self) -> None:
        """The caller goes on: nothing of it happens."""
        if self._plan is not None and not self._plan.firm:
            self._plan = None

    def turn_started(self, event: TurnStarted, now_ms: int) -> None:
        """A turn begins: the one that says the words, or another's."""
        plan = self._plan
        if plan is None:
            return
        if plan.turn_id is None and plan.said is not None and plan.said == event.text:
            plan.turn_id, plan.due_ms = event.turn_id, now_ms + PATIENCE_MS
        elif event.source in {"speech", "text"} and event.turn_id != plan.turn_id:
            self.forget()

    def tool_returned(self, event: ToolReturned) -> None:
        """A tool of the call's has answered, in the turn whose end is waited for."""
        if self._plan is not None and event.name in self._tools:
            self._plan.turn_id = event.turn_id

    def turn_completed(self, event: TurnCompleted) -> None:
        """A turn is over, heard or interrupted."""
        plan = self._plan
        if plan is None or plan.turn_id != event.turn_id:
            return
        if event.interrupted and not plan.firm:
            self._plan = None
        else:
            plan.now = True

    def due(self, now_ms: int) -> tuple[Step, Target | None] | None:
        """What is to be done now; told once."""
        plan = self._plan
        if plan is None or not (plan.now or now_ms >= plan.due_ms):
            return None
        self._plan = None
        return plan.step, plan.target
