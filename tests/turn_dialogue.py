"""A dialogue with the pure turn machine, move by move."""

from __future__ import annotations

from agents.core.machine import step
from agents.core.phases import State
from agents.core.policy import TurnPolicy
from agents.core.turn_types import (
    Effect,
    ReplyReady,
    ReplyStarted,
    SetTimer,
    SpeechStarted,
    SpeechStopped,
    TimerFired,
    TranscriptArrived,
    TurnEvent,
)

POLICY = TurnPolicy(min_wait_ms=300, wait_ms=500, max_wait_ms=1_200, interrupt_after_ms=200, confirm_after_ms=800)


class Dialogue:
    """Feeds events to the machine and fires its timers when asked."""

    def __init__(self, policy: TurnPolicy = POLICY) -> None:
        self.policy = policy
        self.state = State()
        self.timers: dict[str, SetTimer] = {}

    def on(self, event: TurnEvent) -> list[Effect]:
        self.state, effects = step(self.state, event, self.policy)
        self.timers |= {effect.purpose: effect for effect in effects if isinstance(effect, SetTimer)}
        return [effect for effect in effects if not isinstance(effect, SetTimer)]

    def fire(self, purpose: str) -> list[Effect]:
        timer = self.timers[purpose]
        return self.on(TimerFired(timer.timer, timer.due_ms))

    def says(self, text: str, stop_ms: int = 1_000, utterance: int = 1) -> list[Effect]:
        self.on(SpeechStarted(utterance, 100))
        self.on(SpeechStopped(utterance, stop_ms))
        return self.on(TranscriptArrived(utterance, text, True, stop_ms + 100, stop_ms + 200))

    def replying(self) -> Dialogue:
        self.says("What time is it?")
        self.on(ReplyReady(1, 1_250))
        self.fire("endpoint")
        self.on(ReplyStarted(1, 1_400))
        return self
