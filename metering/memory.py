"""In-memory stand-ins for tests: a ledger and a recorder without files or threads.

They keep the ports' promises (the contract suite runs over the ledger), except that nothing outlives the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from metering.codec import check
from metering.latency_counts import LatencyCounts, counted
from metering.ledger import PageRequest, UsagePage, UsageQuery, UsageTotals
from metering.usage import UsageEvent


class MemoryLedger:
    """The ledger port over a list. Called from one thread at a time."""

    def __init__(self) -> None:
        self._events: list[UsageEvent] = []
        self._ids: set[str] = set()
        self._replaced: set[str] = set()

    def append(self, events: Sequence[UsageEvent]) -> int:
        for event in events:
            check(event)
        before = len(self._events)
        for event in events:
            if event.event_id not in self._ids:
                self._ids.add(event.event_id)
                self._events.append(event)
                if event.corrects is not None:
                    self._replaced.add(event.corrects)
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
        return UsagePage(tuple(e for _, e in taken), taken[-1][0] if more else None)

    def totals(self, query: UsageQuery) -> UsageTotals:
        return UsageTotals.of(event for event in self._events if self._matches(event, query))

    def latencies(self, query: UsageQuery, most: int) -> LatencyCounts:
        measured = [event for event in self._events if event.latency_ms and self._matches(event, query)]
        measured.sort(key=lambda event: event.started_at, reverse=True)
        return counted([event.latency_ms for event in measured], most)

    def close(self) -> None:
        """Nothing to release."""

    def _matches(self, event: UsageEvent, query: UsageQuery) -> bool:
        for name in ("tenant_id", "user_id", "session_id", "agent_id", "transport"):
            wanted = getattr(query, name)
            if wanted is not None and getattr(event, name) != wanted:
                return False
        if query.started_from is not None and event.started_at < query.started_from:
            return False
        if query.started_before is not None and event.started_at >= query.started_before:
            return False
        return query.replaced or event.event_id not in self._replaced


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
