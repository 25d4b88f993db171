"""Numbered chunks of audio put in order: late and repeated ones are dropped, missing ones are told.

In order nothing waits. A chunk that comes too early is held back for those before it, but only for a few others: then
what is missing counts as lost. Pure.
"""

from __future__ import annotations

from typing import Final

MOST_AHEAD: Final = 5
"""How many chunks are held back for one that is missing."""
LONGEST_GAP: Final = 50
"""Chunks that may be missing at once; a greater leap means that the carrier counts anew."""


class ChunkOrder:
    """One stream's chunks."""

    def __init__(self) -> None:
        self._next: int | None = None
        self._ahead: dict[int, bytes] = {}

    def take(self, number: int, payload: bytes) -> list[bytes | None]:
        """The chunks that are next, ``None`` for each that is lost."""
        if self._next is None or number - self._next > LONGEST_GAP:
            told = [self._ahead[each] for each in sorted(self._ahead)]
            self._ahead.clear()
            self._next = number + 1
            return [*told, payload]
        if number < self._next or number in self._ahead:
            return []
        self._ahead[number] = payload
        told: list[bytes | None] = self._ready()
        if len(self._ahead) > MOST_AHEAD:
            first = min(self._ahead)
            told += [None] * (first - self._next)
            self._next = first
            told += self._ready()
        return told

    def _ready(self) -> list[bytes | None]:
        told: list[bytes | None] = []
        while self._next in self._ahead:
            told.append(self._ahead.pop(self._next))
            self._next += 1
        return told
