"""Store and forward: the journal first, then the ledger; nothing lost in between and nothing counted twice.

The synchronous half of the recorder, driven by its thread with the monotonic time in seconds. Owns the journal, the
marks of running turns and what the ledger still has to be given. Knows no event loop, and of threads only that the
ledger's work (``metering.ledger_jobs``) is done by a worker, one job at a time (``metering.ledger_worker``): a database
that is slow, down or silent keeps nobody from writing the journal. Only where the journal fails is the ledger waited
for.

An event is durable once the journal or the ledger has it. The ledger is idempotent, so every step here may be
repeated after a crash: a mark is turned into an abandoned turn's event only after all journalled events of its
process are in the ledger, and a journal is removed only when all it says is.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from metering.journal import Journal, OrphanedJournal, claim_orphans
from metering.journal_lines import TurnOpened, UsageRecorded, encode_line
from metering.ledger import Ledger
from metering.ledger_jobs import Recovery, TurnKey, append_events, append_segment, recover_orphan, turn_key
from metering.ledger_worker import InlineWorker, Worker
from metering.usage import UsageEvent

_log = logging.getLogger(__name__)
AT_HAND_BATCHES: Final = 4
"""So many transactions' events are kept at hand for the ledger; of more, those in the journal are read."""


@dataclass(frozen=True, slots=True)
class RecorderOptions:
    """Bounds of the recorder: events waiting, events per transaction, bytes per segment, seconds between retries.

    ``queue_limit`` bounds the turns that may begin while others wait to become durable (see UsageRecorder).
    ``visible_within_s``: so long may an event that is durable be kept from being reported, for the ledger to have it
    too; whoever reads the ledger right after a turn then finds it. A ledger that is late or fails is not waited for
    again until it has caught up.
    """

    queue_limit: int = 4096
    batch_limit: int = 1_024
    segment_bytes: int = 1 << 20
    retry_first_s: float = 0.1
    retry_max_s: float = 5.0
    visible_within_s: float = 1.0


@dataclass(frozen=True, slots=True)
class _Job:
    """Work on the ledger that is under way, and what its success means (told its result).

    ``delivers``: with it the ledger has the first so many groups of events; None where others may stand before them.
    """

    future: Future[Any]
    done: Callable[[Any], None]
    delivers: int | None = None
    orphan: OrphanedJournal | None = None


