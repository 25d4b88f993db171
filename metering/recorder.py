"""The recorder: usage events from the event loop to the disk, on one thread of its own.

Owns the thread and its inbox, and a second thread for the ledger's work; ``metering.forwarder`` does it there.
Driven by the sessions (``open_turn``, ``record``) and the composition root (``start``, ``aclose``), all on event loops.
Calls cost microseconds and never wait: what waits is the awaitable that ``record`` returns, and that is done when the
journal has the event (a ledger that works gets a moment to have it too, while what comes next is journalled).

Bounds. Events are never dropped, so the bound stands where work begins: while ``queue_limit`` entries wait (both the
journal and the ledger fail, or the disk is far behind), ``open_turn`` refuses further turns. A turn that was opened
can always be recorded; when things are slow its awaitable takes longer, and with it the report that the turn is
complete, never the audio.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from metering.codec import check, to_json
from metering.errors import RecorderClosed, RecorderOverloaded
from metering.forwarder import Forwarder, RecorderOptions, Recovery
from metering.ledger import Ledger
from metering.ledger_worker import ThreadWorker
from metering.usage import UsageEvent

_log = logging.getLogger(__name__)


class Recorder(Protocol):
    """What a conversation needs of metering."""

    def open_turn(self, provisional: UsageEvent) -> None:
        """This turn is committed and will be recorded. Raises RecorderOverloaded, RecorderClosed, InvalidUsageEvent."""
        ...

    def record(self, event: UsageEvent) -> asyncio.Future[None]:
        """Record what a turn consumed; the future is done once that is durable.

        Cancelling the future changes nothing. Raises RecorderClosed, InvalidUsageEvent.
        """
        ...


@dataclass(frozen=True, slots=True)
class RecorderStatus:
    """How the recorder fares, for readiness and metrics."""

    waiting: int
    journal_failed: bool
    ledger_failed: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    """A future and the loop it belongs to; only that loop may touch it."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class _Open:
    event: UsageEvent


@dataclass(frozen=True, slots=True)
class _Record:
    event: UsageEvent
    waiter: _Waiter


@dataclass(frozen=True, slots=True)
class _Recover:
    waiter: _Waiter


@dataclass(frozen=True, slots=True)
class _TurnOver:
    waiter: _Waiter


@dataclass(frozen=True, slots=True)
class _Stop:
    deadline_s: float
    waiter: _Waiter


@dataclass(frozen=True, slots=True)
class _Durable:
    """Recorded turns that the journal has and nobody was told yet: the ledger has until then to have them too."""

    group: int
    until_s: float
    waiters: list[_Waiter]


@dataclass(frozen=True, slots=True)
class _LedgerDone:
    """A job on the ledger has ended: there may be a next one."""


_Item = _Open | _Record | _Recover | _TurnOver | _Stop | _LedgerDone


