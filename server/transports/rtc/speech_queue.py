"""Speech waiting to be sent: bounded, cut into frames of 20 ms at one rate, dropped at once when it must be.

Samples wait in the rates they were given at, so that what was played and what was dropped is exact; they are converted
as they leave. Plain calls, no clock; the outbound side of a peer drives it.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

from audio.codecs.opus import ENCODER_RATES_HZ
from audio.codecs.resample import StreamResampler
from audio.formats import Samples

_FRAMES_PER_S: Final = 50
_NONE: Final = np.zeros(0, np.int16)


class SpeechQueue:
    """At most ``max_queued_ms`` of speech. Frames come at the lowest rate of Opus that holds the first speech given."""

    def __init__(self, max_queued_ms: int) -> None:
        self._max_queued_ms = max_queued_ms
        self._chunks: deque[tuple[Samples, int]] = deque()
        self._queued_ms = 0.0
        self._ready: Samples = _NONE
        self._resampler: StreamResampler | None = None
        self._from_hz = 0
        self.rate_hz = 0
        """The rate of frames, once there has been speech."""
        self.played_samples = 0

    @property
    def queued_ms(self) -> float:
        """How long what waits will take."""
        return self._queued_ms

    @property
    def empty(self) -> bool:
        return not self._chunks and not len(self._ready)

    def play(self, samples: Samples, rate_hz: int) -> int:
        """Queue samples, which are kept, not copied; returns how many there was room for."""
        if not self.rate_hz:
            self.rate_hz = next((rate for rate in ENCODER_RATES_HZ if rate >= rate_hz), ENCODER_RATES_HZ[-1])
        room = max(0, int((self._max_queued_ms - self._queued_ms) * rate_hz / 1_000))
        taken = samples[:room]
        if len(taken):
            self._chunks.append((taken, rate_hz))
            self._queued_ms += len(taken) * 1_000 / rate_hz
        return len(taken)

    def clear(self) -> int:
        """Drop everything; returns how many samples that were."""
        dropped = sum(len(samples) for samples, _ in self._chunks)
        self._chunks.clear()
        self._queued_ms = 0.0
        self._ready, self._resampler, self._from_hz = _NONE, None, 0
        return dropped

    def take(self) -> list[tuple[Samples, int]]:
        """Take back all that waits, with the rates it was given at."""
        taken = list(self._chunks)
        self.clear()
        return taken

    def frame(self) -> Samples | None:
        """The next 20 ms, the last of them filled up with silence; None where there is no speech."""
        size = self.rate_hz // _FRAMES_PER_S
        while len(self._ready) < size and self._chunks:
            self._convert_next()
        if not self._chunks and len(self._ready) < size:
            self._flush()
        if not len(self._ready):
            return None
        frame, self._ready = self._ready[:size], self._ready[size:]
        return frame if len(frame) == size else np.concatenate([frame, np.zeros(size - len(frame), np.int16)])

    def _convert_next(self) -> None:
        samples, rate_hz = self._chunks.popleft()
        piece, rest = samples[: rate_hz // _FRAMES_PER_S], samples[rate_hz // _FRAMES_PER_S :]
        if len(rest):
            self._chunks.appendleft((rest, rate_hz))
        self._queued_ms = self._queued_ms - len(piece) * 1_000 / rate_hz if self._chunks else 0.0
        self.played_samples += len(piece)
        if rate_hz != self._from_hz:
            self._flush()
            self._from_hz = rate_hz
            self._resampler = None if rate_hz == self.rate_hz else StreamResampler(rate_hz, self.rate_hz)
        self._append(piece if self._resampler is None else self._resampler.process(piece))

    def _flush(self) -> None:
        """Bring out what the resampler holds back: a stretch of speech has ended."""
        if self._resampler is not None:
            self._append(self._resampler.flush())
            self._resampler, self._from_hz = None, 0

    def _append(self, samples: Samples) -> None:
        self._ready = np.concatenate([self._ready, samples]) if len(self._ready) else samples
