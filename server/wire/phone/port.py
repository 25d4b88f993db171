"""What all carriers' media streams have in common: what comes in, what goes out, and what can be wrong with it.

A new carrier is one file with a ``StreamCodec`` in it and one line in ``server.transports.phone.carriers``. Codecs are
I/O-free, know no session and hold no credentials. Faults never carry the carrier's data.

StreamFault    a frame that cannot be taken, and whether the stream must end for it
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Protocol, cast

import msgspec

from audio.formats import AudioFormat, Encoding

MAX_FRAME_BYTES: Final = 64 * 1024
"""More than a second of any carrier's audio; nobody sends that much at once."""
MAX_PARAMETERS: Final = 32
MAX_PARAMETER_CHARS: Final = 512

Frame = str | bytes


class StreamFault(Exception):
    """A frame that cannot be taken; the message is a sentence. ``fatal``: the stream ends."""

    def __init__(self, message: str, *, fatal: bool = False) -> None:
        super().__init__(message)
        self.fatal = fatal


@dataclass(frozen=True, slots=True)
class StreamBegan:
    """The carrier says whose call this is. ``audio`` is the format of both directions.

    ``carrier_call_id`` is the carrier's own name of the call; numbers are empty where the stream does not say them.
    """

    carrier_call_id: str
    audio: AudioFormat
    caller: str = ""
    callee: str = ""
    parameters: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class StreamAudio:
    """The next of the caller's voice, encoded as ``StreamBegan.audio`` says."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class StreamKey:
    """The caller pressed a key."""

    digit: str


@dataclass(frozen=True, slots=True)
class StreamMark:
    """What was sent before this mark has been played."""

    name: str


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The carrier ends the stream."""


StreamEvent = StreamBegan | StreamAudio | StreamKey | StreamMark | StreamEnded


@dataclass(frozen=True, slots=True)
class StreamTraits:
    """What a carrier's streams are like.

    ``paced``: audio is wanted in real time, frame by frame; the others buffer what they get, and drop it when told.
    ``marks``: they tell how far they have played. ``frame_ms`` is how much audio goes into each frame (``None``: as it
    comes).
    """

    paced: bool = False
    marks: bool = False
    frame_ms: int | None = None


class StreamCodec(Protocol):
    """One stream."""

    traits: StreamTraits

    def feed(self, frame: Frame) -> list[StreamEvent]:
        """What a frame (of a byte stream: its next bytes) says. Raises StreamFault; what it said is lost then."""
        ...

    def audio(self, payload: bytes) -> Frame:
        """The agent's voice, encoded as ``StreamBegan.audio`` says."""
        ...

    def mark(self, name: str) -> Frame | None:
        """A wish to be told when all before it has been played; ``None`` where the carrier does not tell."""
        ...

    def clear(self) -> Frame | None:
        """Drop what is not played yet; ``None`` where the carrier buffers nothing."""
        ...

    def hang_up(self) -> Frame | None:
        """The call is over; ``None`` where closing the connection says it."""
        ...


def together(events: list[StreamEvent], sample_bytes: int, most_bytes: int) -> list[StreamEvent]:
    """The events, with audio that follows on audio joined up to ``most_bytes``; not what holds half a sample."""
    if len(events) < 2:
        return events
    told: list[StreamEvent] = []
    for event in events:
        last = told[-1] if told else None
        if (
            isinstance(event, StreamAudio)
            and isinstance(last, StreamAudio)
            and not (len(last.payload) % sample_bytes or len(event.payload) % sample_bytes)
            and len(last.payload) + len(event.payload) <= most_bytes
        ):
            told[-1] = StreamAudio(last.payload + event.payload)
        else:
            told.append(event)
    return told


# --- for codecs ---


def parsed(frame: Frame) -> dict[str, Any]:
    """A JSON frame, an object. Raises StreamFault."""
    if isinstance(frame, bytes):
        raise StreamFault("This stream takes text frames only.")
    if len(frame) > MAX_FRAME_BYTES:
        raise StreamFault("A frame is too large.", fatal=True)
    try:
        value = msgspec.json.decode(frame)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise StreamFault("A frame is not JSON.") from error
    if not isinstance(value, dict):
        raise StreamFault("A frame is no JSON object.")
    return cast("dict[str, Any]", value)


def part(value: dict[str, Any], name: str) -> dict[str, Any]:
    """An object inside a frame. Raises StreamFault."""
    found = value.get(name)
    if not isinstance(found, dict):
        raise StreamFault(f"A frame has no object '{name}'.")
    return cast("dict[str, Any]", found)


def text(value: dict[str, Any], name: str) -> str:
    """A text or number inside a frame, as text and bounded; empty where there is none."""
    found = value.get(name)
    return str(found)[:MAX_PARAMETER_CHARS] if isinstance(found, str | int) else ""


def texts(value: object) -> dict[str, str]:
    """What a carrier hands over with a call: texts by name, bounded in number and length."""
    if not isinstance(value, dict):
        return {}
    given = cast("dict[object, object]", value)
    named = [(str(name)[:MAX_PARAMETER_CHARS], said) for name, said in given.items()]
    return {name: str(said)[:MAX_PARAMETER_CHARS] for name, said in named[:MAX_PARAMETERS] if _plain(said)}


def whole(value: object) -> int | None:
    """A whole number, written as one or as text; ``None`` where it is none."""
    try:
        return int(value) if isinstance(value, int | str) else None
    except ValueError:
        return None


def linear(rate: object, known: tuple[int, ...]) -> AudioFormat:
    """16-bit linear audio at a rate that is ``known``. Raises StreamFault, fatal: what else comes cannot be heard."""
    rate_hz = whole(rate)
    if rate_hz not in known:
        raise StreamFault(f"The audio must come at {' or '.join(map(str, known))} Hz.", fatal=True)
    return AudioFormat(Encoding.PCM16, rate_hz)


def samples(frame: bytes) -> StreamAudio:
    """16-bit samples as they come in a binary frame. Raises StreamFault."""
    if len(frame) > MAX_FRAME_BYTES:
        raise StreamFault("A frame is too large.", fatal=True)
    if len(frame) % 2:
        raise StreamFault("A frame of audio ends in the middle of a sample.")
    return StreamAudio(frame)


def _plain(value: object) -> bool:
    return isinstance(value, str | int | float)
