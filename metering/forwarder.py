"""Store and forward: the journal first, then the ledger; nothing lost in between and nothing counted twice.

The synchronous half of the recorder, driven by its thread with the monotonic time in seconds. Owns the journal, the
marks of running turns and what the ledger still has to be given. Knows no threads and no event loop.

An event is durable once the journal or the ledger has it. The ledger is idempotent, so every step here may be
repeated after a crash: a mark is turned into an abandoned turn's event only after all journalled events of its
process are in the ledger, and a journal is removed only when all it says is.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from metering.identity import as_abandoned
from metering.journal import Journal, OrphanedJournal, SegmentReader, claim_orphans
from metering.journal_lines import TurnOpened, UsageRecorded, encode_line
from metering.ledger import Ledger
from metering.usage import UsageEvent

_log = logging.getLogger(__name__)
_CHUNK_EVENTS = 256


@dataclass(frozen=True, slots=True)
class RecorderOptions:
    """Bounds of the recorder: events waiting, events per transaction, bytes per segment, seconds between retries.

    ``queue_limit`` bounds the turns that may begin while others wait to become durable (see UsageRecorder).
    """

    queue_limit: int = 4096
    batch_limit: int = 256
    segment_bytes: int = 1 << 20
    retry_first_s: float = 0.1
    retry_max_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was found of processes that are gone.

    ``events`` and ``turns`` (abandoned ones) are those the ledger did not have yet. ``pending`` journals wait for a
    ledger that fails for now; they are retried on their own.
    """

    events: int = 0
    turns: int = 0
    damaged_lines: int = 0
    pending: int = 0

    def plus(self, other: Recovery) -> Recovery:
        return Recovery(
            self.events + other.events,
            self.turns + other.turns,
            self.damaged_lines + other.damaged_lines,
            self.pending + other.pending,
        )


_Key = tuple[str, str]


