"""In-memory stand-ins for tests: a ledger and a recorder without files or threads.

They keep the ports' promises (the contract suite runs over the ledger), except that nothing outlives the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from metering.codec import check
from metering.latency_counts import LatencyCounts, counted
from metering.ledger import (
    DailyAmount,
    DailyUsage,
    DayQuery,
    PageRequest,
    PeriodClosing,
    SumsReader,
    UsagePage,
    UsageQuery,
    UsageTotals,
)
from metering.rollup import Rollup, named
from metering.usage import UsageEvent
from metering.user_sums import (
    Person,
    UserAmount,
    UserQuery,
    UserUsage,
    folded_amounts,
    folded_busiest,
    folded_users,
)


class MemoryLedger:
    """The ledger port over a list. Called from one thread at a time."""

    def __init__(self) -> None:
        self._events: list[UsageEvent] = []
        self._ids: set[str] = set()
        self._replaced: set[tuple[str, str]] = set()
        self._closings: dict[str, PeriodClosing] = {}

    def append(self, events: Sequence[UsageEvent]) -> int:
        for event in events:
            check(event)
        before = len(self._events)
        for event in events:
            if event.event_id not in self._ids:
                self._ids.add(event.event_id)
                self._events.append(event)
                if event.corrects is not None:
                    self._replaced.add((event.tenant_id, event.corrects))
        return len(self._events) - before

    def read(self, query: UsageQuery, page: PageRequest) -> UsagePage:
        numbered = list(enumerate(self._events, start=1))
        if page.newest_first:
            numbered.reverse()
        if page.cursor is not None:
            start = page.cursor
            numbered = [(n, e) for n, e in numbered if (n < start if page.newest_first else n > start)]
        matching = [(n, e) for n, e in numbered if self._matches(e, query)]
        taken = matching[: page.limit]
        more = len(matching) > len(taken)
        return UsagePage(tuple(e for _, e in taken), taken[-1][0] if more else None, tuple(n for n, _ in taken))

    def totals(self, query: UsageQuery) -> UsageTotals:
        return UsageTotals.of(event for event in self._events if self._matches(event, query))

    def latencies(self, query: UsageQuery, most: int) -> LatencyCounts:
        measured = [e for e in self._events if (e.latency_ms or e.breaches) and self._matches(e, query)]
        measured.sort(key=lambda event: event.started_at, reverse=True)
        return counted([(event.latency_ms, event.breaches) for event in measured], most)

    def daily(self, query: DayQuery) -> tuple[DailyUsage, ...]:
        return tuple(row for row in self._rollup().days() if query.matches(row.day, row.tenant_id, row.agent_id))

    def amounts(self, query: DayQuery) -> tuple[DailyAmount, ...]:
        return tuple(row for row in self._rollup().quantities() if query.matches(row.day, row.tenant_id, row.agent_id))

    def busiest(self, query: UserQuery, most: int) -> tuple[Person, ...]:
        return folded_busiest(self._rollup().users, query, most)

    def users(self, query: UserQuery) -> tuple[UserUsage, ...]:
        return folded_users(self._rollup().users, query)

    def user_amounts(self, query: UserQuery) -> tuple[UserAmount, ...]:
        return folded_amounts(self._rollup().user_amounts, query)

    def backlog(self, query: UsageQuery, cursor: int, most: int) -> int:
        behind = [e for number, e in enumerate(self._events, start=1) if number > cursor and self._matches(e, query)]
        return min(len(behind), most)

    def close_period(self, closing: PeriodClosing) -> PeriodClosing:
        return self._closings.setdefault(closing.period, closing)

    def closings(self) -> tuple[PeriodClosing, ...]:
        return tuple(self._closings[period] for period in sorted(self._closings))

    @contextmanager
    def snapshot(self) -> Generator[SumsReader]:
        yield self  # nothing is appended while anything reads

    def close(self) -> None:
        """Nothing to release."""

    def _rollup(self) -> Rollup:
        return Rollup.of(event for event in self._events if named(event) not in self._replaced)

    def _matches(self, event: UsageEvent, query: UsageQuery) -> bool:
        for name in ("tenant_id", "user_id", "session_id", "agent_id", "transport", "mode", "success"):
            wanted = getattr(query, name)
            if wanted is not None and getattr(event, name) != wanted:
                return False
        if query.started_from is not None and event.started_at < query.started_from:
            return False
        if query.started_before is not None and event.started_at >= query.started_before:
            return False
        return query.replaced or named(event) not in self._replaced


class MemoryRecorder:
    """The recorder's calls, answered at once: for conversations tested in virtual time.

    ``opened`` holds the turns that were opened and not recorded yet, by request id.
    """

    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.opened: dict[str, UsageEvent] = {}

    def open_turn(self, provisional: UsageEvent) -> None:
        check(provisional)
        self.opened[provisional.request_id] = provisional

    def record(self, event: UsageEvent) -> asyncio.Future[None]:
        self.ledger.append([event])
        self.opened.pop(event.request_id, None)
        durable = asyncio.get_running_loop().create_future()
        durable.set_result(None)
        return durable
