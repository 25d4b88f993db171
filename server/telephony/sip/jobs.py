"""Tasks for those who have none: callbacks of sockets and timers ask here for something that takes time.

One per endpoint, which runs it; its task group owns what was begun.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import anyio

logger = logging.getLogger(__name__)


class Jobs:
    """Begins coroutine functions in a task group, in the order they were asked for."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Callable[..., Coroutine[Any, Any, object]], tuple[Any, ...]]] = deque()
        self._wanted = anyio.Event()

    def start(self, function: Callable[..., Coroutine[Any, Any, object]], *arguments: Any) -> None:
        """Have ``function(*arguments)`` run soon. Whoever asks bounds how often."""
        self._waiting.append((function, arguments))
        self._wanted.set()

    async def run(self) -> None:
        """Until cancelled, with all that was begun."""
        async with anyio.create_task_group() as tasks:
            while True:
                await self._wanted.wait()
                self._wanted = anyio.Event()
                while self._waiting:
                    function, arguments = self._waiting.popleft()
                    tasks.start_soon(_run, function, arguments)


async def _run(function: Callable[..., Coroutine[Any, Any, object]], arguments: tuple[Any, ...]) -> None:
    """One that fails takes nothing with it."""
    try:
        await function(*arguments)
    except Exception:
        logger.exception("a task of sip failed", extra={"task": getattr(function, "__qualname__", "")})
