"""The agent's voice on its way to a carrier: encoded, cut into the carrier's frames, and how much of it was sent.

Owns what waits and the count of what left since the last clear, by which marks are named. Bounded: audio that a carrier
does not take piles up to ``MAX_WAITING_MS`` and no further. Pure but for the codec's state.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from audio.codecs.factory import make_encoder
from audio.codecs.port import Encoder
from audio.formats import AudioFormat, Encoding, Samples, samples_to_ms
from server.wire.phone.port import StreamTraits

MAX_WAITING_MS: Final = 10_000
MARK_EVERY_MS: Final = 120
_SILENCE: Final = {Encoding.G711_ULAW: b"\xff", Encoding.G711_ALAW: b"\xd5", Encoding.PCM16: b"\x00"}


class VoiceQueue:
    """One stream's."""

    def __init__(self, audio: AudioFormat, traits: StreamTraits) -> None:
        self._format = audio
        self._sample_bytes = audio.sample_bytes
        self._frame_bytes = (traits.frame_ms or 0) * audio.sample_rate_hz // 1_000 * self._sample_bytes
        self._encoders: dict[int, Encoder] = {}
        self._waiting: deque[bytes] = deque()
        self._rest = b""
        self._waiting_samples = 0
        self._sent_samples = 0
        self._marked_samples = 0
        self._finished = False
        self._generation = 0
        self.overflowed = False
        """Whether audio had to be dropped because the carrier took none."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, samples: Samples, rate_hz: int) -> None:
        """More of the voice; without a detour where it has the carrier's rate."""
        encoder = self._encoders.get(rate_hz)
        if encoder is None:
            encoder = self._encoders[rate_hz] = make_encoder(self._format, rate_hz)
        self._finished = False
        for payload in encoder.encode(samples):
            self._cut(payload)

    def finish(self) -> None:
        """The turn's audio is complete: what does not fill a frame is filled up with silence."""
        for encoder in self._encoders.values():
            for payload in encoder.flush():
                self._cut(payload)
        if self._rest:
            missing = self._frame_bytes - len(self._rest)
            self._put(self._rest + _SILENCE[self._format.encoding] * missing)
            self._rest = b""
        self._finished = True

    def clear(self) -> None:
        """Nothing of it is wanted any more; positions count anew."""
        for encoder in self._encoders.values():
            encoder.flush()
        self._waiting.clear()
        self._rest = b""
        self._waiting_samples = self._sent_samples = self._marked_samples = 0
        self._finished = False
        self._generation += 1

    def take(self) -> bytes | None:
        """The next frame's audio, which counts as sent."""
        if not self._waiting:
            return None
        payload = self._waiting.popleft()
        samples = len(payload) // self._sample_bytes
        self._waiting_samples -= samples
        self._sent_samples += samples
        return payload

    def mark(self) -> str | None:
        """The name of a mark that should be sent now, behind what was taken last."""
        unmarked = samples_to_ms(self._sent_samples - self._marked_samples, self._format.sample_rate_hz)
        if unmarked == 0 or (unmarked < MARK_EVERY_MS and not (self._finished and not self._waiting)):
            return None
        self._marked_samples = self._sent_samples
        return f"{self._generation}.{self.sent_ms}"

    def reached(self, mark: str) -> int | None:
        """How much has been heard where this mark has; ``None`` for one from before the last clear."""
        generation, _, heard_ms = mark.partition(".")
        if generation != str(self._generation) or not heard_ms.isdecimal() or len(heard_ms) > 9:
            return None
        return min(int(heard_ms), self.sent_ms)

    @property
    def sent_ms(self) -> int:
        """What left since the last clear."""
        return samples_to_ms(self._sent_samples, self._format.sample_rate_hz)

    def length_ms(self, payload: bytes) -> float:
        """How long a frame's audio sounds."""
        return len(payload) / self._sample_bytes * 1_000 / self._format.sample_rate_hz

    def _cut(self, payload: bytes) -> None:
        if not self._frame_bytes:
            self._put(payload)
            return
        payload = self._rest + payload
        whole = len(payload) - len(payload) % self._frame_bytes
        for at in range(0, whole, self._frame_bytes):
            self._put(payload[at : at + self._frame_bytes])
        self._rest = payload[whole:]

    def _put(self, payload: bytes) -> None:
        if samples_to_ms(self._waiting_samples, self._format.sample_rate_hz) >= MAX_WAITING_MS:
            self.overflowed = True
            return
        self._waiting.append(payload)
        self._waiting_samples += len(payload) // self._sample_bytes
