"""A sender's clock against ours: what it sends too much or too little of is taken out or put in, a sample at a time.

Crystals differ by up to 100 parts in a million: 360 ms in an hour, by which whoever counts the samples heard would
misjudge when something was said. The shortest transit of each few seconds shows how far the clocks have come apart,
whatever the network's jitter. Pure; time is passed in. One per call, behind the stream.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from audio.formats import Samples
from audio.rtp.packet import signed_distance

_WINDOW_MS: Final = 5_000.0
_JUMP_MS: Final = 1_000.0
"""Beyond this, timestamps or the path have changed, not the clock."""

_SHORTEST_MS: Final = 10


class DriftCorrector:
    """Keeps the samples of one sender, at ``rate_hz``, in step with our clock. ``clock_hz`` is its timestamps'."""

    def __init__(self, clock_hz: int, rate_hz: int) -> None:
        self._units_per_ms = clock_hz / 1_000
        self._samples_per_ms = rate_hz / 1_000
        self._shortest = _SHORTEST_MS * rate_hz // 1_000
        self._ssrc: int | None = None
        self._timestamp = 0
        self._media_ms = 0.0
        self._last_transit_ms = 0.0
        self._base_ms: float | None = None
        self._best_ms: float | None = None
        self._window_ends_ms = 0.0
        self._drift_ms = 0.0
        self._applied = 0

    @property
    def drift_ms(self) -> float:
        """How far the sender has fallen behind our clock since the beginning; negative where it ran ahead."""
        return self._drift_ms

    @property
    def applied_samples(self) -> int:
        """Samples put in, less those taken out."""
        return self._applied

    def arrived(self, ssrc: int, timestamp: int, now_ms: float) -> None:
        """A packet of audio came."""
        if ssrc == self._ssrc:
            step = signed_distance(timestamp, self._timestamp, 32)
            if step < 0:
                return
            self._media_ms += step / self._units_per_ms
        self._timestamp = timestamp
        transit_ms = now_ms - self._media_ms
        if ssrc != self._ssrc or abs(transit_ms - self._last_transit_ms) > _JUMP_MS:
            self._begin(ssrc, now_ms)
            transit_ms = now_ms - self._media_ms
        self._last_transit_ms = transit_ms
        if now_ms >= self._window_ends_ms:
            self._close_window(now_ms)
        self._best_ms = transit_ms if self._best_ms is None else min(self._best_ms, transit_ms)

    def correct(self, samples: Samples) -> Samples:
        """These samples, one more or one less of them where that is due."""
        owed = self._drift_ms * self._samples_per_ms - self._applied
        if abs(owed) < 1 or len(samples) < self._shortest:
            return samples
        change = 1 if owed > 0 else -1
        self._applied += change
        places = np.linspace(0, len(samples) - 1, len(samples) + change)
        return np.interp(places, np.arange(len(samples)), samples).astype(np.int16)

    def _begin(self, ssrc: int, now_ms: float) -> None:
        """Another sender, or another place in its timestamps: what was known of the drift so far stands."""
        self._ssrc = ssrc
        self._media_ms = now_ms
        self._best_ms = self._base_ms = None
        self._window_ends_ms = now_ms + _WINDOW_MS

    def _close_window(self, now_ms: float) -> None:
        self._window_ends_ms = now_ms + _WINDOW_MS
        if self._best_ms is None:
            return
        if self._base_ms is None:
            self._base_ms = self._best_ms - self._drift_ms
        else:
            self._drift_ms = self._best_ms - self._base_ms
        self._best_ms = None
