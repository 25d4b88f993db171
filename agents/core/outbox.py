"""Events on their way to one client: bounded, in order, with audio that can be taken back.

Filled by the session, drained by one transport. Control events are never dropped: a client so slow that they pile up
is cut (``overflowed``). Audio never piles up: its writer waits in ``audio_room``, and ``drop_audio`` takes back what
has not left when a turn ends early.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from agents.errors import SessionClosed
from agents.events import AudioOut, ServerEvent, VisemesOut

MAX_EVENTS: Final = 1_024
MAX_AUDIO_EVENTS: Final = 8


class Outbox:
    """A bounded queue from one session to one transport at a time."""

    def __init__(self, max_events: int = MAX_EVENTS, max_audio_events: int = MAX_AUDIO_EVENTS) -> None:
        self._events: deque[ServerEvent] = deque()
        self._max_events = max_events
        self._max_audio = max_audio_events
        self._audio = 0
        self._ready = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closed = False
        self.overflowed = False

    def __len__(self) -> int:
        return len(self._events)

    def emit(self, event: ServerEvent) -> None:
        """Append one event; after ``close`` it is dropped. Never blocks."""
        if self._closed:
            return
        if len(self._events) >= self._max_events:
            self.overflowed = True
            self.close()
            return
        if isinstance(event, AudioOut):
            self._audio += 1
            if self._audio >= self._max_audio:
                self._room.clear()
        self._events.append(event)
        self._ready.set()

    async def audio_room(self) -> None:
        """Return once the client has taken enough audio for another event."""
        await self._room.wait()

    async def get(self) -> ServerEvent:
        """The next event. Raises SessionClosed once closed and empty."""
        while not self._events:
            if self._closed:
                raise SessionClosed("the session has ended")
            self._ready.clear()
            await self._ready.wait()
        event = self._events.popleft()
        if isinstance(event, AudioOut):
            self._took_audio(1)
        return event

    def drop_audio(self, turn_id: str) -> int:
        """Take back a turn's audio that has not left, with its mouth shapes. Returns the number of samples."""
        kept = deque[ServerEvent]()
        samples = events = 0
        for event in self._events:
            if isinstance(event, AudioOut) and event.turn_id == turn_id:
                samples += len(event.samples)
                events += 1
            elif not (isinstance(event, VisemesOut) and event.turn_id == turn_id):
                kept.append(event)
        self._events = kept
        self._took_audio(events)
        return samples

    def drop_all_audio(self) -> None:
        """Nothing of anybody's that has not left is to be heard any more."""
        for turn_id in {event.turn_id for event in self._events if isinstance(event, AudioOut)}:
            self.drop_audio(turn_id)

    def close(self) -> None:
        """No more events; what is queued may still be taken."""
        self._closed = True
        self._ready.set()
        self._room.set()

    def _took_audio(self, events: int) -> None:
        self._audio -= events
        if self._audio < self._max_audio:
            self._room.set()
