"""What turn events and effects are in the client's words. Pure; driven by ``agents.core.session``."""

from __future__ import annotations

from agents.core.input_desk import EMPTY_INPUT
from agents.core.options import SessionOptions
from agents.core.turn_types import ReportUnheard, SpeechStarted, SpeechStopped, TurnEvent
from agents.events import Failed, ServerEvent, SpeechStartedHeard, SpeechStoppedHeard


def edge_told(event: TurnEvent, now_ms: int) -> ServerEvent | None:
    """What the client is told of an edge of speech; ``None`` for all else."""
    match event:
        case SpeechStarted():
            return SpeechStartedHeard(event.utterance, event.at_ms, now_ms - event.at_ms)
        case SpeechStopped():
            return SpeechStoppedHeard(event.utterance, event.at_ms)
        case _:
            return None


def apology(report: ReportUnheard, options: SessionOptions) -> str:
    """What the agent says to that; nothing where its budget does not have it."""
    says = report.failed and options.budget is not None and options.budget.does("stt", "apologize")
    return options.policy.rules.apology if says else ""


def unheard_told(report: ReportUnheard) -> Failed:
    """Why a turn of the user's came to nothing."""
    if report.failed:
        return Failed("provider.unavailable", "What you said could not be recognised.", True)
    message = "Nothing was said before the turn was committed."
    return Failed("request.invalid", message, True, details=EMPTY_INPUT)
