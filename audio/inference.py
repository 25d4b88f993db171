"""Where native inference meets the event loop: one bounded pool of threads, shared by every embedded engine.

Engines hand in plain blocking functions; nothing here knows what they compute. Urgent work overtakes background
work; background work is refused, not queued, once the pool is behind. The composition root opens and closes it.
"""

from __future__ import annotations

import asyncio
import functools
import heapq
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from types import TracebackType
from typing import Any, Final, Generic, TypeVar

import anyio
import anyio.to_thread

T = TypeVar("T")

_JOIN_LIMIT_S: Final = 5.0
"""How long closing waits for jobs that have begun: native code cannot be interrupted."""


class Priority(IntEnum):
    """Who goes first; lower overtakes higher, equals keep their order."""

    URGENT = 0
    """A turn waits for it."""
    NORMAL = 1
    """Needed soon, but nobody is waiting at this moment."""
    BACKGROUND = 2
    """Worth doing only when a thread is idle (partial transcripts): never queued, never on the last idle thread."""


class PoolBusy(Exception):
    """The pool is behind (background work) or its queue is full (any work). Nothing was queued."""


class PoolClosed(Exception):
    """The pool is not running; work it still had queued ends with this too."""


@dataclass(order=True, slots=True)
class _Job(Generic[T]):
    """One function on its way through the pool. Ordered by priority, then by arrival."""

    priority: Priority
    number: int
    fn: Callable[[], T] = field(compare=False)
    answer: asyncio.Future[T] = field(compare=False)
    loop: asyncio.AbstractEventLoop = field(compare=False)

    def execute(self) -> Callable[[], None]:
        """Run the function on this thread; returns how to hand its outcome to the loop that waits for it."""
        try:
            value = self.fn()
        except Exception as error:  # noqa: BLE001 - every failure belongs to the waiter
            return functools.partial(self._hand_back, _fail, error)
        except BaseException as error:  # noqa: BLE001 - a worker outlives even SystemExit raised by a job
            return functools.partial(self._hand_back, _fail, RuntimeError(f"job ended by {type(error).__name__}"))
        return functools.partial(self._hand_back, _succeed, value)

    def _hand_back(self, settle: Callable[[asyncio.Future[T], Any], None], outcome: object) -> None:
        try:
            self.loop.call_soon_threadsafe(settle, self.answer, outcome)
        except RuntimeError:
            return  # the loop has closed: nobody is left to hear


def _succeed(answer: asyncio.Future[T], value: T) -> None:
    if not answer.done():
        answer.set_result(value)


def _fail(answer: asyncio.Future[Any], error: Exception) -> None:
    if answer.done():
        return
    if isinstance(error, StopIteration):  # a future refuses to carry it
        error = RuntimeError("job raised StopIteration")
    answer.set_exception(error)


class InferencePool:
    """A few threads that run blocking functions for the event loop.

    Args:
        workers: threads, hence functions running at once.
        max_queued: functions waiting for a thread before new ones are refused.
    """

    def __init__(self, workers: int = 2, max_queued: int = 64) -> None:
        if workers < 1 or max_queued < 1:
            raise ValueError("an inference pool needs at least one worker and one place in its queue")
        self._workers = workers
        self._max_queued = max_queued
        self._changed = threading.Condition()
        self._queue: list[_Job[Any]] = []
        self._threads: list[threading.Thread] = []
        self._running = False
        self._number = 0
        self._busy = 0
        self._completed = 0
        self._refused = 0

    @property
    def workers(self) -> int:
        """Threads of the pool."""
        return self._workers

    @property
    def queued(self) -> int:
        """Functions waiting for a thread."""
        return len(self._queue)

    @property
    def busy(self) -> int:
        """Functions running now."""
        return self._busy

    @property
    def completed(self) -> int:
        """Functions that have run to their end (or failure) since the start, wanted or not."""
        return self._completed

    @property
    def refused(self) -> int:
        """Functions refused with ``PoolBusy`` since the start."""
        return self._refused

    async def start(self) -> None:
        """Start the threads. They are daemons: an interpreter that exits without ``aclose`` is not held up."""
        with self._changed:
            if self._running:
                raise RuntimeError("the inference pool is running already")
            self._running = True
            self._threads = [
                threading.Thread(target=self._work, name=f"inference-{index}", daemon=True)
                for index in range(self._workers)
            ]
        for thread in self._threads:
            thread.start()

    async def aclose(self) -> None:
        """Refuse new work, end what is queued with ``PoolClosed``, and wait a few seconds for what has begun."""
        with self._changed:
            self._running = False
            dropped, self._queue = self._queue, []
            threads, self._threads = self._threads, []
            self._changed.notify_all()
        for job in dropped:
            _fail(job.answer, PoolClosed("the inference pool was closed"))
        with anyio.CancelScope(shield=True), anyio.move_on_after(_JOIN_LIMIT_S):
            for thread in threads:
                await anyio.to_thread.run_sync(thread.join, _JOIN_LIMIT_S, abandon_on_cancel=True)

    async def __aenter__(self) -> InferencePool:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def run(self, fn: Callable[[], T], *, priority: Priority, limit_s: float) -> T:
        """Run ``fn`` on a thread of the pool and return what it returns, or raise what it raises.

        Raises:
            PoolBusy: refused at once, see ``Priority.BACKGROUND``; or the queue is full.
            PoolClosed: the pool is not running, or was closed before ``fn`` began.
            TimeoutError: ``limit_s`` seconds passed, waiting included. As on cancellation, ``fn`` is dropped if it
                has not begun; if it has, it runs to its end and the result is ignored.
        """
        return await self.submit(fn, priority=priority, limit_s=limit_s)

    def submit(self, fn: Callable[[], T], *, priority: Priority, limit_s: float) -> asyncio.Future[T]:
        """Like ``run`` for callers that are driven by callbacks: returns at once; cancel the future to drop ``fn``.

        Must be called on a running event loop, on which the future is settled. Raises PoolBusy and PoolClosed.
        """
        loop = asyncio.get_running_loop()
        with self._changed:
            if not self._running:
                raise PoolClosed("the inference pool is not running")
            if len(self._queue) >= self._max_queued or (priority is Priority.BACKGROUND and self._is_behind()):
                self._refused += 1
                raise PoolBusy(f"{self._busy} of {self._workers} workers busy, {len(self._queue)} jobs queued")
            self._number += 1
            job = _Job(priority, self._number, fn, loop.create_future(), loop)
            heapq.heappush(self._queue, job)
            self._changed.notify()
        limit = loop.call_later(limit_s, _fail, job.answer, TimeoutError(f"no answer within {limit_s} s"))
        job.answer.add_done_callback(lambda _: self._forget(job, limit))
        return job.answer

    def _is_behind(self) -> bool:
        # One idle thread is kept for a turn that may come at any moment, where there is more than one at all.
        spare = 1 if self._workers > 1 else 0
        return bool(self._queue) or self._busy + spare >= self._workers

    def _forget(self, job: _Job[Any], limit: asyncio.TimerHandle) -> None:
        limit.cancel()
        with self._changed:
            if job in self._queue:
                self._queue.remove(job)
                heapq.heapify(self._queue)

    def _work(self) -> None:
        while (job := self._next()) is not None:
            hand_back = job.execute()
            with self._changed:
                self._busy -= 1
                self._completed += 1
            hand_back()
            del job, hand_back  # a waiting thread must not keep the last job's audio alive

    def _next(self) -> _Job[Any] | None:
        with self._changed:
            while self._running and not self._queue:
                self._changed.wait()
            if not self._running:
                return None
            self._busy += 1
            return heapq.heappop(self._queue)
