"""Usage as it is told: from what was asked and the ledger to the contract's answers.

Knows no HTTP and no terminal; blocks while it reads, and raises LedgerError where the ledger cannot be. Driven by
``server.routes.usage``; what is asked is ``server.usage_filters``'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from metering.ledger import Ledger, PageRequest, UsageQuery
from metering.pricing.book import PriceBook, date_day, day_date
from metering.pricing.cost import CostLine, totals_by_currency
from metering.pricing.invoices import invoice
from metering.pricing.rates import day_name
from metering.rollup import DAY_MS
from metering.usage import Mode
from metering.usage_report import ReportQuery, ReportRow, Unpriced, billed, usage_report
from metering.user_sums import TurnSums
from server.contracts.usage import usage_record
from server.contracts.usage_reports import (
    BudgetLine,
    InvoiceLine,
    InvoiceResponse,
    MoneyAmount,
    UnpricedWork,
    UsageCurrentResponse,
    UsageEventPage,
    UsageOthers,
    UsagePeriod,
    UsageReportResponse,
    UsageReportRow,
    UsageSums,
)
from server.usage_filters import MOST_ROWS, Days, cursor_text


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks about which tenant, when. ``user_id`` is None for who asks about everybody."""

    request_id: str
    tenant_id: str
    user_id: str | None
    now_ms: int


def read_current(
    ledger: Ledger, asking: Asking, book: PriceBook, budgets: tuple[BudgetLine, ...]
) -> UsageCurrentResponse:
    """Today and this month."""
    today = asking.now_ms // DAY_MS
    month = date_day(day_date(today).replace(day=1))
    return UsageCurrentResponse(
        request_id=asking.request_id,
        generated_at_ms=asking.now_ms,
        tenant_id=asking.tenant_id,
        scope="tenant" if asking.user_id is None else "own",
        user_id=asking.user_id,
        today=_period(ledger, asking, Days(today, today + 1), book),
        month=_period(ledger, asking, Days(month, today + 1), book),
        budgets=budgets,
    )


def read_events(ledger: Ledger, query: UsageQuery, page: PageRequest, request_id: str) -> UsageEventPage:
    """A page of events."""
    found = ledger.read(query, page)
    last = found.sequences[-1] if found.sequences else page.cursor
    goes_on = found.cursor is not None or not page.newest_first
    if last is None and goes_on:
        last = 0
    return UsageEventPage(
        request_id=request_id,
        events=tuple(map(usage_record, found.events)),
        next_cursor=cursor_text(last, newest_first=page.newest_first) if goes_on and last is not None else None,
        has_more=found.cursor is not None,
    )


def read_report(ledger: Ledger, query: ReportQuery, book: PriceBook, asking: Asking) -> UsageReportResponse:
    """A report's rows and everything together."""
    report = usage_report(ledger, query, book)
    days = Days(query.first_day, query.day_before)
    return UsageReportResponse(
        request_id=asking.request_id,
        generated_at_ms=asking.now_ms,
        tenant_id=asking.tenant_id,
        by=query.by,
        since=day_name(days.first),
        until=day_name(days.before),
        rows=tuple(map(_row, report.rows[:MOST_ROWS])),
        truncated=len(report.rows) > MOST_ROWS or report.others is not None,
        others=None if report.others is None else _others(report.others),
        total=_told(days, report.totals, report.cost, report.unpriced),
    )


def read_invoice(ledger: Ledger, period: str, book: PriceBook, asking: Asking) -> InvoiceResponse:
    """The lines of one tenant's month."""
    found = invoice(ledger, period, asking.tenant_id, book)
    return InvoiceResponse(
        request_id=asking.request_id,
        tenant_id=asking.tenant_id,
        period=period,
        status="open" if found.closed_at is None else "closed",
        closed_at_ms=found.closed_at,
        lines=tuple(map(_line, found.lines)),
        total=_money(totals_by_currency(found.lines)),
        due=_money(totals_by_currency(_managed(found.lines))),
        corrections=tuple(map(_line, found.corrections)),
        corrections_total=_money(totals_by_currency(found.corrections)),
        corrections_due=_money(totals_by_currency(_managed(found.corrections))),
    )


def _managed(lines: Sequence[CostLine]) -> list[CostLine]:
    """What a tenant owes the operator; of the rest it pays its provider, or nobody."""
    return [line for line in lines if line.mode == "managed"]


def sums_of(sums: TurnSums) -> UsageSums:
    """Sums in the contract's words."""
    return UsageSums(
        turns=sums.turns,
        audio_ms_in=sums.audio_ms_in,
        audio_ms_out=sums.audio_ms_out,
        input_tokens=sums.input_tokens,
        cached_input_tokens=sums.cached_input_tokens,
        output_tokens=sums.output_tokens,
        tool_calls=sums.tool_calls,
        failed=sums.failed,
        interrupted=sums.interrupted,
    )


def _period(ledger: Ledger, asking: Asking, days: Days, book: PriceBook) -> UsagePeriod:
    by = "day" if asking.user_id is None else "user"
    query = ReportQuery(by, days.first, days.before, asking.tenant_id, user_id=asking.user_id)
    report = usage_report(ledger, query, book)
    return _told(days, report.totals, report.cost, report.unpriced)


def _told(days: Days, sums: TurnSums, cost: Mapping[str, int], unpriced: Unpriced) -> UsagePeriod:
    return UsagePeriod(
        since=day_name(days.first),
        until=day_name(days.before),
        sums=sums_of(sums),
        cost=_money(cost),
        unpriced=tuple(UnpricedWork(provider=who, model=model, meter=meter) for who, model, meter in unpriced),
    )


def _row(row: ReportRow) -> UsageReportRow:
    return UsageReportRow(
        key=row.key,
        model=row.detail or None,
        sums=None if row.sums is None else sums_of(row.sums),
        amounts=dict(row.amounts) or None,
        cost=_money(row.cost),
        complete=row.complete,
    )


def _others(row: ReportRow) -> UsageOthers:
    return UsageOthers(sums=sums_of(row.sums or TurnSums()), cost=_money(row.cost), complete=row.complete)


def _line(line: CostLine) -> InvoiceLine:
    return InvoiceLine(
        mode=cast("Mode", line.mode),
        provider=line.provider,
        model=line.model,
        meter=line.meter,
        amount=line.amount,
        currency=line.currency,
        micros=line.micros,
    )


def _money(cost: Mapping[str, int]) -> tuple[MoneyAmount, ...]:
    return tuple(MoneyAmount(currency=currency, micros=micros) for currency, micros in billed(cost).items())
