"""Connected recognizers and synthesizers, made before they are needed.

Owns the spares and counts what exists. Making and releasing native objects blocks (a release takes 22 ms), so both run
on the worker threads it is given; everything here is called on the event loop and returns at once. A spare that lost
its socket or waited too long is replaced in the background; makers that fail are retried with growing pauses. Knows
neither SDK nor sessions. One pool per credential and configuration.
"""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Generic, Protocol, TypeVar

from audio.azure.errors import overloaded, said_by_sdk, timed_out, unavailable
from audio.azure.room import ConnectionRoom
from audio.azure.settings import PoolOptions
from audio.errors import EngineError, Stage
from audio.inference import InferencePool, PoolBusy, PoolClosed, Priority

_DISPOSE_LIMIT_S = 30.0
_RETRY_DISPOSAL_S = 0.5


class Pooled(Protocol):
    """A native object. Both methods are called where they may not block, ``dispose`` excepted."""

    @property
    def is_healthy(self) -> bool:
        """Whether it may still be used."""
        ...

    def dispose(self) -> None:
        """Stop and release it; blocks, on a worker thread."""
        ...


T = TypeVar("T", bound=Pooled)


class _Birth(Generic[T]):
    """An object being made, which may be given up before it exists."""

    def __init__(self, make: Callable[[], T], living: set[T]) -> None:
        self._make = make
        self._living = living
        self._lock = threading.Lock()
        self._abandoned = False
        self._made: T | None = None

    def run(self) -> T:
        made = self._make()
        self._living.add(made)
        with self._lock:
            self._made = made
            abandoned = self._abandoned
        if abandoned:
            _dispose(made, self._living)
        return made

    def abandon(self) -> T | None:
        """Nobody waits any more; what exists already is the caller's to release."""
        with self._lock:
            self._abandoned = True
            return self._made


def _dispose(item: T, living: set[T]) -> None:
    item.dispose()
    living.discard(item)


def _dispose_all(living: set[T]) -> None:
    """At the interpreter's exit, what nobody released: a callback of the SDK into an interpreter that is gone would
    abort the process."""
    for item in tuple(living):
        _dispose(item, living)


