"""FreeSWITCH over a WebSocket: ``mod_audio_stream`` and drachtio's ``mod_audio_fork``.

https://github.com/amigniter/mod_audio_stream, https://github.com/drachtio/drachtio-freeswitch-modules. Binary frames of
16-bit PCM; the metadata given to the module, best a JSON object, comes as the first text, and what the dialplan sends
with ``send_text`` later: ``{"event":"dtmf","digit":"5"}`` is a key. The modules buffer what they play, so it is sent in
real time; playback as binary frames, or in ``streamAudio`` messages for versions that know those only.
"""

from __future__ import annotations

from typing import Any

from audio.formats import AudioFormat, Encoding
from server.wire.phone.numbered import encoded
from server.wire.phone.port import (
    Frame,
    StreamBegan,
    StreamEvent,
    StreamFault,
    StreamKey,
    StreamTraits,
    parsed,
    samples,
    text,
    texts,
)


class FreeSwitchCodec:
    """``StreamCodec`` for FreeSWITCH; ``rate_hz`` is what the module was told, ``as_json`` how it wants audio."""

    traits = StreamTraits(paced=True, frame_ms=20)

    def __init__(self, rate_hz: int = 8_000, *, as_json: bool = False) -> None:
        self._format = AudioFormat(Encoding.PCM16, rate_hz)
        self._as_json = as_json
        self._began = False

    def feed(self, frame: Frame) -> list[StreamEvent]:
        """What a frame says. Raises StreamFault."""
        if isinstance(frame, bytes):
            audio = samples(frame)
            return [audio] if self._began else [*self._start({}), audio]
        try:
            message = parsed(frame)
        except StreamFault as fault:
            if fault.fatal or self._began:
                raise
            message = {}  # metadata may be any text
        if not self._began:
            return self._start(message)
        return [StreamKey(text(message, "digit"))] if message.get("event") == "dtmf" else []

    def audio(self, payload: bytes) -> Frame:
        """The agent's voice."""
        if not self._as_json:
            return payload
        rate_hz = self._format.sample_rate_hz
        data = f'{{"audioDataType":"raw","sampleRate":{rate_hz},"audioData":"{encoded(payload)}"}}'
        return f'{{"type":"streamAudio","data":{data}}}'

    def mark(self, name: str) -> None:
        """The modules tell nothing of what they play."""
        return

    def clear(self) -> str:
        """Stop what is played."""
        return '{"type":"killAudio"}'

    def hang_up(self) -> str:
        """An event for the dialplan's application; the modules hang nothing up themselves."""
        return '{"type":"disconnect"}'

    def _start(self, metadata: dict[str, Any]) -> list[StreamEvent]:
        self._began = True
        given = texts(metadata)
        named = given.pop("uuid", "") or given.pop("callid", "")
        caller = given.pop("caller", "") or given.pop("from", "")
        callee = given.pop("callee", "") or given.pop("to", "")
        return [StreamBegan(named, self._format, caller, callee, given)]