class UsageRecorder:
    """Records usage events durably in the background (implements Recorder).

    ``journal_root`` may be shared by several processes; each has a journal of its own in it. The ledger stays the
    caller's to close, after ``aclose``.
    """

    def __init__(self, ledger: Ledger, journal_root: Path, options: RecorderOptions | None = None) -> None:
        self._options = options or RecorderOptions()
        self._inbox: SimpleQueue[_Item] = SimpleQueue()
        self._worker = ThreadWorker("usage-ledger", on_done=lambda: self._inbox.put(_LedgerDone()))
        self._forwarder = Forwarder(ledger, journal_root, self._options, self._worker)
        self._thread = threading.Thread(target=self._run, name="usage-recorder", daemon=True)
        self._running = False
        self._held = 0  # written by the thread: events that nothing has taken yet
        self._durable: deque[_Durable] = deque()
        self._stop: _Stop | None = None

    async def start(self) -> Recovery:
        """Start the thread and recover what earlier processes left; call once, before the first turn."""
        self._running = True
        self._thread.start()
        return await self.recover()

    def recover(self) -> asyncio.Future[Recovery]:
        """Take over the journals of processes that died: their events, and an event for each turn they left open.

        ``start`` does this. Where several server processes share a journal root, a later call finds those that died
        since. Raises RecorderClosed.
        """
        waiter = self._waiter()
        self._inbox.put(_Recover(waiter))
        return waiter.future

    def turn_over(self) -> asyncio.Future[None]:
        """Begin a new segment of the journal; the old one is removed once the ledger has all of it.

        For whoever has to know that something stands in the journal no longer. Fails with OSError where the disk does.
        Raises RecorderClosed.
        """
        waiter = self._waiter()
        self._inbox.put(_TurnOver(waiter))
        return waiter.future

    def open_turn(self, provisional: UsageEvent) -> None:
        check(provisional)
        self._require_running()
        if self._waiting >= self._options.queue_limit:
            raise RecorderOverloaded("usage cannot be made durable fast enough to begin another turn")
        self._inbox.put(_Open(provisional))

    def record(self, event: UsageEvent) -> asyncio.Future[None]:
        check(event)
        waiter = self._waiter()
        self._inbox.put(_Record(event, waiter))
        return waiter.future

    def status(self) -> RecorderStatus:
        """A snapshot; may be called from any thread."""
        return RecorderStatus(self._waiting, self._forwarder.journal_failed, self._forwarder.ledger_failed)

    async def aclose(self, limit_s: float = 5.0) -> bool:
        """Make everything durable and end the thread; True if that was done within the limit.

        Events that neither journal nor ledger would take are written to the log, their awaitables fail with
        RecorderClosed. What the ledger has not taken waits in the journal for the next start. Turns still open
        become abandoned ones then.
        """
        if not self._running:
            return True
        waiter = self._waiter()
        self._running = False
        self._inbox.put(_Stop(time.monotonic() + limit_s, waiter))
        done, _ = await asyncio.wait([waiter.future], timeout=limit_s + 1.0)
        return bool(done) and bool(waiter.future.result())

    @property
    def _waiting(self) -> int:
        return self._inbox.qsize() + self._held

    def _require_running(self) -> None:
        if not self._running:
            raise RecorderClosed("the usage recorder is not running")

    def _waiter(self) -> _Waiter:
        self._require_running()
        loop = asyncio.get_running_loop()
        return _Waiter(loop, loop.create_future())

    # Everything below runs on the recorder's thread.

    def _run(self) -> None:
        held: list[_Record] = []
        retry_at_s: float | None = None
        while self._stop is None or held:
            report_at_s = self._durable[0].until_s if self._durable else None
            items = self._next_items(_earliest(retry_at_s, self._forwarder.retry_at_s, report_at_s))
            held += [item for item in items if isinstance(item, _Record)]
            if held and _nothing_new(items) and retry_at_s is not None and time.monotonic() < retry_at_s:
                self._take([], [])  # the ledger is free or late, and what waits is not due yet
            elif self._take([item.event for item in items if isinstance(item, _Open)], held):
                held, retry_at_s = [], None
            else:
                retry_at_s = time.monotonic() + self._options.retry_first_s
            self._held = len(held)
            self._report()
            self._obey(items)
            if self._stop is not None and time.monotonic() >= self._stop.deadline_s:
                break
        self._finish(held)

    def _next_items(self, due_s: float | None) -> list[_Item]:
        """What has come in, up to one transaction's worth; waits for the first until ``due_s``."""
        wait_s = None if due_s is None else max(0.0, due_s - time.monotonic())
        items: list[_Item] = []
        try:
            items.append(self._inbox.get(timeout=wait_s))
            while len(items) < self._options.batch_limit:
                items.append(self._inbox.get_nowait())
        except Empty:
            pass
        return items

    def _take(self, opened: list[UsageEvent], held: list[_Record]) -> bool:
        try:
            durable = self._forwarder.take(opened, [item.event for item in held], time.monotonic())
            self._forwarder.forward(time.monotonic())
        except Exception:  # noqa: BLE001  (a fault here must not end the thread: everybody waits on it)
            _log.exception("usage events could not be handled; they are kept and tried again")
            return False
        if durable and held:
            group = 0 if self._forwarder.journal_failed else self._forwarder.journalled
            until_s = time.monotonic() + self._options.visible_within_s
            self._durable.append(_Durable(group, until_s, [item.waiter for item in held]))
        return durable

    def _report(self) -> None:
        """Tell whose events are durable, once the ledger has them or is not waited for."""
        while self._durable:
            first = self._durable[0]
            if self._forwarder.delivered < first.group and not self._forwarder.ledger_failed:
                if time.monotonic() < first.until_s:
                    return
                self._forwarder.give_up_on_ledger()
            _settle(self._durable.popleft().waiters, None)

    def _obey(self, items: list[_Item]) -> None:
        for item in items:
            if isinstance(item, _Recover):
                _settle([item.waiter], self._recover())
            elif isinstance(item, _TurnOver):
                _settle([item.waiter], self._turn_over())
            elif isinstance(item, _Stop):
                self._stop = item

    def _recover(self) -> Recovery | Exception:
        try:
            return self._forwarder.recover(time.monotonic())
        except Exception as error:  # noqa: BLE001  (whoever asked is told)
            return error

    def _turn_over(self) -> Exception | None:
        try:
            self._forwarder.turn_over()
            self._forwarder.forward(time.monotonic())
        except Exception as error:  # noqa: BLE001  (whoever asked is told)
            return error
        return None

    def _finish(self, held: list[_Record]) -> None:
        deadline_s = time.monotonic() if self._stop is None else self._stop.deadline_s
        for durable in self._durable:
            _settle(durable.waiters, None)
        while (self._forwarder.retry_at_s is not None or self._forwarder.working) and time.monotonic() < deadline_s:
            last_try = not self._forwarder.working  # what is under way may have begun before the ledger was back
            self._forwarder.forward(math.inf)
            self._forwarder.wait(deadline_s - time.monotonic(), math.inf)
            if last_try and self._forwarder.last_job_failed and not self._forwarder.working:
                break
        for item in held:
            _log.critical("a usage event could not be stored", extra={"usage_event": to_json(item.event).decode()})
        self._worker.close()
        self._forwarder.close()
        _settle([item.waiter for item in held], RecorderClosed("neither the journal nor the ledger took the event"))
        if self._stop is not None:
            _settle([self._stop.waiter], not held)


def _nothing_new(items: list[_Item]) -> bool:
    return all(isinstance(item, _LedgerDone) for item in items)


def _earliest(*times_s: float | None) -> float | None:
    return min((time_s for time_s in times_s if time_s is not None), default=None)


def _settle(waiters: Iterable[_Waiter], outcome: object) -> None:
    """The one place where the thread meets the loops: finish the futures, in one call per loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[Any]]] = {}
    for waiter in waiters:
        by_loop.setdefault(waiter.loop, []).append(waiter.future)
    for loop, futures in by_loop.items():
        try:
            loop.call_soon_threadsafe(_finish_futures, futures, outcome)
        except RuntimeError:
            _log.debug("the loop that waited for usage events is closed")


def _finish_futures(futures: list[asyncio.Future[Any]], outcome: object) -> None:
    for future in futures:
        if future.done():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
