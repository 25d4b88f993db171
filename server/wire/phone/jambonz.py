"""jambonz' ``listen`` verb with bidirectional, streaming audio.

https://docs.jambonz.org/verbs/verbs/listen. One text with the call's attributes first, then binary frames of 16-bit
PCM; ``bidirectionalAudio.sampleRate`` must be the ``sampleRate``. The verb needs ``passDtmf`` for keys.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from server.wire.phone.port import (
    Frame,
    StreamBegan,
    StreamEvent,
    StreamFault,
    StreamKey,
    StreamMark,
    StreamTraits,
    linear,
    parsed,
    samples,
    text,
    texts,
)

RATES_HZ: Final = (8_000, 16_000, 24_000, 48_000)
SUBPROTOCOL: Final = "audio.jambonz.org"


class JambonzCodec:
    """``StreamCodec`` for jambonz."""

    traits = StreamTraits(marks=True)

    def __init__(self) -> None:
        self._began = False

    def feed(self, frame: Frame) -> list[StreamEvent]:
        """What a frame says. Raises StreamFault."""
        if isinstance(frame, bytes):
            if not self._began:
                raise StreamFault("Audio came before the stream began.")
            return [samples(frame)]
        message = parsed(frame)
        if not self._began:
            return self._start(message)
        if message.get("event") == "dtmf":
            return [StreamKey(text(message, "dtmf"))]
        data: Any = message.get("data")
        if message.get("type") == "mark" and isinstance(data, dict) and text(data, "event") != "cleared":  # pyright: ignore[reportUnknownArgumentType]
            return [StreamMark(text(data, "name"))]  # pyright: ignore[reportUnknownArgumentType]
        return []

    def audio(self, payload: bytes) -> bytes:
        """The agent's voice."""
        return payload

    def mark(self, name: str) -> str:
        """Comes back when it is reached, or cleared."""
        return f'{{"type":"mark","data":{{"name":{msgspec.json.encode(name).decode()}}}}}'

    def clear(self) -> str:
        """Drop what is buffered."""
        return '{"type":"killAudio"}'

    def hang_up(self) -> str:
        """End the verb; what follows it in the application hangs up."""
        return '{"type":"disconnect"}'

    def _start(self, message: dict[str, Any]) -> list[StreamEvent]:
        if message.get("mixType", "mono") == "stereo":
            raise StreamFault("The audio must be mono (mixType).", fatal=True)
        audio = linear(message.get("sampleRate", 8_000), RATES_HZ)
        self._began = True
        given = texts(message.get("metadata")) or texts(message.get("customerData"))
        return [StreamBegan(text(message, "callSid"), audio, text(message, "from"), text(message, "to"), given)]
