"""Closed months: a statement of what was used and what it cost, with the sheets it was counted by.

A month is closed once, after it has ended. From then on its cost is the statement's, and the sheets in the statement
count for whatever of that month is entered later (a journal recovered late, a correction): ``metering.pricing.rates``
shows that as the difference it makes, and a sheet added later changes nothing. Driven by the command line.
"""

from __future__ import annotations

import json
from calendar import monthrange
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Final

from metering.errors import PeriodNotOver
from metering.ledger import DayQuery, Ledger, PeriodClosing
from metering.pricing.book import PriceBook, date_day
from metering.pricing.cost import CostLine, cost_lines
from metering.pricing.sheets import PriceSheet, sheet_document, sheet_of
from metering.rollup import DAY_MS

SCHEMA: Final = 1


@dataclass(frozen=True, slots=True)
class Statement:
    """A closed month's lines and the sheets they were counted by."""

    period: str
    lines: tuple[CostLine, ...]
    sheets: tuple[PriceSheet, ...]

    @classmethod
    def of(cls, closing: PeriodClosing) -> Statement:
        """The statement that a closing keeps."""
        plain: dict[str, Any] = json.loads(closing.statement)
        lines = tuple(CostLine(**line) for line in plain["lines"])
        sheets = tuple(sheet_of(sheet["sheet"], sheet["name"]) for sheet in plain["sheets"])
        return cls(closing.period, lines, sheets)

    def document(self) -> str:
        """As JSON, for the ledger."""
        sheets = [{"name": sheet.name, "sheet": sheet_document(sheet)} for sheet in self.sheets]
        plain = {"schema": SCHEMA, "lines": [asdict(line) for line in self.lines], "sheets": sheets}
        return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


def month_days(period: str) -> DayQuery:
    """The days of a month such as ``2026-09``. Raises ValueError."""
    first = date.fromisoformat(f"{period}-01")
    day = date_day(first)
    return DayQuery(first_day=day, day_before=day + monthrange(first.year, first.month)[1])


def close_month(ledger: Ledger, period: str, book: PriceBook, now_ms: int) -> Statement:
    """Close a month and return the statement that stands: of several closings, the first.

    Raises ValueError (no month), PeriodNotOver, LedgerError.
    """
    days = month_days(period)
    if days.day_before is None or now_ms // DAY_MS < days.day_before:
        raise PeriodNotOver(f"{period} is not over yet (months end at midnight UTC)")
    lines = cost_lines(ledger.amounts(days), book)
    statement = Statement(period, lines, book.sheets)
    return Statement.of(ledger.close_period(PeriodClosing(period, now_ms, statement.document())))
