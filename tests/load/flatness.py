"""Whether what was measured over time stayed flat: two figures that a few odd samples cannot move.

The slope is Theil and Sen's (P. K. Sen, 1968: the median of the slopes between all pairs of samples), the rise is that
of the median from the first half to the second. A leak moves both; a burst, or a buffer that is given back late, at
most one. Pure. Driven by ``soak_azure``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Growth:
    """Of one figure, in its own unit: ``slope`` an hour, medians of the halves, and the hours between their middles."""

    slope: float
    first: float
    last: float
    between_hours: float
    samples: int

    @property
    def rise(self) -> float:
        """From half to half."""
        return self.last - self.first

    def is_flat(self, most_an_hour: float) -> bool:
        """Unless slope and rise both say that it grows faster."""
        return self.slope <= most_an_hour or self.rise <= most_an_hour * self.between_hours


def growth(hours: Sequence[float], values: Sequence[float]) -> Growth:
    """Of samples in the order of time. Raises ValueError for fewer than four, which show nothing."""
    if len(values) < 4 or len(hours) != len(values):
        raise ValueError(f"{len(values)} samples at {len(hours)} times show no growth")
    at, of = np.asarray(hours, float), np.asarray(values, float)
    earlier, later = np.triu_indices(len(at), 1)
    apart = at[later] - at[earlier]
    slope = float(np.median((of[later] - of[earlier])[apart > 0] / apart[apart > 0]))
    half = len(of) // 2
    between = float(np.mean(at[half:]) - np.mean(at[:half]))
    return Growth(slope, float(np.median(of[:half])), float(np.median(of[half:])), between, len(of))
