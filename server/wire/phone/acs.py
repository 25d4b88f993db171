"""Azure Communication Services, Call Automation: bidirectional audio streaming.

https://learn.microsoft.com/azure/communication-services/concepts/call-automation/audio-streaming-concept. 16-bit PCM
at 16 or 24 kHz, the same both ways, in base64. The service writes names in camel case and wants them in Pascal case;
either is understood. It plays what it gets and drops it on ``StopAudio``; it does not tell how far it has come.
"""

from __future__ import annotations

from typing import Any, Final

from server.wire.phone.numbered import decoded, encoded
from server.wire.phone.port import (
    Frame,
    StreamBegan,
    StreamEvent,
    StreamFault,
    StreamKey,
    StreamTraits,
    linear,
    parsed,
    samples,
    text,
)

RATES_HZ: Final = (16_000, 24_000)


class AcsCodec:
    """``StreamCodec`` for Azure Communication Services."""

    traits = StreamTraits()

    def __init__(self) -> None:
        self._began = False

    def feed(self, frame: Frame) -> list[StreamEvent]:
        """What a frame says. Raises StreamFault."""
        message = _camel(parsed(frame))
        match message.get("kind"):
            case "AudioData":
                return self._audio(_inside(message, "audioData"))
            case "DtmfData":
                return [StreamKey(text(_inside(message, "dtmfData"), "data"))]
            case "AudioMetadata":
                return self._start(_inside(message, "audioMetadata"))
            case _:
                return []

    def audio(self, payload: bytes) -> str:
        """The agent's voice."""
        return f'{{"Kind":"AudioData","AudioData":{{"Data":"{encoded(payload)}"}},"StopAudio":null}}'

    def mark(self, name: str) -> None:
        """The service tells nothing of what it plays."""
        return

    def clear(self) -> str:
        """Drop what is buffered."""
        return '{"Kind":"StopAudio","AudioData":null,"StopAudio":{}}'

    def hang_up(self) -> None:
        """The call is ended by Call Automation."""
        return

    def _start(self, metadata: dict[str, Any]) -> list[StreamEvent]:
        if self._began:
            raise StreamFault("The stream began twice.")
        if text(metadata, "encoding").upper() != "PCM" or metadata.get("channels") not in (1, "1", "mono"):
            raise StreamFault("The audio must be PCM with one channel (mixed).", fatal=True)
        audio = linear(metadata.get("sampleRate"), RATES_HZ)
        self._began = True
        return [StreamBegan("", audio)]

    def _audio(self, data: dict[str, Any]) -> list[StreamEvent]:
        if not self._began:
            raise StreamFault("Audio came before the stream began.")
        return [samples(decoded(data.get("data")))]


def _inside(message: dict[str, Any], name: str) -> dict[str, Any]:
    found = message.get(name)
    if not isinstance(found, dict):
        raise StreamFault(f"A frame has no object '{name}'.")
    return _camel(found)  # pyright: ignore[reportUnknownArgumentType]


def _camel(value: dict[Any, Any]) -> dict[str, Any]:
    return {f"{name[:1].lower()}{name[1:]}": said for name, said in value.items()}
