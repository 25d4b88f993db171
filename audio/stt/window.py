"""The audio of a running utterance that is not yet committed to text, and the quiet places where it may be cut.

Owns samples only. Driven by ``audio.stt.whisper_utterance`` on the event loop (``UtteranceAudio``) and by decoding
threads on copies (``quietest``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from audio.formats import HEARING_RATE_HZ, PcmChunk, Samples, ms_to_samples

_FIRST_CAPACITY_SAMPLES: Final = 4 * HEARING_RATE_HZ
_LONGEST_GAP_SAMPLES: Final = ms_to_samples(300, HEARING_RATE_HZ)
POWER_FRAME_SAMPLES: Final = ms_to_samples(10, HEARING_RATE_HZ)
_PAUSE_FRAMES: Final = 12
_QUIET_PEAK: Final = 0.1
"""20 dB below the utterance's recent peaks."""
_PEAK_DECAY_PER_CHUNK: Final = 0.995


class UtteranceAudio:
    """Consecutive samples of one utterance. Grows by doubling; its user bounds it with ``drop``."""

    def __init__(self, start_sample: int) -> None:
        self._buffer: Samples = np.empty(_FIRST_CAPACITY_SAMPLES, dtype=np.int16)
        self._length = 0
        self._end = start_sample
        self._peak = 0.0
        self._quiet = 0

    def __len__(self) -> int:
        return self._length

    @property
    def end_sample(self) -> int:
        """Stream position after the last sample."""
        return self._end

    @property
    def quiet_samples(self) -> int:
        """How much of the end is at least 20 dB below the utterance's recent peaks (whole chunks)."""
        return self._quiet

    def append(self, chunk: PcmChunk) -> int:
        """Add what is new in a chunk and return its length; a gap before it is kept as silence, up to 300 ms."""
        samples = chunk.samples[max(0, self._end - chunk.start_sample) :]
        if len(samples) == 0:
            return 0
        gap = max(0, min(chunk.start_sample - self._end, _LONGEST_GAP_SAMPLES)) if self._length else 0
        end = self._length + gap + len(samples)
        self._reserve(end)
        self._buffer[self._length : self._length + gap] = 0
        self._buffer[self._length + gap : end] = samples
        self._length, self._end = end, chunk.end_sample
        self._watch_level(samples)
        return len(samples)

    def copy(self) -> Samples:
        """What is held, for another thread."""
        return self._buffer[: self._length].copy()

    def drop(self, count: int) -> None:
        """Forget the oldest samples."""
        left = self._length - count
        self._buffer[:left] = self._buffer[count : self._length].copy()
        self._length = left

    def _reserve(self, length: int) -> None:
        if length <= len(self._buffer):
            return
        grown = np.empty(max(length, 2 * len(self._buffer)), dtype=np.int16)
        grown[: self._length] = self._buffer[: self._length]
        self._buffer = grown

    def _watch_level(self, samples: Samples) -> None:
        peak = float(max(int(samples.max()), -int(samples.min())))
        self._peak = max(peak, self._peak * _PEAK_DECAY_PER_CHUNK)
        self._quiet = self._quiet + len(samples) if peak < self._peak * _QUIET_PEAK else 0


@dataclass(frozen=True, slots=True)
class QuietPlace:
    """A place to cut: an index into the samples, and whether it is a pause or merely the quietest moment."""

    index: int
    is_pause: bool


def quietest(samples: Samples, first: int, last: int) -> QuietPlace:
    """The middle of the quietest 120 ms that lie between two indices.

    It is a pause where those are 20 dB below the loudest tenth of the audio.
    """
    power = frame_powers(samples)
    searched = power[first // POWER_FRAME_SAMPLES : last // POWER_FRAME_SAMPLES]
    smooth = np.convolve(searched, np.full(_PAUSE_FRAMES, 1 / _PAUSE_FRAMES, dtype=np.float32), mode="valid")
    # Of equally quiet places the last one is taken: more text is committed at once.
    at = len(smooth) - 1 - int(np.argmin(smooth[::-1]))
    index = (first // POWER_FRAME_SAMPLES + at + _PAUSE_FRAMES // 2) * POWER_FRAME_SAMPLES
    return QuietPlace(index, is_pause=bool(smooth[at] < 0.01 * np.percentile(power, 90)))


def frame_powers(samples: Samples) -> npt.NDArray[np.float32]:
    """Mean square of each whole 10 ms."""
    frames = samples[: len(samples) // POWER_FRAME_SAMPLES * POWER_FRAME_SAMPLES].reshape(-1, POWER_FRAME_SAMPLES)
    return np.square(frames, dtype=np.float32).mean(axis=1)
