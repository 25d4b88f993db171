"""The agent's speech on its way to the wire: events with samples in, encoded payloads with exact positions out.

One per session. Positions are counted in samples of each turn's audio, so payloads of a codec that holds samples
back (Opus) still say exactly where they belong. Pure but for the codec's own state; driven by
``server.sessions.delivery``.
"""

from __future__ import annotations

from typing import Final

from agents.events import AudioOut
from audio.codecs.factory import make_encoder
from audio.formats import AudioFormat, Encoding, samples_to_ms
from server.wire.values import EncodedAudio

OPUS_SESSION_RATE_HZ: Final = 24_000
_OPUS_PACKETS_PER_S: Final = 50


def session_rate_hz(output: AudioFormat) -> int:
    """The rate at which a session should make its audio for this output: the one that costs no conversion."""
    return OPUS_SESSION_RATE_HZ if output.encoding is Encoding.OPUS else output.sample_rate_hz


class SpeechEncoder:
    """Encodes one session's ``AudioOut`` events, which come in ``rate_hz``."""

    def __init__(self, output: AudioFormat, rate_hz: int) -> None:
        self._format = output
        self._encoder = make_encoder(output, rate_hz)
        self._turn_id: str | None = None
        self._expected_ms = 0
        self._position_samples = 0
        """Of the next payload, in the turn's audio, at the wire's rate."""

    def encode(self, event: AudioOut) -> list[EncodedAudio]:
        """The payloads this stretch completes, in order."""
        if event.turn_id != self._turn_id or abs(event.start_ms - self._expected_ms) > 1:
            self.drop()
            self._turn_id = event.turn_id
            self._position_samples = event.start_ms * self._format.sample_rate_hz // 1_000
        self._expected_ms = event.start_ms + samples_to_ms(len(event.samples), event.sample_rate_hz)
        return [self._placed(payload) for payload in self._encoder.encode(event.samples)]

    def finish(self) -> list[EncodedAudio]:
        """The turn's audio is complete: what the codec still held."""
        if self._turn_id is None:
            return []
        return [self._placed(payload) for payload in self._encoder.flush()]

    def drop(self) -> None:
        """The turn was interrupted: what the codec still held is never sent."""
        self._encoder.flush()
        self._turn_id = None

    def _placed(self, payload: bytes) -> EncodedAudio:
        assert self._turn_id is not None
        rate_hz = self._format.sample_rate_hz
        start = self._position_samples
        self._position_samples += self._length(payload)
        start_ms = samples_to_ms(start, rate_hz)
        end_ms = samples_to_ms(self._position_samples, rate_hz)
        return EncodedAudio(self._turn_id, payload, start_ms, end_ms - start_ms)

    def _length(self, payload: bytes) -> int:
        match self._format.encoding:
            case Encoding.PCM16:
                return len(payload) // 2
            case Encoding.G711_ULAW | Encoding.G711_ALAW:
                return len(payload)
            case Encoding.OPUS:
                return self._format.sample_rate_hz // _OPUS_PACKETS_PER_S
