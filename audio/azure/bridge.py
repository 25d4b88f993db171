"""Where the SDK's threads meet the event loop: the one place.

Owns a bounded queue per native object. Native callbacks ``post`` from any thread and never wait; events are delivered
on the loop in the order of posting, several per wake-up. Past ``limit`` what may be dropped is dropped and counted;
past ``hard_limit`` nothing more is taken and the receiver is told once. Knows no SDK.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

E = TypeVar("E")


class EventBridge(Generic[E]):
    """From native threads to one receiver on the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, overflow: E, limit: int = 256, hard_limit: int = 8_192) -> None:
        """``overflow`` is delivered in place of what did not fit."""
        self._loop = loop
        self._overflow = overflow
        self._limit = limit
        self._hard_limit = hard_limit
        self._lock = threading.Lock()
        self._queue: deque[E] = deque()
        self._scheduled = False
        self._closed = False
        self._overflowed = False
        self._receiver: Callable[[E], None] | None = None
        self.dropped = 0

    def post(self, event: E, *, may_drop: bool = False) -> None:
        """From any thread."""
        with self._lock:
            if self._closed or self._overflowed:
                return
            if may_drop and len(self._queue) >= self._limit:
                self.dropped += 1
                return
            if len(self._queue) >= self._hard_limit:
                self._overflowed = True
                event = self._overflow
            self._queue.append(event)
            if self._scheduled or self._receiver is None:
                return
            self._scheduled = True
        self._wake()

    def connect(self, receiver: Callable[[E], None] | None) -> None:
        """Deliver to this receiver from now on, what waits included; ``None`` lets events wait. On the loop."""
        with self._lock:
            self._receiver = receiver
            if receiver is None or self._scheduled or not self._queue:
                return
            self._scheduled = True
        self._wake()

    def close(self) -> None:
        """Nothing is delivered any more. From any thread."""
        with self._lock:
            self._closed = True
            self._receiver = None
            self._queue.clear()

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:
            return  # the loop has closed: nobody is left to hear

    def _deliver(self) -> None:
        while True:
            with self._lock:
                receiver = self._receiver
                if receiver is None or not self._queue:
                    self._scheduled = False
                    return
                event = self._queue.popleft()
            receiver(event)
