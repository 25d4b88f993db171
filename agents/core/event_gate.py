"""Holds a turn's events back until the turn is certain, then lets them through in order.

One per turn, owned by it. What a draft that is thrown away would have said never reaches the client.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import anyio

from agents.core.outbox import Outbox
from agents.events import ReplyText, ServerEvent


class Commitment:
    """That a turn is certain, for whoever may not go on before; ``on_awaited`` is told that somebody waits."""

    def __init__(self, on_awaited: Callable[[], None]) -> None:
        self._on_awaited = on_awaited
        self._certain = anyio.Event()

    def is_set(self) -> bool:
        """Whether the turn is certain."""
        return self._certain.is_set()

    def set(self) -> None:
        """It is, from now on."""
        self._certain.set()

    async def wait(self) -> None:
        """Return once the turn is certain."""
        if not self._certain.is_set():
            self._on_awaited()
        await self._certain.wait()


class EventGate:
    """``committed`` is set once, when the turn becomes certain; tools with effects wait for it too."""

    def __init__(self, outbox: Outbox, on_awaited: Callable[[], None]) -> None:
        """``on_awaited`` is told where the turn can go no further before it is certain."""
        self.committed = Commitment(on_awaited)
        self._outbox = outbox
        self._held: list[ServerEvent] = []

    @property
    def is_open(self) -> bool:
        """Whether events go straight through."""
        return self.committed.is_set()

    def emit(self, event: ServerEvent) -> None:
        """Send now, or once the turn is certain."""
        if self.is_open:
            self._outbox.emit(event)
        elif isinstance(event, ReplyText) and self._held and isinstance(self._held[-1], ReplyText):
            # One event instead of thirty at the very moment the first audio should leave.
            self._held[-1] = replace(event, text=self._held[-1].text + event.text)
        else:
            self._held.append(event)

    def open(self, first: ServerEvent) -> None:
        """The turn is certain: ``first``, then everything held."""
        self.committed.set()
        for event in (first, *self._held):
            self._outbox.emit(event)
        self._held.clear()
