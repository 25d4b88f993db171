"""The ledger port: where usage events are kept for ever, and how they are asked for.

Owns the port and its values; knows no database. The recorder's thread drives ``append``; readers (CLI, HTTP in a
worker thread) drive the rest. All methods block and may be called from any thread.

What is unique. A turn has one event: ``(tenant_id, request_id)`` is unique among events that correct nothing. A
correction is a further event of the same request that names the event it replaces in ``corrects``; each event has at
most one, so corrections form a chain whose end is the current fact, and two people mending the same event cannot both
win. A correction restates the turn in full (it is no difference), so quantities stay non-negative and the current
events alone are the truth. Appending what is already there changes nothing: the first one stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Protocol

from metering.codec import COUNT_FIELDS
from metering.latency_counts import LatencyCounts
from metering.usage import UsageEvent


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Which events. ``None`` means any; times are epoch milliseconds of ``started_at``, from inclusive to exclusive.

    Only current facts, unless ``replaced`` asks for the events a correction has replaced as well (audit, export).
    """

    tenant_id: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    agent_id: str | None = None
    transport: str | None = None
    started_from: int | None = None
    started_before: int | None = None
    replaced: bool = False


@dataclass(frozen=True, slots=True)
class PageRequest:
    """How much, and from where. ``cursor`` is the last page's; pages go by the order of recording.

    Oldest first, nothing is ever skipped or shown twice while others append. ``limit`` is at least 1.
    """

    cursor: int | None = None
    limit: int = 500
    newest_first: bool = False


@dataclass(frozen=True, slots=True)
class UsagePage:
    """Some events; ``cursor`` continues after them and is ``None`` when there are no more for now."""

    events: tuple[UsageEvent, ...]
    cursor: int | None


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """Sums over events, in integers. ``failed``, ``interrupted`` and ``estimated`` count events."""

    events: int = 0
    audio_ms_in: int = 0
    audio_ms_out: int = 0
    audio_ms_synthesized: int = 0
    tts_characters: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    speculative_tokens: int = 0
    tool_calls: int = 0
    failed: int = 0
    interrupted: int = 0
    estimated: int = 0

    def plus(self, other: UsageTotals) -> UsageTotals:
        return UsageTotals(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @classmethod
    def of(cls, events: Iterable[UsageEvent]) -> UsageTotals:
        """The sums over ``events``."""
        sums = dict.fromkeys((f.name for f in fields(cls)), 0)
        for event in events:
            sums["events"] += 1
            for name in COUNT_FIELDS:
                sums[name] += getattr(event, name)
            sums["failed"] += not event.success
            sums["interrupted"] += event.interrupted
            sums["estimated"] += event.estimated
        return cls(**sums)


class Ledger(Protocol):
    """An append-only store of usage events."""

    def append(self, events: Sequence[UsageEvent]) -> int:
        """Make the events durable, all or none, and return how many were new.

        Raises InvalidUsageEvent (nothing appended) or LedgerError (perhaps appended: simply append again).
        """
        ...

    def read(self, query: UsageQuery, page: PageRequest) -> UsagePage:
        """A page of events. Raises LedgerError."""
        ...

    def totals(self, query: UsageQuery) -> UsageTotals:
        """The sums over everything ``read`` would return. Raises LedgerError."""
        ...

    def latencies(self, query: UsageQuery, most: int) -> LatencyCounts:
        """The ``latency_ms`` of the newest ``most`` turns that were measured. Raises LedgerError."""
        ...

    def close(self) -> None:
        """Release the store."""
        ...


def read_all(ledger: Ledger, query: UsageQuery) -> Iterator[UsageEvent]:
    """Every event of the query, oldest first, a page at a time. Raises LedgerError."""
    page = ledger.read(query, PageRequest())
    yield from page.events
    while page.cursor is not None:
        page = ledger.read(query, PageRequest(cursor=page.cursor))
        yield from page.events
