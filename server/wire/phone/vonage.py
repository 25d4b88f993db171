"""Vonage Voice API WebSockets.

https://developer.vonage.com/en/voice/voice-api/concepts/websockets. Binary frames of 16-bit little-endian PCM at 8, 16
or 24 kHz, JSON texts beside them. What the NCCO gives as ``headers`` comes with the first text: ``caller`` and
``callee`` are the numbers.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from server.wire.phone.port import (
    Frame,
    StreamBegan,
    StreamEnded,
    StreamEvent,
    StreamFault,
    StreamKey,
    StreamMark,
    StreamTraits,
    linear,
    parsed,
    part,
    samples,
    text,
    texts,
)

RATES_HZ: Final = (8_000, 16_000, 24_000)
_L16: Final = re.compile(r"audio/l16\s*;\s*rate=(\d{4,6})", re.IGNORECASE)


class VonageCodec:
    """``StreamCodec`` for Vonage."""

    traits = StreamTraits(marks=True, frame_ms=20)

    def __init__(self) -> None:
        self._began = False

    def feed(self, frame: Frame) -> list[StreamEvent]:
        """What a frame says. Raises StreamFault."""
        if isinstance(frame, bytes):
            if not self._began:
                raise StreamFault("Audio came before the stream began.")
            return [samples(frame)]
        message = parsed(frame)
        match message.get("event"):
            case "websocket:connected":
                return self._start(message)
            case "websocket:dtmf":
                return [StreamKey(text(message, "digit"))]
            case "websocket:notify":
                return [StreamMark(text(part(message, "payload"), "mark"))]
            case "websocket:disconnected":
                return [StreamEnded()]
            case _:
                return []

    def audio(self, payload: bytes) -> bytes:
        """The agent's voice."""
        return payload

    def mark(self, name: str) -> str:
        """Comes back when it is reached."""
        return f'{{"action":"notify","payload":{{"mark":{msgspec.json.encode(name).decode()}}}}}'

    def clear(self) -> str:
        """Drop what is buffered."""
        return '{"action":"clear"}'

    def hang_up(self) -> None:
        """Closing the connection ends the leg."""
        return

    def _start(self, message: dict[str, Any]) -> list[StreamEvent]:
        if self._began:
            raise StreamFault("The stream began twice.")
        rate = _L16.match(text(message, "content-type"))
        audio = linear(None if rate is None else rate[1], RATES_HZ)
        self._began = True
        given = texts(message)
        named = given.pop("uuid", "") or given.pop("call_uuid", "")
        caller, callee = given.pop("caller", ""), given.pop("callee", "")
        for name in ("event", "content-type"):
            given.pop(name, None)
        return [StreamBegan(named, audio, caller, callee, given)]
