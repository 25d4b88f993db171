"""When a second model is asked while the first is still silent, and how often at most.

Pure. Owns the share of requests that may be hedged, so that an outage, in which every request is late, does not double
what is spent; knows no model. One allowance per process and set of models. Driven by ``agents.models.contest``.
"""

from __future__ import annotations

from typing import Final

HEDGED_SHARE: Final = 0.1
"""Of a hundred requests so many may be asked of two models: with equal prompts so many per cent more tokens go in."""
FLOOR_S: Final = 0.15
"""Nobody is hedged against earlier, however quick it usually is."""
SAVED: Final = 5.0
"""Hedges that requests which needed none leave to later ones, at most."""


class HedgeAllowance:
    """A token bucket that requests fill and hedges empty: of ``n`` requests at most ``share * n + 1`` are hedged."""

    def __init__(self, share: float = HEDGED_SHARE, saved: float = SAVED) -> None:
        """``share`` 0 hedges nobody. Raises ValueError for anything that is no share."""
        if not 0.0 <= share <= 1.0:
            raise ValueError("a share of requests is from 0 to 1")
        self._share = share
        self._saved = max(1.0, saved)
        self._left = 1.0 if share else 0.0

    def requested(self) -> None:
        """A request came that may be hedged."""
        self._left = min(self._saved, self._left + self._share)

    @property
    def has_one(self) -> bool:
        """Whether a second model may be asked now."""
        return self._left >= 1.0 - 1e-9

    def spend(self) -> None:
        """A second model is asked."""
        self._left = max(0.0, self._left - 1.0)
