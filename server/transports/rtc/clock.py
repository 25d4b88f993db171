"""One clock for the media of every peer: a task that wakes each 10 ms and lets each of them send what is due.

A timer per peer would wake the process fifty times a second for each; this one wakes it a hundred times for all. Peers
come and go at any time. The hub runs it.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

import anyio

_PERIOD_MS: Final = 10.0


class Ticked(Protocol):
    """Whoever has media."""

    async def tick(self, at_ms: float) -> None:
        """Do what is due at ``at_ms`` (monotonic), without waiting for anything; raises nothing."""
        ...


def now_ms() -> float:
    """The clock of media: monotonic milliseconds."""
    return asyncio.get_running_loop().time() * 1_000


class MediaClock:
    """Ticks for its members, each 10 ms; late after a busy moment, but never more often."""

    def __init__(self) -> None:
        self._members: dict[Ticked, None] = {}
        self._wanted: anyio.Event | None = None

    def add(self, member: Ticked) -> None:
        self._members[member] = None
        if self._wanted is not None:
            self._wanted.set()

    def remove(self, member: Ticked) -> None:
        self._members.pop(member, None)

    async def run(self) -> None:
        """Until cancelled. Asleep while there is no member."""
        due_ms = now_ms()
        while True:
            if not self._members:
                self._wanted = anyio.Event()
                await self._wanted.wait()
                due_ms = now_ms()
            started_ms = now_ms()
            for member in list(self._members):
                await member.tick(started_ms)
            ended_ms = now_ms()
            due_ms = max(due_ms + _PERIOD_MS, ended_ms)
            await anyio.sleep((due_ms - ended_ms) / 1_000)
