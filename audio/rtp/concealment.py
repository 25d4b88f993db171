"""What stands in for a lost packet where the codec has no means of its own: the last pitch period, again and fainter.

After ITU-T G.711 appendix I: the period is found by correlation, repeated, and fades to silence in 60 ms; what follows
is faded in over the repetition. Pure; one per stream.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from audio.formats import Samples

_SHORTEST_MS: Final = 5
_LONGEST_MS: Final = 15
_MATCH_MS: Final = 20
_FULL_MS: Final = 10
_SILENT_MS: Final = 60
_JOIN_MS: Final = 4


class Concealer:
    """Keeps the newest samples of a stream at ``rate_hz``, and makes more of them when some are missing."""

    def __init__(self, rate_hz: int) -> None:
        self._per_ms = rate_hz // 1_000
        self._kept = (_LONGEST_MS + _MATCH_MS) * self._per_ms
        self.reset()

    def reset(self) -> None:
        """Another stream begins."""
        self._history: Samples = np.zeros(self._kept, np.int16)
        self._period: Samples | None = None
        self._made = 0

    def good(self, samples: Samples) -> Samples:
        """Samples that came; the first after a loss are faded in."""
        if self._period is not None:
            join = min(_JOIN_MS * self._per_ms, len(samples))
            tail = self._repeat(join).astype(np.float32)
            rising = np.linspace(0.0, 1.0, join, endpoint=False, dtype=np.float32)
            samples = samples.copy()
            samples[:join] = (tail * (1 - rising) + samples[:join] * rising).astype(np.int16)
            self._period, self._made = None, 0
        self._remember(samples)
        return samples

    def conceal(self, count: int) -> Samples:
        """So many samples in place of what is missing."""
        if self._period is None:
            self._period = self._history[-self._pitch() :]
        made = self._repeat(count)
        self._remember(made)
        return made

    def _repeat(self, count: int) -> Samples:
        assert self._period is not None
        places = np.arange(self._made, self._made + count)
        ms = places / self._per_ms
        gain = np.clip(1.0 - (ms - _FULL_MS) / (_SILENT_MS - _FULL_MS), 0.0, 1.0)
        self._made += count
        return (self._period[places % len(self._period)] * gain).astype(np.int16)

    def _pitch(self) -> int:
        """The lag at which the newest stretch is most like what went before it."""
        history: npt.NDArray[np.float32] = self._history.astype(np.float32)
        match = _MATCH_MS * self._per_ms
        newest = history[-match:]
        lags = range(_SHORTEST_MS * self._per_ms, _LONGEST_MS * self._per_ms + 1)
        windows = np.stack([history[-match - lag : len(history) - lag] for lag in lags])
        energy = np.sqrt(np.einsum("ij,ij->i", windows, windows)) + 1.0
        return lags[int(np.argmax(windows @ newest / energy))]

    def _remember(self, samples: Samples) -> None:
        if len(samples) >= self._kept:
            self._history = samples[-self._kept :]
        else:
            self._history = np.concatenate([self._history[len(samples) :], samples])
