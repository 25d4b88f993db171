"""The ledger port: where usage events are kept for ever, and how they are asked for.

Owns the port and its values; knows no database. The recorder's thread drives ``append``; readers (CLI, HTTP in a
worker thread) drive the rest. All methods block and may be called from any thread.

What is unique. A turn has one event: ``(tenant_id, request_id)`` is unique among events that correct nothing. A
correction is a further event of the same request that names the event it replaces in ``corrects``; each event has at
most one, so corrections form a chain whose end is the current fact, and two people mending the same event cannot both
win. A correction restates the turn in full (it is no difference), so quantities stay non-negative and the current
events alone are the truth. Appending what is already there changes nothing: the first one stays.

What is summed. Beside the events a ledger keeps their daily sums (``metering.rollup``), changed by the transaction that
appends; reports read those. What they cost is no business of the ledger's; it only keeps the statements of months that
were closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from typing import Protocol

from metering.codec import COUNT_FIELDS
from metering.latency_counts import LatencyCounts
from metering.usage import UsageEvent
from metering.user_sums import Person, UserAmount, UserQuery, UserUsage

UNCLAIMED_SUFFIX = ":unclaimed"
"""How the ``request_id`` of an event ends that accounts for work which belonged to no turn."""


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
    mode: str | None = None
    success: bool | None = None
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
    """Some events; ``cursor`` continues after them and is ``None`` when there are no more for now.

    ``sequences`` are their places in the ledger, each a cursor that continues after its event.
    """

    events: tuple[UsageEvent, ...]
    cursor: int | None
    sequences: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """Sums over events, in integers. ``failed`` and what follows it count events.

    ``unclaimed`` are those that close a session: what belonged to no turn (docs/decisions/0005, 0034).
    """

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
    audio_ms_received: int = 0
    audio_ms_speech: int = 0
    audio_ms_sent: int = 0
    reasoning_tokens: int = 0
    tool_ms: int = 0
    call_ms: int = 0
    failed: int = 0
    interrupted: int = 0
    estimated: int = 0
    unclaimed: int = 0

    def plus(self, other: UsageTotals, times: int = 1) -> UsageTotals:
        """The sums with ``other`` counted in, so many times; -1 takes it out."""
        return UsageTotals(*(getattr(self, name) + times * getattr(other, name) for name in TOTAL_FIELDS))

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
            sums["unclaimed"] += is_unclaimed(event)
        return cls(**sums)


TOTAL_FIELDS = tuple(f.name for f in fields(UsageTotals))


def is_unclaimed(event: UsageEvent) -> bool:
    """Whether the event accounts for what belonged to no turn; such a one closes nearly every session by voice."""
    return event.request_id.endswith(UNCLAIMED_SUFFIX)


@dataclass(frozen=True, slots=True)
class DayQuery:
    """Which daily sums. ``None`` means any; days are UTC days since 1970-01-01, from inclusive to exclusive."""

    tenant_id: str | None = None
    agent_id: str | None = None
    first_day: int | None = None
    day_before: int | None = None

    def matches(self, day: int, tenant_id: str, agent_id: str) -> bool:
        return (
            self.tenant_id in (None, tenant_id)
            and self.agent_id in (None, agent_id)
            and (self.first_day is None or day >= self.first_day)
            and (self.day_before is None or day < self.day_before)
        )


@dataclass(frozen=True, slots=True)
class DailyUsage:
    """What one tenant's agent did in one lane on one day."""

    day: int
    tenant_id: str
    agent_id: str
    mode: str
    totals: UsageTotals


@dataclass(frozen=True, slots=True)
class DailyAmount:
    """How much of one meter of a provider's model that took; see ``metering.quantities``."""

    day: int
    tenant_id: str
    agent_id: str
    mode: str
    provider: str
    model: str
    meter: str
    amount: int
    whole_seconds: int


@dataclass(frozen=True, slots=True)
class PeriodClosing:
    """A month (``2026-09``) that is closed: when, in epoch milliseconds, and the statement it closed with (JSON)."""

    period: str
    closed_at: int
    statement: str


class SumsReader(Protocol):
    """What reports are made of."""

    def daily(self, query: DayQuery) -> tuple[DailyUsage, ...]:
        """Sums of the current events per day, tenant, agent and lane, in that order; never behind the events.

        As many rows as there are, so give it a period. Raises LedgerError.
        """
        ...

    def amounts(self, query: DayQuery) -> tuple[DailyAmount, ...]:
        """Likewise what providers did, per meter. Raises LedgerError."""
        ...

    def busiest(self, query: UserQuery, most: int) -> tuple[Person, ...]:
        """Those who talked most (audio in and out), in this order, ``most`` of them at most. Raises LedgerError."""
        ...

    def users(self, query: UserQuery) -> tuple[UserUsage, ...]:
        """Sums of the current events per tenant and person over all days asked for. Raises LedgerError."""
        ...

    def user_amounts(self, query: UserQuery) -> tuple[UserAmount, ...]:
        """Likewise what providers did for them, per lane and meter. Raises LedgerError."""
        ...

    def closings(self) -> tuple[PeriodClosing, ...]:
        """Every closed month, in order. Raises LedgerError."""
        ...


class Ledger(SumsReader, Protocol):
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
        """The ``latency_ms`` and ``breaches`` of the newest ``most`` turns that have any. Raises LedgerError."""
        ...

    def backlog(self, query: UsageQuery, cursor: int, most: int) -> int:
        """How many events of the query follow a cursor, counted up to ``most``. Raises LedgerError."""
        ...

    def close_period(self, closing: PeriodClosing) -> PeriodClosing:
        """Close a month for ever, and return the closing that stands: the first one. Raises LedgerError."""
        ...

    def snapshot(self) -> AbstractContextManager[SumsReader]:
        """The sums as they are at one moment, whatever is appended meanwhile. Raises LedgerError."""
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
