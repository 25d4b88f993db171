"""How much of a core the event loop takes, and what is done about it: connections rest between reads.

A frame of 20 ms costs far less when it is read, parsed and heard together with the next ones: one call of the system,
one wake-up, one pass through code that is in the cache by then. While the loop has time to spare nothing waits; the
busier it is, the longer a connection rests after it has been read, up to what a listener hardly notices; audio that
comes as datagrams is gathered for as long (``server.telephony.ear``). Owned by the host; read by every connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import anyio

MEASURE_EVERY_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Pace:
    """How long connections rest; the share of a core at which that begins, and the one at which it ends.

    Resting lowers the share by up to a third, so that it ends well below where it began.
    """

    rest_s: float
    from_share: float
    below_share: float


PACES: Final = (Pace(0.0, 0.0, 0.0), Pace(0.04, 0.55, 0.3), Pace(0.08, 0.7, 0.45), Pace(0.12, 0.8, 0.5))


class LoopLoad:
    """The load of the event loop it is run in."""

    def __init__(
        self, cpu_s: Callable[[], float] = time.thread_time, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        """``cpu_s`` is what the calling thread has used of a core so far."""
        self._cpu_s, self._now_s = cpu_s, now_s
        self._pace = 0
        self._since = cpu_s(), now_s()
        self.share = 0.0
        """Of a core, 0-1, lately."""

    @property
    def rest_s(self) -> float:
        """How long a connection rests after it was read, now."""
        return PACES[self._pace].rest_s

    async def run(self) -> None:
        """Measure, until cancelled."""
        self._since = self._cpu_s(), self._now_s()
        while True:
            await anyio.sleep(MEASURE_EVERY_S)
            self.measure()

    def measure(self) -> None:
        """Look at what was used since the last time; slower or faster by one step at most."""
        (cpu_s, now_s), (before_cpu_s, before_s) = (self._cpu_s(), self._now_s()), self._since
        if now_s <= before_s:
            return
        self._since = cpu_s, now_s
        self.share = min(1.0, (cpu_s - before_cpu_s) / (now_s - before_s))
        if self._pace + 1 < len(PACES) and self.share >= PACES[self._pace + 1].from_share:
            self._pace += 1
        elif self.share < PACES[self._pace].below_share:
            self._pace -= 1
