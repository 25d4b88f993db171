"""How long an engine takes until its first answer, learned from all who ask it.

One ``Pace`` per process and engine, beside its breaker, so that every session profits from what the others met. A
bounded window of the latest answers: a service that has become slow is known to be slow a few dozen answers later.
Pure; whoever times an engine notes it here, and whoever decides when to ask another reads it.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from typing import Final

WINDOW: Final = 64
FEWEST: Final = 8
"""Answers before anything is concluded from them."""


class Pace:
    """The latest first answers of one engine, in seconds."""

    def __init__(self, window: int = WINDOW) -> None:
        self._latest: deque[float] = deque(maxlen=window)
        self._sorted: list[float] = []

    def note(self, seconds: float) -> None:
        """An answer began so long after it was asked for."""
        if len(self._latest) == self._latest.maxlen:
            self._sorted.remove(self._latest[0])
        self._latest.append(seconds)
        insort(self._sorted, seconds)

    def p95_s(self, default_s: float) -> float:
        """What 95 of 100 answers keep to (nearest rank); ``default_s`` while too few are known."""
        count = len(self._sorted)
        if count < FEWEST:
            return default_s
        return self._sorted[-(-count * 95 // 100) - 1]
