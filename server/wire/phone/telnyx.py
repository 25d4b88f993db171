"""Telnyx media streaming, bidirectional (``stream_bidirectional_mode: rtp``).

https://developers.telnyx.com/api-reference/websockets/stream-call-media-over-websocket. G.711 at 8 kHz, the same both
ways. Telnyx does not promise the order of its frames: they carry numbers.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from audio.formats import AudioFormat, Encoding
from server.wire.phone.numbered import NumberedAudio, encoded
from server.wire.phone.port import (
    Frame,
    StreamBegan,
    StreamEnded,
    StreamEvent,
    StreamFault,
    StreamKey,
    StreamMark,
    StreamTraits,
    parsed,
    part,
    text,
    texts,
    whole,
)

_ENCODINGS: Final = {"PCMU": Encoding.G711_ULAW, "PCMA": Encoding.G711_ALAW}


class TelnyxCodec:
    """``StreamCodec`` for Telnyx."""

    traits = StreamTraits(marks=True, frame_ms=20)

    def __init__(self) -> None:
        self._audio: NumberedAudio | None = None

    def feed(self, frame: Frame) -> list[StreamEvent]:
        """What a frame says. Raises StreamFault."""
        message = parsed(frame)
        match message.get("event"):
            case "media":
                if self._audio is None:
                    raise StreamFault("Audio came before the stream began.")
                return [*self._audio.take(part(message, "media"))]
            case "mark":
                return [StreamMark(text(part(message, "mark"), "name"))]
            case "dtmf":
                return [StreamKey(text(part(message, "dtmf"), "digit"))]
            case "start":
                return self._start(part(message, "start"))
            case "stop":
                return [StreamEnded()]
            case "error":
                raise StreamFault("Telnyx reports an error in what it was sent.")
            case _:
                return []

    def audio(self, payload: bytes) -> str:
        """The agent's voice, at least 20 ms of it."""
        return f'{{"event":"media","media":{{"payload":"{encoded(payload)}"}}}}'

    def mark(self, name: str) -> str:
        """Comes back when it is reached."""
        return f'{{"event":"mark","mark":{{"name":{msgspec.json.encode(name).decode()}}}}}'

    def clear(self) -> str:
        """Drop what is buffered."""
        return '{"event":"clear"}'

    def hang_up(self) -> None:
        """The call is ended by its own API, or by what its application does when the stream stops."""
        return

    def _start(self, start: dict[str, Any]) -> list[StreamEvent]:
        if self._audio is not None:
            raise StreamFault("The stream began twice.")
        media = part(start, "media_format")
        encoding = _ENCODINGS.get(text(media, "encoding").upper())
        if encoding is None or whole(media.get("sample_rate")) != 8_000:
            raise StreamFault("The audio must be PCMU or PCMA at 8000 Hz.", fatal=True)
        self._audio = NumberedAudio(encoding)
        named = text(start, "call_control_id") or text(start, "call_session_id")
        given = texts(start.get("custom_parameters"))
        return [StreamBegan(named, AudioFormat(encoding, 8_000), text(start, "from"), text(start, "to"), given)]
