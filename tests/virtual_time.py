"""An event loop whose clock jumps: when nothing is ready, time moves straight to the next timer.

A thirty-second conversation takes milliseconds, and its latencies come out exactly. Everything must run on the loop:
a wait for a thread or a socket would never end here, and is reported instead.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualTimeError(AssertionError):
    """Nothing is scheduled and nothing is ready: the conversation waits for something that cannot come."""


class _JumpingSelector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise VirtualTimeError("every task waits and no timer is set")
        self.now_s += max(0.0, timeout)
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A selector loop on virtual time; ``time()`` starts at 0."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s


def run_virtual(main: Coroutine[Any, Any, T], limit_s: float = 3_600.0) -> T:
    """Run ``main`` on virtual time; at most ``limit_s`` virtual seconds."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(asyncio.wait_for(main, limit_s))
