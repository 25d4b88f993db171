"""Bounded label values: the first so many distinct ones by their names, every later one as ``other``.

A label whose values grow without end takes a metrics server down. Engines' names come from settings, so there are
few; this holds them to it.
"""

from __future__ import annotations

from typing import Final

OTHER: Final = "other"
MAX_CHARS: Final = 64


class LabelValues:
    """The values of one label."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def of(self, value: str) -> str:
        """``value``, or ``other`` where that would be one too many, or one too long."""
        if value in self._known:
            return value
        if len(self._known) >= self._most or len(value) > MAX_CHARS:
            return OTHER
        self._known.add(value)
        return value