class _AtHand:
    """The events of the current segment from a byte on, in memory: what came while the ledger was busy.

    Too many are let go; then, and after a failure, the journal is read.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.restart(0)

    def restart(self, start: int | None) -> None:
        """There are none from that byte on; None: there are, and not here."""
        self._start = start
        self._events: list[UsageEvent] = []

    def add(self, events: Sequence[UsageEvent]) -> None:
        if len(self._events) + len(events) > self._limit:
            self.restart(None)
        elif self._start is not None:
            self._events += events

    def since(self, start: int) -> list[UsageEvent] | None:
        """All that were journalled from that byte on; None if the journal has to tell."""
        return self._events if start == self._start else None


class Forwarder:
    """Makes events durable and brings them to the ledger. Used by one thread; does no I/O until asked to."""

    def __init__(self, ledger: Ledger, root: Path, options: RecorderOptions, worker: Worker | None = None) -> None:
        self._ledger = ledger
        self._root = root
        self._options = options
        self._worker = worker or InlineWorker()
        self._job: _Job | None = None
        self._journal: Journal | None = None
        self._journal_failed = False
        self._open_turns: dict[TurnKey, UsageEvent] = {}
        self._forwarded_to = 0  # the ledger has every event of the current segment before this byte
        self._at_hand = _AtHand(AT_HAND_BATCHES * options.batch_limit)
        self._backlog: dict[Path, int] = {}  # older segments in order, and from where on they are to be forwarded
        self._orphans: deque[OrphanedJournal] = deque()
        self._damaged: set[Path] = set()  # segments
        self.journalled = 0
        """Groups of events that the journal was given."""
        self.delivered = 0
        """How many of those, from the first on, the ledger has."""
        self._ledger_failed = False
        self._ledger_late = False
        self._retry_at_s = 0.0
        self._delay_s = options.retry_first_s

    @property
    def journal_failed(self) -> bool:
        """The last attempt to write the journal failed."""
        return self._journal_failed

    @property
    def ledger_failed(self) -> bool:
        """The last job on the ledger failed, or it has not caught up since, or is too late for anybody to wait for."""
        return self._ledger_failed or self._ledger_late

    @property
    def last_job_failed(self) -> bool:
        """The ledger failed when it was last asked; it may be tried again."""
        return self._ledger_failed

    def give_up_on_ledger(self) -> None:
        """It takes longer than anybody waits for; that holds until it has caught up."""
        if not self.ledger_failed:
            _log.warning("the usage ledger is slow; events stay in the journal")
        self._ledger_late = True

    @property
    def retry_at_s(self) -> float | None:
        """When ``forward`` has something to do; None while the ledger has everything, and while it works."""
        return self._retry_at_s if self._job is None and (self._behind or self._orphans) else None

    def take(self, opened: Sequence[UsageEvent], recorded: Sequence[UsageEvent], now_s: float) -> bool:
        """Make marks and events durable, and begin to give the events to the ledger if it is free.

        False: neither journal nor ledger took them. Nothing was lost; call again with the same events later.
        """
        if not opened and not recorded:
            return True
        self._open_turns.update((turn_key(event), event) for event in opened)
        self._look(now_s)
        durable = self._store(opened, recorded)
        if durable:
            self.forward(now_s)
        else:
            durable = bool(recorded) and self._rescue(recorded, now_s)
        if durable:
            for event in recorded:
                self._open_turns.pop(turn_key(event), None)
        return durable or not recorded

    def forward(self, now_s: float) -> None:
        """Give the ledger the next part of what it has missed, if it is time to try again and it is free."""
        self._look(now_s)
        if self._job is not None or now_s < self._retry_at_s:
            return
        if self._backlog:
            segment, offset = next(iter(self._backlog.items()))
            job = partial(append_segment, self._ledger, segment, offset, None, self._options.batch_limit)
            self._start(job, partial(self._segment_done, segment))
        elif self._journal is not None and self._behind:
            self._start_to_end_of(self._journal)
        elif self._orphans:
            self._start_recovery()
        self._look(now_s)

    def wait(self, limit_s: float, now_s: float) -> None:
        """Wait for the job under way, but no longer than that."""
        if self._job is not None:
            wait([self._job.future], timeout=max(0.0, limit_s))
            self._look(now_s)

    @property
    def working(self) -> bool:
        """Whether a job is under way."""
        return self._job is not None

    def recover(self, now_s: float) -> Recovery:
        """Take over the journals of processes that are gone; what the ledger refuses now is retried by ``forward``.

        Waits for the ledger, unless it is already known to be late.
        """
        try:
            self._orphans.extend(claim_orphans(self._root))
        except OSError:
            _log.exception("usage journals cannot be looked through")
        recovery = Recovery()
        self._look(now_s)
        while self._orphans and self._job is None:
            future = self._start_recovery()
            wait([future])
            self._look(now_s)
            if future.exception() is not None:
                break
            recovery = recovery.plus(future.result())
        return recovery.plus(Recovery(pending=len(self._orphans)))

    def turn_over(self) -> None:
        """Go on in a new segment: what the ledger has, now or soon, is gone from the disk then. Raises OSError."""
        if self._journal is not None and self._journal.size:
            self._rotate(self._journal)

    def close(self) -> None:
        """Let go of the journal: removed if nothing in it is needed, else left for the next recovery."""
        held = None if self._job is None else self._job.orphan
        for orphan in self._orphans:
            if orphan is not held:  # a job that still reads it lets go of it, or the end of the process does
                orphan.release()
        if self._journal is not None:
            needed = self._behind or bool(self._damaged) or bool(self._open_turns)
            self._journal.close(remove=not needed)
            self._journal = None

    @property
    def _behind(self) -> bool:
        return bool(self._backlog) or (self._journal is not None and self._forwarded_to < self._journal.size)

    # --- the journal ---

    def _store(self, opened: Sequence[UsageEvent], recorded: Sequence[UsageEvent]) -> bool:
        """Write the lines to the journal; after a failure, in a new segment that also has every open turn."""
        try:
            self._ready_journal().append(_lines(opened, recorded))
        except FileNotFoundError:
            _log.exception("the usage journal was removed while in use")
            if self._journal is not None:
                self._journal.close(remove=False)
            self._journal, self._journal_failed = None, True
        except OSError as error:
            if not self._journal_failed:
                _log.exception("the usage journal cannot be written", extra={"error": str(error)})
            self._journal_failed = True
        else:
            self._journal_failed = False
            self._at_hand.add(recorded)
            self.journalled += 1
        return not self._journal_failed

    def _ready_journal(self) -> Journal:
        if self._journal is None:
            self._journal = Journal(self._root)
            self._forwarded_to = 0
            self._journal_failed = True  # so that the open turns are written
        if self._journal_failed or self._journal.size > self._options.segment_bytes:
            self._rotate(self._journal)
        return self._journal

    def _rotate(self, journal: Journal) -> None:
        behind = self._forwarded_to < journal.size
        old = journal.rotate(_lines(self._open_turns.values(), ()))
        if behind:
            self._backlog[old] = self._forwarded_to
        else:
            self._remove(old)
        self._forwarded_to = journal.size
        self._at_hand.restart(self._forwarded_to)

    def _remove(self, segment: Path) -> None:
        if segment not in self._damaged:
            segment.unlink(missing_ok=True)

    # --- jobs, as the recorder's thread sees them ---

    def _start(
        self,
        job: Callable[[], Any],
        done: Callable[[Any], None],
        delivers: int | None = None,
        orphan: OrphanedJournal | None = None,
    ) -> Future[Any]:
        future = self._worker.submit(job)
        self._job = _Job(future, done, delivers, orphan)
        return future

    def _start_to_end_of(self, journal: Journal) -> None:
        """Give the ledger the rest of the current segment: from memory if it is there, else from the file."""
        segment, start, end = journal.segment, self._forwarded_to, journal.size
        events = self._at_hand.since(start)
        self._at_hand.restart(end)
        if events == []:  # marks only
            self._reached(segment, end, damaged=False)
            self.delivered = self.journalled
            return
        at_once = self._options.batch_limit
        if events is None:
            job = partial(append_segment, self._ledger, segment, start, end, at_once)
        else:
            job = partial(append_events, self._ledger, events, at_once)
        self._start(job, partial(self._reached, segment, end), self.journalled)

    def _look(self, now_s: float) -> None:
        """If the job under way has ended, draw the conclusions."""
        job = self._job
        if job is None or not job.future.done():
            return
        self._job = None
        error = job.future.exception()
        if error is not None:
            self._failed(error, now_s)
            return
        failed = self.ledger_failed
        self._ledger_failed = False
        self._retry_at_s = now_s
        self._delay_s = self._options.retry_first_s
        job.done(job.future.result())
        if job.delivers is not None or not self._behind:
            self._ledger_late = False
            self.delivered = self.journalled if job.delivers is None else job.delivers
        if failed and not self.ledger_failed:
            _log.warning("the usage ledger works again")

    def _failed(self, error: BaseException, now_s: float) -> None:
        """Even a ledger's own fault must not stop the keeping of facts: it is left alone for a while."""
        if not self.ledger_failed:
            _log.warning("the usage ledger fails; events stay in the journal", extra={"error": str(error)})
        self._ledger_failed = self._ledger_late = True
        self._retry_at_s = now_s + self._delay_s
        self._delay_s = min(self._delay_s * 2, self._options.retry_max_s)

    def _rescue(self, recorded: Sequence[UsageEvent], now_s: float) -> bool:
        """The journal fails, so the ledger has to take them now, however long that takes it."""
        while self._job is not None:
            wait([self._job.future])
            self._look(now_s)
        future = self._start(partial(self._ledger.append, tuple(recorded)), lambda _: None)
        wait([future])
        self._look(now_s)
        return future.exception() is None

    def _reached(self, segment: Path, end: int, damaged: object) -> None:
        """The ledger has everything before ``end`` of a segment, which may have become an older one meanwhile."""
        if damaged is True:
            self._damaged.add(segment)
        if segment in self._backlog:
            self._backlog[segment] = end
        elif self._journal is not None and self._journal.segment == segment:
            self._forwarded_to = end

    def _segment_done(self, segment: Path, damaged: bool) -> None:
        if damaged:
            self._damaged.add(segment)
        self._backlog.pop(segment, None)
        self._remove(segment)

    def _start_recovery(self) -> Future[Any]:
        orphan = self._orphans[0]
        job = partial(recover_orphan, self._ledger, orphan, self._options.batch_limit)
        return self._start(job, partial(self._recovered, orphan), orphan=orphan)

    def _recovered(self, orphan: OrphanedJournal, _: Recovery) -> None:
        self._orphans.remove(orphan)


def _lines(opened: Iterable[UsageEvent], recorded: Iterable[UsageEvent]) -> bytes:
    lines = [encode_line(TurnOpened(event)) for event in opened]
    lines += [encode_line(UsageRecorded(event)) for event in recorded]
    return b"".join(lines)
