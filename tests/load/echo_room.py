"""A telephone on a table: what it plays comes back through its microphone, later, quieter and with the room around it.

Shared by tests and benchmarks; 16 kHz frames of 20 ms. Knows no session: whoever drives it hands over what arrived and
sends on what the microphone hears.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from audio.codecs.resample import StreamResampler
from audio.formats import HEARING_RATE_HZ, Samples

FRAME = 320
NOISE = 10.0


class EchoRoom:
    """``delay_ms`` from loudspeaker to microphone (devices, buffers and network included), ``gain_db`` on the way, and
    a room that reverberates for ``rt60_s``. A gain of ``None`` is a headset."""

    def __init__(
        self, rate_hz: int, *, delay_ms: int = 160, gain_db: float | None = -10.0, rt60_s: float = 0.25, seed: int = 7
    ) -> None:
        self.gain_db = gain_db
        self._resample = StreamResampler(rate_hz, HEARING_RATE_HZ)
        self._rate_hz = rate_hz
        self._random = np.random.default_rng(seed)
        self._response = _response(rt60_s, self._random)
        self._arrived: deque[Samples] = deque()
        self._played = 0
        self._tail = np.zeros(len(self._response) - 1)
        self._way: deque[np.ndarray] = deque(np.zeros(FRAME) for _ in range(delay_ms // 20))

    def arrive(self, samples: Samples) -> None:
        """Audio to play, at the session's rate."""
        self._arrived.append(self._resample.process(samples))

    def clear(self) -> None:
        """Stop at once and drop what is queued."""
        self._arrived.clear()
        self._resample = StreamResampler(self._rate_hz, HEARING_RATE_HZ)

    @property
    def queued_ms(self) -> int:
        """What waits to be played."""
        return sum(len(samples) for samples in self._arrived) * 1_000 // HEARING_RATE_HZ

    def hear(self, near: Samples | None = None) -> Samples:
        """The next frame of the microphone while ``near`` is spoken into it."""
        sound = np.convolve(self._next().astype(np.float64), self._response)
        sound[: len(self._tail)] += self._tail
        self._tail = sound[FRAME:]
        self._way.append(sound[:FRAME])
        echo = self._way.popleft()
        mixed = self._random.normal(0.0, NOISE, FRAME)
        if self.gain_db is not None:
            mixed += echo * 10.0 ** (self.gain_db / 20.0)
        if near is not None:
            mixed[: len(near)] += near
        return np.clip(np.rint(mixed), -32_768, 32_767).astype(np.int16)

    def _next(self) -> Samples:
        frame = np.zeros(FRAME, np.int16)
        filled = 0
        while self._arrived and filled < FRAME:
            first = self._arrived.popleft()
            part = first[: FRAME - filled]
            frame[filled : filled + len(part)] = part
            filled += len(part)
            if len(part) < len(first):
                self._arrived.appendleft(first[len(part) :])
        return frame


def _response(rt60_s: float, random: np.random.Generator) -> np.ndarray:
    """A direct path and a tail that falls by 60 dB; together of unit energy."""
    length = int(rt60_s * HEARING_RATE_HZ)
    tail = random.normal(0.0, 1.0, length) * np.exp(-6.9 * np.arange(length) / length)
    tail /= np.sqrt(np.sum(tail**2))
    tail[0] += 1.0
    return tail / np.sqrt(np.sum(tail**2))
