"""Twilio Media Streams, bidirectional (``<Connect><Stream>``).

https://www.twilio.com/docs/voice/media-streams/websocket-messages. Mu-law at 8 kHz both ways; Twilio buffers what it
gets, drops it on ``clear`` and sends marks back when they are reached or dropped. Numbers are not part of the stream:
whoever writes the TwiML hands them over as parameters ``caller`` and ``callee``.
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

ULAW: Final = AudioFormat(Encoding.G711_ULAW, 8_000)


class TwilioCodec:
    """``StreamCodec`` for Twilio."""

    traits = StreamTraits(marks=True)

    def __init__(self) -> None:
        self._stream_sid: str | None = None
        self._audio = NumberedAudio(Encoding.G711_ULAW)

    def feed(self, frame: Frame) -> list[StreamEvent]:
        """What a frame says. Raises StreamFault."""
        message = parsed(frame)
        match message.get("event"):
            case "media":
                self._require_start()
                return [*self._audio.take(part(message, "media"))]
            case "mark":
                return [StreamMark(text(part(message, "mark"), "name"))]
            case "dtmf":
                return [StreamKey(text(part(message, "dtmf"), "digit"))]
            case "start":
                return self._start(message)
            case "stop":
                return [StreamEnded()]
            case _:
                return []  # "connected", and what Twilio may add one day

    def audio(self, payload: bytes) -> str:
        """The agent's voice."""
        return f'{{"event":"media","streamSid":{self._sid},"media":{{"payload":"{encoded(payload)}"}}}}'

    def mark(self, name: str) -> str:
        """Comes back when it is reached."""
        named = msgspec.json.encode(name).decode()
        return f'{{"event":"mark","streamSid":{self._sid},"mark":{{"name":{named}}}}}'

    def clear(self) -> str:
        """Drop what is buffered."""
        return f'{{"event":"clear","streamSid":{self._sid}}}'

    def hang_up(self) -> None:
        """Closing the connection ends ``<Connect>``; the TwiML behind it hangs up."""
        return

    def _start(self, message: dict[str, Any]) -> list[StreamEvent]:
        if self._stream_sid is not None:
            raise StreamFault("The stream began twice.")
        start = part(message, "start")
        media = part(start, "mediaFormat")
        if media.get("encoding") != "audio/x-mulaw" or whole(media.get("sampleRate")) != ULAW.sample_rate_hz:
            raise StreamFault("The audio must be audio/x-mulaw at 8000 Hz.", fatal=True)
        self._stream_sid = text(message, "streamSid") or text(start, "streamSid")
        given = texts(start.get("customParameters"))
        caller, callee = given.pop("caller", ""), given.pop("callee", "")
        return [StreamBegan(text(start, "callSid"), ULAW, caller, callee, given)]

    def _require_start(self) -> None:
        if self._stream_sid is None:
            raise StreamFault("Audio came before the stream began.")

    @property
    def _sid(self) -> str:
        return msgspec.json.encode(self._stream_sid or "").decode()
