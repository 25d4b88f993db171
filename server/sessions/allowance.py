"""How many responses one client may have in a minute: a sliding window, told to clients that want to know.

Owned by one session's delivery. The clock is given.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

WINDOW_S: Final = 60.0


class ResponseWindow:
    """Responses begun within the last minute, of as many as are allowed."""

    def __init__(self, limit: int, monotonic_s: Callable[[], float]) -> None:
        self._limit = limit
        self._monotonic_s = monotonic_s
        self._begun: deque[float] = deque()

    @property
    def is_used_up(self) -> bool:
        """Whether the client has to wait before it asks for another."""
        self._forget()
        return len(self._begun) >= self._limit

    def spend(self) -> list[dict[str, Any]]:
        """One response begins. Returns the limit as ``rate_limits.updated`` tells it."""
        self._forget()
        now_s = self._monotonic_s()
        self._begun.append(now_s)
        remaining = max(0, self._limit - len(self._begun))
        reset_s = round(WINDOW_S - (now_s - self._begun[0]), 3)
        return [{"name": "requests", "limit": self._limit, "remaining": remaining, "reset_seconds": reset_s}]

    def _forget(self) -> None:
        since_s = self._monotonic_s() - WINDOW_S
        while self._begun and self._begun[0] <= since_s:
            self._begun.popleft()
