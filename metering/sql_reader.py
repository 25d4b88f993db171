"""The reading side of a ledger on an SQL database, the same on every one.

Owns which answer belongs to which question of ``metering.ledger_sql``. Knows no connection: whoever keeps one answers
``_ask``, and appends in its own way. Base of ``metering.sqlite_ledger`` and ``metering.postgres.ledger``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import reduce
from typing import Any

from metering import ledger_sql, user_sums
from metering.latency_counts import LatencyCounts
from metering.ledger import (
    DailyAmount,
    DailyUsage,
    DayQuery,
    PageRequest,
    PeriodClosing,
    UsagePage,
    UsageQuery,
    UsageTotals,
)
from metering.user_sums import Person, UserAmount, UserQuery, UserUsage


class SqlReader(ABC):
    """The reading half of the ledger port. ``_MARK`` is the driver's placeholder for a value."""

    _MARK: str

    def read(self, query: UsageQuery, page: PageRequest) -> UsagePage:
        rows = self._ask(*ledger_sql.page_question(query, page, self._MARK))
        taken = rows[: page.limit]
        events = tuple(ledger_sql.row_event(row[1:]) for row in taken)
        last = taken[-1][0] if taken else None
        return UsagePage(events, last if len(rows) > len(taken) else None, tuple(row[0] for row in taken))

    def totals(self, query: UsageQuery) -> UsageTotals:
        parts = (self._ask(*question)[0] for question in ledger_sql.totals_questions(query, self._MARK))
        return reduce(UsageTotals.plus, map(ledger_sql.totals, parts), UsageTotals())

    def latencies(self, query: UsageQuery, most: int) -> LatencyCounts:
        return ledger_sql.latencies(self._ask(*ledger_sql.latencies_question(query, most, self._MARK)), most)

    def daily(self, query: DayQuery) -> tuple[DailyUsage, ...]:
        return ledger_sql.daily(self._ask(*ledger_sql.daily_question(query, self._MARK)))

    def amounts(self, query: DayQuery) -> tuple[DailyAmount, ...]:
        return ledger_sql.amounts(self._ask(*ledger_sql.amounts_question(query, self._MARK)))

    def busiest(self, query: UserQuery, most: int) -> tuple[Person, ...]:
        return user_sums.busiest(self._ask(*user_sums.busiest_question(query, most, self._MARK)), query)

    def users(self, query: UserQuery) -> tuple[UserUsage, ...]:
        return user_sums.users(self._ask(*user_sums.users_question(query, self._MARK)))

    def user_amounts(self, query: UserQuery) -> tuple[UserAmount, ...]:
        return user_sums.user_amounts(self._ask(*user_sums.user_amounts_question(query, self._MARK)))

    def backlog(self, query: UsageQuery, cursor: int, most: int) -> int:
        return int(self._ask(*ledger_sql.backlog_question(query, cursor, most, self._MARK))[0][0])

    def closings(self) -> tuple[PeriodClosing, ...]:
        return ledger_sql.closings(self._ask(ledger_sql.CLOSINGS, ()))

    def tenants(self) -> tuple[str, ...]:
        return tuple(sorted(row[0] for row in self._ask("SELECT DISTINCT tenant_id FROM usage_daily", ())))

    def _standing(self, period: str) -> PeriodClosing:
        """The closing that stands for a period that has been closed, by whomever first."""
        return next(closing for closing in self.closings() if closing.period == period)

    @abstractmethod
    def _ask(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """The rows that answer a question. Raises LedgerUnavailable."""


class Snapshot(SqlReader):
    """The reading half inside a transaction that sees one moment; ``ask`` asks in it."""

    def __init__(self, mark: str, ask: Callable[[str, tuple[Any, ...]], list[tuple[Any, ...]]]) -> None:
        self._MARK = mark
        self._asks = ask

    def _ask(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        return self._asks(sql, values)
