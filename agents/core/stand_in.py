"""An engine that steps in for another, in words for the user. Pure; driven by ``agents.core.session``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agents.events import Degraded
from audio.fallback import Degradation, GuardedStage

_WHAT: Final[Mapping[GuardedStage, str]] = {
    "stt": "Speech is recognised",
    "llm": "Answers are made",
    "tts": "Answers are spoken",
}


def stand_in(change: Degradation) -> Degraded:
    """What the client is told: who gave way to whom and why, or that the preferred engine works again."""
    what = _WHAT.get(change.stage, "Work is done")
    if change.error is None:
        return Degraded(f"{change.stage} stand-in", change.provider, f"{what} by {change.provider} again.")
    return Degraded(
        f"{change.stage} {change.provider}",
        change.instead,
        f"{what} by {change.instead} for now ({str(change.error).rstrip('.')}).",
    )
