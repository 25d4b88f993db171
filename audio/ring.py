"""The last seconds of one stream, addressed by sample position.

Owns a preallocated buffer; knows nothing of speech. Hearing appends every inbound chunk and reads back pre-roll and
utterance audio, whose positions it knows from speech edges. Memory is fixed: the oldest samples give way.
"""

from __future__ import annotations

import numpy as np

from audio.formats import HEARING_RATE_HZ, PcmChunk, Samples


class SampleRing:
    """A bounded stretch of a stream: positions ``oldest_sample`` (included) to ``end_sample`` (not).

    The first chunk may stand anywhere. After it:

    - a gap before a chunk reads as silence;
    - what a chunk repeats of positions already held is ignored, the first version stays;
    - of a chunk longer than the capacity, the end is kept.

    Raises:
        ValueError: the capacity is not positive.
    """

    def __init__(self, capacity_samples: int, sample_rate_hz: int = HEARING_RATE_HZ) -> None:
        if capacity_samples <= 0:
            raise ValueError(f"a ring holds at least one sample, not {capacity_samples}")
        self._buffer: Samples = np.zeros(capacity_samples, np.int16)
        self._sample_rate_hz = sample_rate_hz
        self._oldest = 0
        self._end = 0
        self._empty = True

    @property
    def oldest_sample(self) -> int:
        """Position of the oldest sample held."""
        return self._oldest

    @property
    def end_sample(self) -> int:
        """Position just after the newest sample held; equal to ``oldest_sample`` while nothing is."""
        return self._end

    def append(self, chunk: PcmChunk) -> None:
        """Take the next chunk. Raises ValueError for one of another rate."""
        if chunk.sample_rate_hz != self._sample_rate_hz:
            raise ValueError(f"a ring at {self._sample_rate_hz} Hz was given {chunk.sample_rate_hz} Hz")
        if self._empty:
            self._empty = False
            self._oldest = self._end = chunk.start_sample
        if chunk.end_sample <= self._end:
            return
        self._fill_silence(chunk.start_sample)
        fresh = chunk.samples[self._end - chunk.start_sample :][-len(self._buffer) :]
        self._write(chunk.end_sample - len(fresh), fresh)
        self._advance(chunk.end_sample)

    def read(self, start_sample: int, end_sample: int) -> PcmChunk:
        """A copy of what is held between the two positions; empty where nothing is."""
        start = min(max(start_sample, self._oldest), self._end)
        end = max(min(end_sample, self._end), start)
        capacity = len(self._buffer)
        samples: Samples = np.empty(end - start, np.int16)
        offset = start % capacity
        before_wrap = min(len(samples), capacity - offset)
        samples[:before_wrap] = self._buffer[offset : offset + before_wrap]
        samples[before_wrap:] = self._buffer[: len(samples) - before_wrap]
        return PcmChunk(samples, start, self._sample_rate_hz)

    def _write(self, position: int, samples: Samples) -> None:
        offset = position % len(self._buffer)
        before_wrap = min(len(samples), len(self._buffer) - offset)
        self._buffer[offset : offset + before_wrap] = samples[:before_wrap]
        self._buffer[: len(samples) - before_wrap] = samples[before_wrap:]

    def _fill_silence(self, upto_sample: int) -> None:
        missing = upto_sample - self._end
        if missing <= 0:
            return
        if missing >= len(self._buffer):
            self._buffer.fill(0)
        else:
            offset = self._end % len(self._buffer)
            before_wrap = min(missing, len(self._buffer) - offset)
            self._buffer[offset : offset + before_wrap] = 0
            self._buffer[: missing - before_wrap] = 0
        self._advance(upto_sample)

    def _advance(self, end_sample: int) -> None:
        self._end = end_sample
        self._oldest = max(self._oldest, end_sample - len(self._buffer))
