"""What the service says about audio, as values: the seam between the SDK's thread and our stream.

Offsets are samples at 16 kHz from the first sample a recognizer was given. Pure; made by ``azure_recognizer``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

TICKS_PER_SAMPLE: Final = 625
"""100 ns units in one sample at 16 kHz."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The socket stands."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The socket is gone; the SDK may connect again by itself."""


@dataclass(frozen=True, slots=True)
class Detected:
    """Speech began (or ended) as the service hears it."""


@dataclass(frozen=True, slots=True)
class RecognizedWord:
    """A word of a final."""

    text: str
    start: int
    end: int
    confidence: float | None


@dataclass(frozen=True, slots=True)
class Recognized:
    """A hypothesis, or with ``final`` a phrase the service has done with; its text may be empty."""

    text: str
    start: int
    end: int
    final: bool
    confidence: float | None = None
    language: str | None = None
    words: tuple[RecognizedWord, ...] = ()
    commit_token: int = 0


@dataclass(frozen=True, slots=True)
class Canceled:
    """Recognition stopped by itself; ``code`` is the SDK's name for why, ``NoError`` at the end of the stream."""

    code: str
    details: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """Recognition has stopped."""


RecognizerEvent = Connected | Disconnected | Detected | Recognized | Canceled | Stopped


def from_detailed(text: str, start: int, end: int, body: str) -> Recognized:
    """A final with what its detailed form (``NBest``) adds; a body that is not of that form adds nothing."""
    try:
        parsed: Any = json.loads(body or "{}")
        nbest: list[dict[str, Any]] = parsed.get("NBest") or [{}]
        best = nbest[0]
        words = tuple(_word(word) for word in best.get("Words") or ())
        confidence = best.get("Confidence")
    except (ValueError, AttributeError, IndexError, KeyError, TypeError):
        return Recognized(text, start, end, final=True)
    known = None if confidence is None else min(max(float(confidence), 0.0), 1.0)
    return Recognized(text, start, end, final=True, confidence=known, words=words)


def _word(word: dict[str, Any]) -> RecognizedWord:
    start = int(word["Offset"]) // TICKS_PER_SAMPLE
    confidence = word.get("Confidence")
    return RecognizedWord(
        str(word["Word"]),
        start,
        start + int(word["Duration"]) // TICKS_PER_SAMPLE,
        None if confidence is None else float(confidence),
    )
