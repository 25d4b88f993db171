"""Timers on the session's audio clock.

They fire as audio passes their due time. Where audio stops arriving (a muted microphone, a stalled network) the event
loop's clock takes over, a little later, so that no wait is without a limit. Waits for an engine are on the loop's clock
alone: audio may come in a burst after a stall, and no engine works faster for that. Owned and driven by the session.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Final

STALL_SLACK_MS: Final = 200
"""How far audio may lag behind the loop's clock before the loop's clock decides."""

MAX_HOLD_MS: Final = 160
"""How long a timer that is due may be held; longer than voice activity needs to make up its mind."""


class AudioTimers:
    """A handful of timers for one session; single-threaded, no tasks."""

    def __init__(self, fire: Callable[[int, int], None]) -> None:
        """``fire(timer, now_ms)`` is called once per timer, never from within ``set``."""
        self._fire = fire
        self._due: list[tuple[int, int]] = []
        self._now_ms = 0
        self._held = False
        self._fallback: asyncio.TimerHandle | None = None
        self._engine_waits: dict[int, asyncio.TimerHandle] = {}
        self._loop = asyncio.get_running_loop()

    def set(self, timer: int, due_ms: int) -> None:
        """Fire ``timer`` once ``due_ms`` of audio have passed; soon where they have, unless such timers are held."""
        heapq.heappush(self._due, (due_ms, timer))
        if due_ms <= self._now_ms and not self._held:
            self._loop.call_soon(self._fire_due)
        if self._due[0] == (due_ms, timer):
            self._watch()

    def set_engine_wait(self, timer: int, due_ms: int) -> None:
        """Fire ``timer`` once the time from now to ``due_ms`` has passed for everybody, not only in the audio."""
        wait_s = max(0, due_ms - self._now_ms) / 1_000
        self._engine_waits[timer] = self._loop.call_later(wait_s, self._waited, timer)

    def advance(self, now_ms: int, *, hold: bool = False) -> None:
        """Audio has reached ``now_ms``: fire what is due, earliest first.

        ``hold`` keeps what has just come due for a moment: the next audio may well overtake it.
        """
        self._now_ms = now_ms
        self._held = hold
        if self._due and self._due[0][0] <= self._now_ms - (MAX_HOLD_MS if hold else 0):
            self._fire_due()

    def close(self) -> None:
        """Nothing fires any more."""
        self._due.clear()
        if self._fallback is not None:
            self._fallback.cancel()
            self._fallback = None
        for wait in self._engine_waits.values():
            wait.cancel()
        self._engine_waits.clear()

    def _fire_due(self) -> None:
        while self._due and self._due[0][0] <= self._now_ms:
            _, timer = heapq.heappop(self._due)
            self._fire(timer, self._now_ms)
        self._watch()

    def _watch(self) -> None:
        if self._fallback is not None:
            self._fallback.cancel()
            self._fallback = None
        if self._due:
            due_ms = self._due[0][0]
            wait_s = (max(0, due_ms - self._now_ms) + STALL_SLACK_MS) / 1_000
            self._fallback = self._loop.call_later(wait_s, self._stalled, due_ms)

    def _stalled(self, due_ms: int) -> None:
        self._fallback = None
        self._now_ms = max(self._now_ms, due_ms)
        self._fire_due()

    def _waited(self, timer: int) -> None:
        del self._engine_waits[timer]
        self._fire(timer, self._now_ms)
