"""Where the ledger's work is done: on a thread of its own, one job after the other.

A database may take its time or say nothing at all; whoever writes the journal must not wait for that. Knows no
events: jobs are calls, futures tell how they ended. Driven by ``metering.forwarder``; ``InlineWorker`` does the job at
once, for whoever drives a forwarder by hand.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Protocol, TypeVar

T = TypeVar("T")


class Worker(Protocol):
    """Something that does a job after the other."""

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """Do the job after those before it; the future has its result, or what it raised."""
        ...


class InlineWorker:
    """Does the job before ``submit`` returns. What is no Exception goes through to the caller."""

    def submit(self, job: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        _do(job, future)
        return future


class ThreadWorker:
    """One daemon thread, started with the first job; ``on_done`` is called on it after each."""

    def __init__(self, name: str, on_done: Callable[[], None]) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._on_done = on_done
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def submit(self, job: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        self._jobs.put(lambda: _do(job, future))
        if not self._thread.is_alive():
            self._thread.start()
        return future

    def close(self) -> None:
        """End after the job under way, without waiting for it."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            self._on_done()


def _do(job: Callable[[], T], future: Future[T]) -> None:
    try:
        result = job()
    except Exception as error:  # noqa: BLE001  (whoever holds the future is told)
        future.set_exception(error)
    else:
        future.set_result(result)
