"""What turn events and effects are in the client's words. Pure; driven by ``agents.core.session``."""

from __future__ import annotations

from agents.core.admitting import told, unaffordable
from agents.core.input_desk import EMPTY_INPUT
from agents.core.options import Engines, SessionOptions
from agents.core.spending import Denied
from agents.core.turn_types import EndUtterance, ReportUnheard, SpeechStarted, SpeechStopped, TurnEvent
from agents.events import Caption, Failed, ServerEvent, SpeechDropped, SpeechStartedHeard, SpeechStoppedHeard

Unheard = EndUtterance | ReportUnheard | None
"""An utterance that ended unused, what was said and could not be recognised, or (``None``) a recording whose
recognition was not afforded."""


def edge_told(event: TurnEvent, now_ms: int) -> ServerEvent | None:
    """What the client is told of an edge of speech; ``None`` for all else."""
    match event:
        case SpeechStarted():
            return SpeechStartedHeard(event.utterance, event.at_ms, now_ms - event.at_ms)
        case SpeechStopped():
            return SpeechStoppedHeard(event.utterance, event.at_ms)
        case _:
            return None


def apology(report: Unheard, options: SessionOptions, engines: Engines) -> str:
    """What the agent says to that; nothing where its budget does not have it, or its voice costs what there is not."""
    denied = unaffordable(engines)
    if not isinstance(report, ReportUnheard):
        return denied.message if denied is not None and denied.audible else ""
    if denied is not None and report.utterance is not None:
        return ""  # said when the utterance ended
    says = report.failed and options.budget is not None and options.budget.does("stt", "apologize")
    return options.policy.rules.apology if says else ""


def unheard_told(report: Unheard, engines: Engines, now_ms: int) -> tuple[ServerEvent, ...]:
    """Why a turn of the user's came to nothing: speech that was dropped, and what could not be recognised."""
    denied = unaffordable(engines)
    if not isinstance(report, ReportUnheard):
        dropped = () if report is None else (SpeechDropped(report.utterance, now_ms),)
        return dropped if denied is None else (*dropped, *_denial_told(denied))
    if denied is not None and report.utterance is not None:
        return ()
    if report.failed:
        return (Failed("provider.unavailable", "What you said could not be recognised.", True),)
    message = "Nothing was said before the turn was committed."
    return (Failed("request.invalid", message, True, details=EMPTY_INPUT),)


def _denial_told(denied: Denied) -> tuple[ServerEvent, ...]:
    """A denial once: said where it can be (see ``apology``), else to be read."""
    read = Caption("agent", denied.message, 0, 0, True, only=True)
    return (told(denied),) if denied.audible else (told(denied), read)
