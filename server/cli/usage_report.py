"""The summed form of ``convergio-voice usage``: a table, bars, CSV or JSON by day, person, agent or provider."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, cast

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from metering.ledger import Ledger
    from metering.usage_report import Grouping, ReportRow, UsageReport
    from server.settings import Settings
    from server.usage_filters import Days

BAR_CELLS: Final = 40
_WORDS: Final = frozenset({"day", "user", "agent", "provider", "model", "tenant", "did"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be shown, and how: ``form`` is ``csv``, ``json``, ``chart`` or (None) a table.

    ``most``: rows for so many people, those who talked most; None for everybody.
    """

    by: str
    days: Days
    tenant_id: str | None
    form: str | None
    most: int | None = None


def asked_days(month: str | None, since: str | None) -> Days:
    """The days of the options; this month by default. Raises ClickException."""
    from server.latency_view import BadFilter  # noqa: PLC0415 - commands import late
    from server.usage_filters import report_days  # noqa: PLC0415

    given = {name: value for name, value in (("month", month), ("since", since)) if value is not None}
    try:
        return report_days(given, time.time_ns() // 1_000_000)
    except BadFilter as error:
        words = str(error)
        raise click.ClickException(words[0].upper() + words[1:]) from error


def show(ledger: Ledger, settings: Settings, wanted: Wanted) -> None:
    """Make the report and write it to stdout. Raises LedgerError, PriceSheetError."""
    from metering.usage_report import ReportQuery, report_csv, usage_report  # noqa: PLC0415
    from server.cli.console import console, print_json  # noqa: PLC0415
    from server.ledgers import price_book  # noqa: PLC0415

    by = cast("Grouping", wanted.by)
    query = ReportQuery(by, wanted.days.first, wanted.days.before, wanted.tenant_id, most=wanted.most)
    report = usage_report(ledger, query, price_book(settings))
    match wanted.form:
        case "csv":
            for line in report_csv(report):
                sys.stdout.buffer.write(line)
            sys.stdout.flush()
        case "json":
            print_json(_document(report))
        case "chart":
            _chart(report)
        case _:
            console().print(_table(report))
    for provider, model, meter in report.unpriced:
        click.echo(f"not in the cost: {provider} {model}: no price for {meter}", err=True)


def _document(report: UsageReport) -> dict[str, Any]:
    from metering.pricing.rates import day_name  # noqa: PLC0415
    from metering.user_sums import SUM_FIELDS  # noqa: PLC0415

    def told(row: ReportRow) -> dict[str, Any]:
        sums = None if row.sums is None else {name: getattr(row.sums, name) for name in SUM_FIELDS}
        return {"sums": sums, "cost_micros": dict(row.cost), "complete": row.complete}

    others = {} if report.others is None else {"others": told(report.others)}
    return {
        "by": report.query.by,
        "since": day_name(report.query.first_day),
        "until": day_name(report.query.day_before),
        "rows": [
            {
                "key": row.key,
                "model": row.detail or None,
                "tenant_id": row.tenant_id or report.query.tenant_id,
                "amounts": dict(row.amounts) or None,
                **told(row),
            }
            for row in report.rows
        ],
        **others,
        "total": {
            "sums": {name: getattr(report.totals, name) for name in SUM_FIELDS},
            "cost_micros": dict(report.cost),
            "complete": not report.unpriced,
        },
    }


def _table(report: UsageReport) -> Table:
    from rich.table import Table  # noqa: PLC0415

    from metering.report import seconds  # noqa: PLC0415

    table = Table(box=None, padding=(0, 1), show_footer=True)
    totals = report.totals
    if report.query.by == "provider":
        columns = {
            "provider": "total",
            "model": "",
            "did": "",
            "cost": _cost(report.cost, complete=not report.unpriced),
        }
    else:
        columns = {
            report.query.by: "total",
            "tenant": "",
            "turns": str(totals.turns),
            "heard s": str(seconds(totals.audio_ms_in)),
            "spoken s": str(seconds(totals.audio_ms_out)),
            "tokens in": str(totals.input_tokens),
            "out": str(totals.output_tokens),
            "failed": str(totals.failed),
            "cost": _cost(report.cost, complete=not report.unpriced),
        }
    for title, footer in columns.items():
        table.add_column(title, footer, justify="left" if title in _WORDS else "right", overflow="fold")
    for row in _rows(report):
        table.add_row(*_cells(row))
    return table


def _rows(report: UsageReport) -> Iterator[ReportRow]:
    yield from report.rows
    if report.others is not None:
        yield replace(report.others, key="everybody else")


def _cells(row: ReportRow) -> list[str]:
    from rich.markup import escape  # noqa: PLC0415

    from metering.report import seconds  # noqa: PLC0415

    cost = _cost(row.cost, complete=row.complete)
    if row.sums is None:
        did = ", ".join(f"{meter} {amount}" for meter, amount in sorted(row.amounts.items()))
        return [escape(row.key), escape(row.detail), did, cost]
    sums = row.sums
    counted = (sums.input_tokens, sums.output_tokens, sums.failed)
    spoken = (str(seconds(sums.audio_ms_in)), str(seconds(sums.audio_ms_out)))
    return [escape(row.key), escape(row.tenant_id), str(sums.turns), *spoken, *map(str, counted), cost]


def _cost(cost: Any, *, complete: bool) -> str:
    from metering.pricing.cost import money  # noqa: PLC0415
    from metering.usage_report import billed  # noqa: PLC0415

    told = " + ".join(f"{money(micros)} {currency}" for currency, micros in billed(cost).items())
    if not told:
        return "-" if complete else "no price"
    return told if complete else f">= {told}"


def _chart(report: UsageReport) -> None:
    """A bar per row: minutes talked, or of providers what they cost."""
    from metering.usage_report import billed  # noqa: PLC0415

    providers = report.query.by == "provider"
    several = len({row.tenant_id for row in report.rows}) > 1
    bars: list[tuple[str, float, str]] = []
    for row in _rows(report):
        name = f"{row.key} {row.detail}".strip() + (f" ({row.tenant_id})" if row.tenant_id and several else "")
        if providers:
            bars.append((name, sum(billed(row.cost).values()), _cost(row.cost, complete=row.complete)))
        elif row.sums is not None:
            minutes = (row.sums.audio_ms_in + row.sums.audio_ms_out) / 60_000
            bars.append((name, minutes, f"{minutes:.1f} min"))
    if not bars:
        click.echo("Nothing was used in these days.")
        return
    most = max(value for _, value, _ in bars) or 1
    wide = min(32, max(len(name) for name, _, _ in bars))
    for name, value, words in bars:
        bar = "█" * max(round(value / most * BAR_CELLS), 1 if value else 0)
        click.echo(f"{name[:wide]:{wide}}  {bar:{BAR_CELLS}}  {words}")
