"""What codecs share, whatever they speak: audio ready for the wire, and text that JSON can carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast


@dataclass(frozen=True, slots=True)
class EncodedAudio:
    """A stretch of a turn's audio in the session's output format, ready for the wire.

    ``payload`` is little-endian samples (``pcm16``), bytes (G.711) or exactly one packet (``opus``); ``start_ms`` and
    ``audio_ms`` are its position and length in the turn's audio.
    """

    turn_id: str
    payload: bytes
    start_ms: int
    audio_ms: int


def without_surrogates(value: object) -> object:
    """Text as JSON can carry it: half of a split surrogate pair (a model's stream may hold one) becomes U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, Mapping):
        items = cast("Mapping[str, object]", value).items()
        return {without_surrogates(key): without_surrogates(item) for key, item in items}
    if isinstance(value, list | tuple):
        return [without_surrogates(item) for item in cast("list[object]", value)]
    return value
