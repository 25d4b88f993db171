"""A turn is taken back: it was answered, the answer has hardly begun, and the user goes on with what they were saying.

Pure, driven by ``agents.core.machine`` and ``agents.core.overlap``. What was said before stays part of what is said:
every transcript of the utterance that goes on begins with it, so that one turn has the whole of it. Only speech that
was answered by itself is taken back, and nothing that did what lasts (a tool with effects).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from agents.core.phases import Filling, GoneOn, Overlap, Replying, State
from agents.core.policy import TurnPolicy
from agents.core.turn_types import TranscriptArrived, TranscriptCorrected, TurnEvent

LASTS_MS: Final = 450
"""Speech that goes on so long is meant. The voice is held meanwhile, so its own echo, where there is one, has ended
by then: that never takes a turn back."""


def is_early(state: State, reply: Replying | Filling, at_ms: int, policy: TurnPolicy) -> bool:
    """Whether speech from ``at_ms`` on takes the turn back, should it last."""
    understood = state.understood
    answers_speech = understood is not None and understood.turn == reply.turn and state.bound != reply.turn
    if not answers_speech or not policy.auto_end or not isinstance(reply, Replying):
        return False  # who was told to wait has been spoken to
    return not reply.started or (reply.since_ms is not None and at_ms - reply.since_ms <= policy.take_back_ms)


def taken_back(state: State, phase: Overlap) -> State:
    """The state in which the utterance that is being heard goes on from what was answered."""
    assert state.understood is not None
    return replace(state, gone_on=GoneOn(phase.utterance, state.understood.text))


def whole(state: State, event: TurnEvent) -> TurnEvent:
    """The event, with all that was said where it has words of an utterance that goes on."""
    if isinstance(event, TranscriptArrived | TranscriptCorrected):
        return replace(event, text=whole_text(state, event.utterance, event.text))
    return event


def whole_text(state: State, utterance: int, text: str) -> str:
    """What an utterance says, behind what was said before where it goes on."""
    before = state.gone_on
    return text if before is None or before.utterance != utterance else f"{before.text} {text}".strip()
