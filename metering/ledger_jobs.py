"""What is brought to the ledger, as the worker does it: events at hand, a part of a journal's segment, an orphan.

Each job may be repeated after a failure, because the ledger is idempotent; each raises what the ledger raises. They
touch nothing but the ledger and the files they are given. Started by ``metering.forwarder``, which draws the
conclusions.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from metering.identity import as_abandoned
from metering.journal import OrphanedJournal, SegmentReader
from metering.journal_lines import TurnOpened, UsageRecorded
from metering.ledger import Ledger
from metering.usage import UsageEvent

_log = logging.getLogger(__name__)

TurnKey = tuple[str, str]
"""A tenant, and the id of a request of its."""


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


def turn_key(event: UsageEvent) -> TurnKey:
    """Which turn the event is about."""
    return event.tenant_id, event.request_id


def append_events(ledger: Ledger, events: Iterable[UsageEvent], at_once: int) -> int:
    """Append them in order, so many in a transaction, and return how many were new."""
    return sum(map(ledger.append, _chunks(iter(events), at_once)))


def append_segment(ledger: Ledger, segment: Path, offset: int, end: int | None, at_once: int) -> bool:
    """Append a part of a segment; True if some of it is damaged (it was reported, and the rest appended)."""
    reader = SegmentReader(segment, offset, end)
    try:
        append_events(ledger, (entry.event for entry in reader if isinstance(entry, UsageRecorded)), at_once)
    except OSError:
        _log.exception("a segment of the usage journal cannot be read", extra={"segment": str(segment)})
        return True
    if reader.damaged_lines:
        _log.error("a segment of the usage journal is damaged and kept", extra={"segment": str(segment)})
    return bool(reader.damaged_lines)


def recover_orphan(ledger: Ledger, orphan: OrphanedJournal, at_once: int) -> Recovery:
    """Bring an orphan's events to the ledger, then the turns it left open; if it raises, start over."""
    marks: dict[TurnKey, UsageEvent] = {}
    try:
        events = append_events(ledger, _recorded(orphan, marks), at_once)
        turns = append_events(ledger, map(as_abandoned, marks.values()), at_once)
        orphan.discard()
    except OSError:
        _log.exception("an orphaned usage journal cannot be read")
        orphan.release()
        return Recovery()
    if orphan.damaged_lines:
        _log.error("an orphaned usage journal is damaged and kept", extra={"lines": orphan.damaged_lines})
    return Recovery(events, turns, orphan.damaged_lines)


def _recorded(orphan: OrphanedJournal, marks: dict[TurnKey, UsageEvent]) -> Iterator[UsageEvent]:
    """The orphan's events, while ``marks`` gathers the turns that have none."""
    for entry in orphan.entries():
        match entry:
            case TurnOpened(event):
                marks[turn_key(event)] = event
            case UsageRecorded(event):
                marks.pop(turn_key(event), None)
                yield event


def _chunks(events: Iterator[UsageEvent], at_once: int) -> Iterator[list[UsageEvent]]:
    while chunk := list(islice(events, at_once)):
        yield chunk
