"""How much one tenant, and one user or key of it, may ask of this server within a minute.

Sliding windows in memory, of this process alone: they protect the server, whatever the accounts say. Bounded: of more
callers than are remembered, those that were quiet longest are forgotten. The clock is given.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final, Literal

from server.budget_settings import BurstSettings
from server.contracts.errors import ErrorCode
from server.errors import Refused

Burst = Literal["turns", "sessions", "audio_s"]
WINDOW_S: Final = 60.0
MOST_CALLERS: Final = 8_192
_WHAT: Final[dict[Burst, str]] = {
    "turns": "turns a minute",
    "sessions": "sessions a minute",
    "audio_s": "seconds of speech a minute",
}


class Bursts:
    """See the module. For one event loop."""

    def __init__(self, settings: BurstSettings, now_s: Callable[[], float]) -> None:
        self._settings = settings
        self._now_s = now_s
        self._seen: OrderedDict[tuple[str, ...], deque[tuple[float, int]]] = OrderedDict()

    def wait_s(self, what: Burst, tenant_id: str, user_id: str, amount: int = 1) -> float:
        """How long to wait before so much more may come; 0.0: it may now."""
        return max(self._wait_s(key, most, amount) for key, most in self._limits(what, tenant_id, user_id))

    def count(self, what: Burst, tenant_id: str, user_id: str, amount: int = 1) -> None:
        """So much has come."""
        for key, most in self._limits(what, tenant_id, user_id):
            if most is None:
                continue
            self._seen.setdefault(key, deque()).append((self._now_s(), amount))
            self._seen.move_to_end(key)
            if len(self._seen) > MOST_CALLERS:
                self._seen.popitem(last=False)

    def require(self, what: Burst, tenant_id: str, user_id: str) -> None:
        """One comes. Raises Refused where that is one too many."""
        wait_s = self.wait_s(what, tenant_id, user_id)
        if wait_s > 0:
            message = f"Too many {_WHAT[what]}. Please wait a moment."
            raise Refused(ErrorCode.RATE_LIMITED, message, retry_after_s=math.ceil(wait_s))
        self.count(what, tenant_id, user_id)

    def _limits(self, what: Burst, tenant_id: str, user_id: str) -> tuple[tuple[tuple[str, ...], int | None], ...]:
        settings = self._settings
        most: int | None = getattr(settings, f"{what}_per_minute")
        per_key: int | None = getattr(settings, f"{what}_per_minute_per_key")
        return ((what, tenant_id), most), ((what, tenant_id, user_id), per_key)

    def _wait_s(self, key: tuple[str, ...], most: int | None, amount: int) -> float:
        seen = self._seen.get(key)
        if most is None or seen is None:
            return 0.0
        since_s = self._now_s() - WINDOW_S
        while seen and seen[0][0] <= since_s:
            seen.popleft()
        excess = sum(each for _, each in seen) + amount - most
        for at_s, each in seen:
            if excess <= 0:
                return 0.0
            excess -= each
            if excess <= 0:
                return at_s - since_s
        return 0.0 if excess <= 0 or not seen else WINDOW_S