class WarmPool(Generic[T]):
    """Spares of one kind."""

    def __init__(
        self,
        make: Callable[[], T],
        workers: InferencePool,
        options: PoolOptions,
        stage: Stage,
        now_s: Callable[[], float] = time.monotonic,
        room: ConnectionRoom | None = None,
    ) -> None:
        """``make`` blocks and may raise EngineError; it runs on a worker. ``room`` is shared with other pools."""
        self._make = make
        self._workers = workers
        self._options = options
        self._stage: Stage = stage
        self._now_s = now_s
        self._room = room or ConnectionRoom(2 * options.most)  # alone, its own bound is what counts
        self._living: set[T] = set()
        weakref.finalize(self, _dispose_all, self._living)
        self._spares: deque[tuple[T, float]] = deque()
        self._making = 0
        self._alive = 0
        self._retry: asyncio.TimerHandle | None = None
        self._check: asyncio.TimerHandle | None = None
        self._retry_s = options.first_retry_s
        self._disposals: set[asyncio.Future[None]] = set()
        self._closed = False
        self.made = 0
        self.last_error: EngineError | None = None

    @property
    def spares(self) -> int:
        """Connected and unused."""
        return len(self._spares)

    @property
    def alive(self) -> int:
        """Existing or being made: spares, in use, and not yet released."""
        return self._alive

    def fill(self) -> None:
        """See to it, in the background and from now on, that there are spares and that they are healthy."""
        self._evict()
        if self._check is None and not self._closed:
            self._check = asyncio.get_running_loop().call_later(self._options.check_s, self._check_again)
        while not self._closed and self._retry is None and len(self._spares) + self._making < self._options.spares:
            if self._alive >= self._options.most or not self._room.enter(spare=True):
                return
            self._start_making(self._keep, self._failed_in_background)

    def take(self) -> T | None:
        """A spare, if there is one; another is made in its place."""
        self._evict()
        taken = self._spares.pop()[0] if self._spares else None
        self.fill()
        return taken

    def order(self, on_made: Callable[[T], None], on_failed: Callable[[EngineError], None]) -> Callable[[], None]:
        """Make one now. Answered on the loop, later; the function returned cancels the order."""
        refusal = self._refusal()
        if refusal is not None:
            return asyncio.get_running_loop().call_soon(on_failed, refusal).cancel
        return self._start_making(on_made, on_failed)

    async def acquire(self) -> T:
        """A spare, or one made for the occasion. Raises EngineError."""
        taken = self.take()
        if taken is not None:
            return taken
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        cancel = self.order(answer.set_result, answer.set_exception)
        try:
            return await answer
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled() and answer.exception() is None:
                self.discard(answer.result())
            else:
                cancel()
            raise

    def give_back(self, item: T) -> None:
        """It is as good as new."""
        keep = self._options.spares if self._room.is_tight else self._options.keep
        if self._closed or not item.is_healthy or len(self._spares) >= keep:
            self.discard(item)
        else:
            self._spares.append((item, self._now_s()))

    def discard(self, item: T) -> None:
        """Release it, in the background; it counts until that is done."""
        try:
            dispose = partial(_dispose, item, self._living)
            done = self._workers.submit(dispose, priority=Priority.NORMAL, limit_s=_DISPOSE_LIMIT_S)
        except PoolBusy:
            asyncio.get_running_loop().call_later(_RETRY_DISPOSAL_S, self.discard, item)
            return
        except PoolClosed:
            self._leave()
            threading.Thread(target=_dispose, args=(item, self._living), name="azure-dispose", daemon=True).start()
            return
        self._disposals.add(done)
        done.add_done_callback(self._disposed)

    async def aclose(self) -> None:
        """Release the spares and wait for all releases under way."""
        self._closed = True
        for timer in (self._retry, self._check):
            if timer is not None:
                timer.cancel()
        self._retry = self._check = None
        while self._spares:
            self.discard(self._spares.popleft()[0])
        if self._disposals:
            await asyncio.wait(tuple(self._disposals), timeout=5.0)

    def _refusal(self) -> EngineError | None:
        """Why none may be made now; where one may, its place is taken."""
        if self._closed:
            return unavailable("the engine is closed", self._stage)
        if self._alive >= self._options.most:
            return overloaded(f"all {self._options.most} connections are in use", self._stage)
        if not self._room.enter(spare=False):
            return overloaded(f"all {self._room.most} connections of this server are in use", self._stage)
        return None

    def _leave(self) -> None:
        self._alive -= 1
        self._room.leave()

    def _disposed(self, done: asyncio.Future[None]) -> None:
        self._disposals.discard(done)
        self._leave()
        if not done.cancelled():
            done.exception()  # a release that failed has nothing left to release
        if not self._closed:
            self.fill()

    def _start_making(
        self, on_made: Callable[[T], None], on_failed: Callable[[EngineError], None]
    ) -> Callable[[], None]:
        """Its place in the room is taken already."""
        birth = _Birth(self._make, self._living)
        self._alive += 1
        self._making += 1
        try:
            answer = self._workers.submit(birth.run, priority=Priority.URGENT, limit_s=self._options.make_limit_s)
        except (PoolBusy, PoolClosed) as error:
            self._making -= 1
            self._leave()
            made = overloaded(f"no thread to connect with ({error})", self._stage)
            return asyncio.get_running_loop().call_soon(on_failed, made).cancel
        answer.add_done_callback(lambda done: self._born(birth, done, on_made, on_failed))

        def cancel() -> None:
            answer.cancel()

        return cancel

    def _born(
        self,
        birth: _Birth[T],
        done: asyncio.Future[T],
        on_made: Callable[[T], None],
        on_failed: Callable[[EngineError], None],
    ) -> None:
        self._making -= 1
        if done.cancelled() or done.exception() is not None:
            orphan = birth.abandon()
            if orphan is not None:
                self.discard(orphan)
            else:
                self._leave()
            if not done.cancelled():
                on_failed(self._as_engine_error(done.exception()))
            return
        self.made += 1
        if self._closed:
            self.discard(done.result())
            return
        on_made(done.result())

    def _as_engine_error(self, error: BaseException | None) -> EngineError:
        match error:
            case EngineError():
                return error
            case TimeoutError():
                return timed_out("no connection was prepared", self._options.make_limit_s, self._stage)
            case _:
                return unavailable(f"the SDK failed ({said_by_sdk(error)})", self._stage)

    def _keep(self, item: T) -> None:
        self._retry_s = self._options.first_retry_s
        self.last_error = None
        self._spares.append((item, self._now_s()))

    def _failed_in_background(self, error: EngineError) -> None:
        self.last_error = error
        if self._closed or self._retry is not None:
            return
        self._retry = asyncio.get_running_loop().call_later(self._retry_s, self._try_again)
        self._retry_s = min(self._retry_s * 2, self._options.longest_retry_s)

    def _try_again(self) -> None:
        self._retry = None
        self.fill()

    def _check_again(self) -> None:
        self._check = None
        self.fill()

    def _evict(self) -> None:
        now_s, kept = self._now_s(), deque[tuple[T, float]]()
        for item, since_s in self._spares:
            if item.is_healthy and now_s - since_s < self._options.max_idle_s:
                kept.append((item, since_s))
            else:
                self.discard(item)
        self._spares = kept
