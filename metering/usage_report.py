"""Usage and its cost, by day, person, agent or provider: what reports, the page and the command line show.

Everything comes from daily sums, so a report over a million events reads some thousand rows. Whoever drives it
(``server.usage_view``, ``convergio-voice usage``) gives the ledger and the prices. Days are UTC days.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from metering.ledger import DayQuery, Ledger, SumsReader
from metering.pricing.book import PriceBook
from metering.pricing.cost import money
from metering.pricing.rates import CostSum, Rates, day_name
from metering.report import inert, seconds
from metering.user_sums import Person, TurnSums, UserQuery

Grouping = Literal["day", "user", "agent", "provider"]
GROUPINGS: Final[tuple[Grouping, ...]] = ("day", "user", "agent", "provider")
NO_CURRENCY: Final = "XXX"
"""ISO 4217's "no currency": of sheets for what costs nothing."""

Unpriced = tuple[tuple[str, str, str], ...]
"""Provider, model and meter of what no sheet has a price for."""


@dataclass(frozen=True, slots=True)
class ReportQuery:
    """What is asked: days from ``first_day`` on, before ``day_before``.

    ``user_id`` goes with people only, as does ``most``: so many of them, those who talked most; None: everybody.
    """

    by: Grouping
    first_day: int
    day_before: int
    tenant_id: str | None = None
    agent_id: str | None = None
    user_id: str | None = None
    most: int | None = None


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
    """The rows (days in their order, others by how much they did), and everything together.

    ``others`` are the people who have no row of their own, together; None where everybody has one.
    """

    query: ReportQuery
    rows: tuple[ReportRow, ...]
    totals: TurnSums
    cost: Mapping[str, int]
    unpriced: Unpriced
    others: ReportRow | None = None


def usage_report(ledger: Ledger, query: ReportQuery, book: PriceBook) -> UsageReport:
    """The report, of one moment. Blocks while it reads. Raises LedgerError."""
    with ledger.snapshot() as sums:
        rates = Rates(book, sums.closings(), query.first_day, query.day_before)
        if query.by == "user":
            return _by_person(sums, query, rates)
        return _told(query, *_by_day_and_agent(sums, query, rates))


_Groups = dict[tuple[str, str, str], "_Group"]


def _by_day_and_agent(reader: SumsReader, query: ReportQuery, rates: Rates) -> tuple[_Groups, _Group]:
    """The groups of a report that is not about people; and everything together, whatever it is about."""
    days = DayQuery(query.tenant_id, query.agent_id, query.first_day, query.day_before)
    groups: _Groups = {}
    whole = _Group()
    for used in reader.amounts(days):
        what = (used.provider, used.model, used.meter)
        key = _key(query.by, used.day, used.agent_id, used.tenant_id, what)
        for group in (groups.setdefault(key, _Group()), whole):
            group.use(rates, used.day, what, (used.amount, used.whole_seconds))
    for row in reader.daily(days):
        sums = TurnSums.of(row.totals)
        whole.sums = whole.sums.plus(sums)
        if query.by != "provider":
            group = groups.setdefault(_key(query.by, row.day, row.agent_id, row.tenant_id), _Group())
            group.sums = group.sums.plus(sums)
    return groups, whole


def _by_person(reader: SumsReader, query: ReportQuery, rates: Rates) -> UsageReport:
    named = None if query.user_id is None else (query.user_id,)
    asked = UserQuery(query.tenant_id, query.agent_id, named, query.first_day, query.day_before)
    if query.most is not None and named is None:
        busiest = reader.busiest(asked, query.most + 1)
        if len(busiest) > query.most:
            return _of_some(reader, query, rates, asked, busiest[: query.most])
    groups, whole = _people(reader, rates, asked), _Group()
    for group in groups.values():
        whole.count(group)
    return _told(query, groups, whole)


def _of_some(
    reader: SumsReader, query: ReportQuery, rates: Rates, asked: UserQuery, people: Sequence[Person]
) -> UsageReport:
    """Rows of these people only, without reading everybody's: all together are summed by agent anyway."""
    of_tenant: dict[str, list[str]] = {}
    for tenant_id, user_id in people:
        of_tenant.setdefault(tenant_id, []).append(user_id)
    groups: _Groups = {}
    for tenant_id, users in of_tenant.items():
        groups |= _people(reader, rates, replace(asked, tenant_id=tenant_id, user_ids=tuple(users)))
    _, whole = _by_day_and_agent(reader, query, rates)
    others = _Group()
    others.count(whole)
    for group in groups.values():
        others.count(group, -1)
    return _told(query, groups, whole, others)


def _people(reader: SumsReader, rates: Rates, asked: UserQuery) -> _Groups:
    groups: _Groups = {(row.tenant_id, row.user_id, ""): _Group(row.sums) for row in reader.users(asked)}
    for first, before in rates.spans():
        for used in reader.user_amounts(replace(asked, first_day=first, day_before=before)):
            group = groups.setdefault((used.tenant_id, used.user_id, ""), _Group())
            group.use(rates, first, (used.provider, used.model, used.meter), (used.amount, used.whole_seconds))
    return groups


class _Group:
    """What is gathered of one row."""

    def __init__(self, sums: TurnSums | None = None) -> None:
        self.sums = sums or TurnSums()
        self.cost = CostSum()
        self.amounts: dict[str, int] = {}

    def use(self, rates: Rates, day: int, what: tuple[str, str, str], sums: tuple[int, int]) -> None:
        self.cost.add(rates, day, what, sums)
        self.amounts[what[2]] = self.amounts.get(what[2], 0) + sums[0]

    def count(self, other: _Group, times: int = 1) -> None:
        """Count in what another has, but for its amounts; -1 takes it out."""
        self.sums = self.sums.plus(other.sums, times)
        self.cost.count(other.cost, times)


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


def _told(query: ReportQuery, groups: _Groups, whole: _Group, others: _Group | None = None) -> UsageReport:
    providers = query.by == "provider"
    rows = [
        _row(query, key, group)
        for key, group in sorted(groups.items(), key=lambda item: item[0])
        if providers or group.sums.events
    ]
    if query.by in ("user", "agent"):
        rows.sort(key=lambda row: 0 if row.sums is None else -row.sums.audio_ms_in - row.sums.audio_ms_out)
    return UsageReport(
        query,
        tuple(rows),
        whole.sums,
        whole.cost.micros(),
        whole.cost.unpriced,
        None if others is None else _row(query, ("", "", ""), others),
    )


def _row(query: ReportQuery, key: tuple[str, str, str], group: _Group) -> ReportRow:
    tenant_id, name, detail = key
    cost, complete = group.cost.micros(), not group.cost.unpriced
    if query.by == "provider":
        return ReportRow(name, None, cost, complete, detail, tenant_id, group.amounts)
    return ReportRow(name, group.sums, cost, complete, detail, tenant_id)


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
