"""Usage and its cost, by day, person, agent or provider: what reports, the page and the command line show.

Everything comes from daily sums, so a report over a million events reads some thousand rows. Whoever drives it
(``server.usage_view``, ``convergio-voice usage``) gives the ledger and the prices. Days are UTC days.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from metering.ledger import DayQuery, Ledger
from metering.pricing.book import PriceBook
from metering.pricing.cost import money
from metering.pricing.rates import CostSum, Rates, day_name
from metering.report import inert, seconds
from metering.user_sums import TurnSums, UserQuery

Grouping = Literal["day", "user", "agent", "provider"]
GROUPINGS: Final[tuple[Grouping, ...]] = ("day", "user", "agent", "provider")
NO_CURRENCY: Final = "XXX"
"""ISO 4217's "no currency": of sheets for what costs nothing."""

Unpriced = tuple[tuple[str, str, str], ...]
"""Provider, model and meter of what no sheet has a price for."""


@dataclass(frozen=True, slots=True)
class ReportQuery:
    """What is asked: days from ``first_day`` on, before ``day_before``. ``user_id`` goes with people only."""

    by: Grouping
    first_day: int
    day_before: int
    tenant_id: str | None = None
    agent_id: str | None = None
    user_id: str | None = None


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One day, person, agent or provider's model (``detail``). Providers have ``amounts`` by meter instead of turns.

    ``cost`` is in millionths by currency; ``complete`` is False where some of the work has no price.
    """

    key: str
    sums: TurnSums | None
    cost: Mapping[str, int]
    complete: bool = True
    detail: str = ""
    tenant_id: str = ""
    amounts: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class UsageReport:
    """The rows (days in their order, others by how much they did), and everything together."""

    query: ReportQuery
    rows: tuple[ReportRow, ...]
    totals: TurnSums
    cost: Mapping[str, int]
    unpriced: Unpriced


def usage_report(ledger: Ledger, query: ReportQuery, book: PriceBook) -> UsageReport:
    """The report. Blocks while it reads. Raises LedgerError."""
    rates = Rates(book, ledger.closings(), query.first_day, query.day_before)
    if query.by == "user":
        return _by_person(ledger, query, rates)
    days = DayQuery(query.tenant_id, query.agent_id, query.first_day, query.day_before)
    groups: dict[tuple[str, str, str], _Group] = {}
    whole = _Group()
    for used in ledger.amounts(days):
        what = (used.provider, used.model, used.meter)
        key = _key(query.by, used.day, used.agent_id, used.tenant_id, what)
        for group in (groups.setdefault(key, _Group()), whole):
            group.use(rates, used.day, what, (used.amount, used.whole_seconds))
    for row in ledger.daily(days):
        sums = TurnSums.of(row.totals)
        whole.sums = whole.sums.plus(sums)
        if query.by != "provider":
            group = groups.setdefault(_key(query.by, row.day, row.agent_id, row.tenant_id), _Group())
            group.sums = group.sums.plus(sums)
    return _told(query, groups, whole)


def _by_person(ledger: Ledger, query: ReportQuery, rates: Rates) -> UsageReport:
    asked = UserQuery(query.tenant_id, query.agent_id, query.user_id, query.first_day, query.day_before)
    groups: dict[tuple[str, str, str], _Group] = {}
    whole = _Group()
    for row in ledger.users(asked):
        groups[row.tenant_id, row.user_id, ""] = _Group(row.sums)
        whole.sums = whole.sums.plus(row.sums)
    for first, before in rates.spans():
        for used in ledger.user_amounts(replace(asked, first_day=first, day_before=before)):
            what = (used.provider, used.model, used.meter)
            for group in (groups.setdefault((used.tenant_id, used.user_id, ""), _Group()), whole):
                group.use(rates, first, what, (used.amount, used.whole_seconds))
    return _told(query, groups, whole)


class _Group:
    """What is gathered of one row."""

    def __init__(self, sums: TurnSums | None = None) -> None:
        self.sums = sums or TurnSums()
        self.cost = CostSum()
        self.amounts: dict[str, int] = {}

    def use(self, rates: Rates, day: int, what: tuple[str, str, str], sums: tuple[int, int]) -> None:
        self.cost.add(rates, day, what, sums)
        self.amounts[what[2]] = self.amounts.get(what[2], 0) + sums[0]


def _key(
    by: Grouping, day: int, agent_id: str, tenant_id: str, what: tuple[str, str, str] = ("", "", "")
) -> tuple[str, str, str]:
    match by:
        case "day":
            return "", day_name(day), ""
        case "provider":
            return "", what[0], what[1]
        case _:
            return tenant_id, agent_id, ""


def _told(query: ReportQuery, groups: Mapping[tuple[str, str, str], _Group], whole: _Group) -> UsageReport:
    providers = query.by == "provider"
    rows = [
        ReportRow(
            key,
            None if providers else group.sums,
            group.cost.micros(),
            not group.cost.unpriced,
            detail,
            tenant,
            group.amounts if providers else {},
        )
        for (tenant, key, detail), group in sorted(groups.items(), key=lambda item: item[0])
        if providers or group.sums.events
    ]
    if query.by in ("user", "agent"):
        rows.sort(key=lambda row: 0 if row.sums is None else -row.sums.audio_ms_in - row.sums.audio_ms_out)
    return UsageReport(query, tuple(rows), whole.sums, whole.cost.micros(), tuple(sorted(whole.cost.unpriced)))


def billed(cost: Mapping[str, int]) -> dict[str, int]:
    """The cost without what stands for "no currency"."""
    return {currency: micros for currency, micros in cost.items() if currency != NO_CURRENCY}


CSV_COLUMNS: Final = (
    "tenant_id turns audio_in_s audio_out_s input_tokens cached_input_tokens output_tokens tool_calls failed "
    "interrupted cost currency cost_complete"
).split()
PROVIDER_COLUMNS: Final = "provider model meter_amounts cost currency cost_complete".split()


def report_csv(report: UsageReport) -> Iterator[bytes]:
    """The rows as lines of CSV (RFC 4180, UTF-8), one per currency; texts that look like formulas are made inert."""
    if report.query.by == "provider":
        yield _line(PROVIDER_COLUMNS)
        for row in report.rows:
            amounts = "; ".join(f"{meter} {amount}" for meter, amount in sorted(row.amounts.items()))
            for cost in _costs(row):
                yield _line([inert(row.key), inert(row.detail), amounts, *cost])
        return
    yield _line([report.query.by, *CSV_COLUMNS])
    for row in report.rows:
        sums = row.sums or TurnSums()
        counted = (sums.input_tokens, sums.cached_input_tokens, sums.output_tokens, sums.tool_calls, sums.failed)
        told = [inert(row.key), inert(row.tenant_id), str(sums.turns)]
        told += [str(seconds(sums.audio_ms_in)), str(seconds(sums.audio_ms_out)), *map(str, counted)]
        for cost in _costs(row):
            yield _line([*told, str(sums.interrupted), *cost])


def _costs(row: ReportRow) -> list[tuple[str, str, str]]:
    complete = "true" if row.complete else "false"
    costs = billed(row.cost)
    return [(str(money(micros)), currency, complete) for currency, micros in costs.items()] or [("", "", complete)]


def _line(cells: Iterable[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue().encode()