class Forwarder:
    """Makes events durable and brings them to the ledger. Used by one thread; does no I/O until asked to."""

    def __init__(self, ledger: Ledger, root: Path, options: RecorderOptions) -> None:
        self._ledger = ledger
        self._root = root
        self._options = options
        self._journal: Journal | None = None
        self._journal_failed = False
        self._open_turns: dict[_Key, UsageEvent] = {}
        self._forwarded_to = 0  # the ledger has every event of the current segment before this byte
        self._backlog: deque[tuple[Path, int]] = deque()  # older segments, and from where on they are to be forwarded
        self._orphans: deque[OrphanedJournal] = deque()
        self._damaged = False
        self._ledger_failed = False
        self._retry_at_s = 0.0
        self._delay_s = options.retry_first_s

    @property
    def journal_failed(self) -> bool:
        """The last attempt to write the journal failed."""
        return self._journal_failed

    @property
    def ledger_failed(self) -> bool:
        """The last attempt to append to the ledger failed."""
        return self._ledger_failed

    @property
    def retry_at_s(self) -> float | None:
        """When ``forward`` has something to do; None while the ledger has everything."""
        return self._retry_at_s if self._behind or self._orphans else None

    def take(self, opened: Sequence[UsageEvent], recorded: Sequence[UsageEvent], now_s: float) -> bool:
        """Make marks and events durable, and the events known to the ledger if it works.

        False: neither journal nor ledger took them. Nothing was lost; call again with the same events later.
        """
        if not opened and not recorded:
            return True
        self._open_turns.update((_key(event), event) for event in opened)
        behind = self._behind
        stored = self._store(opened, recorded)
        if stored and behind:
            durable = True
        else:
            forwarded = self._append(recorded, now_s) is not None
            if forwarded and stored and self._journal is not None:
                self._forwarded_to = self._journal.size
            durable = stored or (forwarded and bool(recorded))
        if durable:
            for event in recorded:
                self._open_turns.pop(_key(event), None)
        return durable or not recorded

    def forward(self, now_s: float) -> None:
        """Give the ledger the next part of what it has missed, if it is time to try again."""
        if now_s < self._retry_at_s:
            return
        if self._backlog:
            segment, offset = self._backlog[0]
            if self._forward_segment(segment, offset, now_s):
                self._backlog.popleft()
                self._remove(segment)
        elif self._journal is not None and self._behind:
            size = self._journal.size
            if self._forward_segment(self._journal.segment, self._forwarded_to, now_s):
                self._forwarded_to = size
        elif self._orphans and self._recover_next(now_s) is not None:
            self._orphans.popleft()

    def recover(self, now_s: float) -> Recovery:
        """Take over the journals of processes that are gone; what the ledger refuses now is retried by ``forward``."""
        try:
            self._orphans.extend(claim_orphans(self._root))
        except OSError:
            _log.exception("usage journals cannot be looked through")
        recovery = Recovery()
        while self._orphans:
            recovered = self._recover_next(now_s)
            if recovered is None:
                break
            self._orphans.popleft()
            recovery = recovery.plus(recovered)
        return recovery.plus(Recovery(pending=len(self._orphans)))

    def close(self) -> None:
        """Let go of the journal: removed if nothing in it is needed, else left for the next recovery."""
        for orphan in self._orphans:
            orphan.release()
        if self._journal is not None:
            needed = self._behind or self._damaged or bool(self._open_turns)
            self._journal.close(remove=not needed)
            self._journal = None

    @property
    def _behind(self) -> bool:
        return bool(self._backlog) or (self._journal is not None and self._forwarded_to < self._journal.size)

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
        return not self._journal_failed

    def _ready_journal(self) -> Journal:
        if self._journal is None:
            self._journal = Journal(self._root)
            self._forwarded_to = 0
            self._journal_failed = True  # so that the open turns are written
        if self._journal_failed or self._journal.size > self._options.segment_bytes:
            behind = self._forwarded_to < self._journal.size
            old = self._journal.rotate(_lines(self._open_turns.values(), ()))
            if behind:
                self._backlog.append((old, self._forwarded_to))
            else:
                self._remove(old)
            self._forwarded_to = self._journal.size
        return self._journal

    def _append(self, events: Sequence[UsageEvent], now_s: float) -> int | None:
        """How many were new to the ledger; None if it failed, and then it is left alone for a while."""
        if not events:
            return 0
        try:
            new = self._ledger.append(events)
        except Exception as error:  # noqa: BLE001  (even a ledger's own fault must not stop the keeping of facts)
            if not self._ledger_failed:
                _log.warning("the usage ledger fails; events stay in the journal", extra={"error": str(error)})
            self._ledger_failed = True
            self._retry_at_s = now_s + self._delay_s
            self._delay_s = min(self._delay_s * 2, self._options.retry_max_s)
            return None
        if self._ledger_failed:
            _log.warning("the usage ledger works again")
        self._ledger_failed = False
        self._retry_at_s = now_s
        self._delay_s = self._options.retry_first_s
        return new

    def _forward_segment(self, segment: Path, offset: int, now_s: float) -> bool:
        reader = SegmentReader(segment, offset)
        events = (entry.event for entry in reader if isinstance(entry, UsageRecorded))
        try:
            done = all(self._append(chunk, now_s) is not None for chunk in _chunks(events))
        except OSError:
            _log.exception("a segment of the usage journal cannot be read", extra={"segment": str(segment)})
            self._damaged = True
            return True
        if done and reader.damaged_lines:
            _log.error("a segment of the usage journal is damaged and kept", extra={"segment": str(segment)})
            self._damaged = True
        return done

    def _remove(self, segment: Path) -> None:
        if not self._damaged:
            segment.unlink(missing_ok=True)

    def _recover_next(self, now_s: float) -> Recovery | None:
        """Recover the first orphan whole; None if the ledger failed (start over later)."""
        orphan = self._orphans[0]
        marks: dict[_Key, UsageEvent] = {}
        events = turns = 0
        try:
            for chunk in _chunks(_recorded(orphan, marks)):
                new = self._append(chunk, now_s)
                if new is None:
                    return None
                events += new
            for chunk in _chunks(as_abandoned(mark) for mark in marks.values()):
                new = self._append(chunk, now_s)
                if new is None:
                    return None
                turns += new
            orphan.discard()
        except OSError:
            _log.exception("an orphaned usage journal cannot be read")
            orphan.release()
            return Recovery()
        if orphan.damaged_lines:
            _log.error("an orphaned usage journal is damaged and kept", extra={"lines": orphan.damaged_lines})
        return Recovery(events, turns, orphan.damaged_lines)


def _key(event: UsageEvent) -> _Key:
    return event.tenant_id, event.request_id


def _lines(opened: Iterable[UsageEvent], recorded: Iterable[UsageEvent]) -> bytes:
    lines = [encode_line(TurnOpened(event)) for event in opened]
    lines += [encode_line(UsageRecorded(event)) for event in recorded]
    return b"".join(lines)


def _recorded(orphan: OrphanedJournal, marks: dict[_Key, UsageEvent]) -> Iterator[UsageEvent]:
    """The orphan's events, while ``marks`` gathers the turns that have none."""
    for entry in orphan.entries():
        match entry:
            case TurnOpened(event):
                marks[_key(event)] = event
            case UsageRecorded(event):
                marks.pop(_key(event), None)
                yield event


def _chunks(events: Iterator[UsageEvent]) -> Iterator[list[UsageEvent]]:
    while chunk := list(islice(events, _CHUNK_EVENTS)):
        yield chunk
