"""Invoice lines of a tenant's month: from its statement once it is closed, else from today's sums. Pure reading.

A closed month's lines are the statement's, whatever came later. What came later (a journal recovered late, a
correction) is told beside them, as the difference it makes at the statement's own prices: to be credited or charged
with a later invoice. Driven by ``server.usage_view``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from metering.ledger import Ledger
from metering.pricing.book import PriceBook
from metering.pricing.closing import Statement, month_days
from metering.pricing.cost import CostLine, cost_lines

LineKey = tuple[str, str, str, str, str, str]


@dataclass(frozen=True, slots=True)
class Invoice:
    """``closed_at`` is None while the month is open and its lines may still change.

    ``corrections`` are differences to ``lines``, negative where there is something to credit.
    """

    period: str
    closed_at: int | None
    lines: tuple[CostLine, ...]
    corrections: tuple[CostLine, ...]


def invoice(ledger: Ledger, period: str, tenant_id: str, book: PriceBook) -> Invoice:
    """The month's lines of one tenant. Raises ValueError (no month), LedgerError."""
    amounts = ledger.amounts(replace(month_days(period), tenant_id=tenant_id))
    closing = next((closing for closing in ledger.closings() if closing.period == period), None)
    if closing is None:
        return Invoice(period, None, cost_lines(amounts, book), ())
    statement = Statement.of(closing)
    lines = tuple(line for line in statement.lines if line.tenant_id == tenant_id)
    now = cost_lines(amounts, PriceBook(statement.sheets))
    return Invoice(period, closing.closed_at, lines, _differences(lines, now))


def _differences(before: Iterable[CostLine], now: Iterable[CostLine]) -> tuple[CostLine, ...]:
    old, new = ({_key(line): line for line in lines} for lines in (before, now))
    found: list[CostLine] = []
    for key in sorted(old.keys() | new.keys()):
        was, is_ = old.get(key), new.get(key)
        amount = (is_.amount if is_ else 0) - (was.amount if was else 0)
        cost = ((is_.micros or 0) if is_ else 0) - ((was.micros or 0) if was else 0)
        if amount or cost:
            either = is_ or was
            assert either is not None
            found.append(replace(either, amount=amount, micros=None if either.micros is None else cost))
    return tuple(found)


def _key(line: CostLine) -> LineKey:
    return line.tenant_id, line.mode, line.provider, line.model, line.meter, line.currency or ""
