"""``convergio-voice usage``: what was used, from the ledger: turn by turn, or summed (``server.cli.usage_report``)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from metering.ledger import DayQuery, Ledger, UsageQuery, UsageTotals
    from metering.usage import UsageEvent
    from server.settings import Settings
    from server.usage_filters import Days

DEFAULT_ROWS = 20
DEFAULT_PEOPLE = 100


@click.command("usage")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file. Default: convergio.toml if it exists")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where the usage ledger lives.")
@click.option(
    "--last", "rows", type=click.IntRange(1), default=DEFAULT_ROWS, show_default=True, help="Newest turns shown."
)
@click.option(
    "--by", type=click.Choice(["day", "user", "agent", "provider"]), help="Sums and costs by that, not turn by turn."
)
@click.option(
    "--most",
    type=click.IntRange(1, 2_000),
    help=f"With --by user: so many people, the others together. [default: {DEFAULT_PEOPLE}; --json: everybody]",
)
@click.option("--month", help="That month (2026-11) only.")
@click.option("--since", help="The last days only (30d), or from a day on (2026-11-01).")
@click.option("--tenant", help="That tenant's only.")
@click.option("--json", "form", flag_value="json", help="Every event, one JSON object per line; --by: one document.")
@click.option("--csv", "form", flag_value="csv", help="Every event (--by: every row) as CSV.")
@click.option("--chart", "form", flag_value="chart", help="With --by: bars.")
def command(  # noqa: PLR0913 - click gives each option by name
    *,
    config: Path | None,
    data_dir: Path | None,
    rows: int,
    by: str | None,
    most: int | None,
    month: str | None,
    since: str | None,
    tenant: str | None,
    form: str | None,
) -> int:
    """Show what was used.

    Without --by the newest turns; with it sums and costs, of this month unless --month or --since says otherwise.
    """
    from metering.journal import waiting_turns  # noqa: PLC0415 - commands import late
    from server.cli.usage_report import Wanted, asked_days, show  # noqa: PLC0415
    from server.ledgers import open_ledger  # noqa: PLC0415
    from server.settings import load_settings  # noqa: PLC0415

    if form == "chart" and by is None:
        raise click.ClickException("A chart needs --by: day, user, agent or provider.")
    if most is not None and by != "user":
        raise click.ClickException("--most goes with --by user.")
    if most is not None and form == "csv":
        raise click.ClickException("--csv has everybody: --most goes with a table, --chart or --json.")
    if by == "user" and most is None and form in (None, "chart"):
        most = DEFAULT_PEOPLE
    settings = load_settings(config, data_dir=data_dir)
    days = asked_days(month, since) if by or month or since else None
    path, waiting = settings.ledger_path, waiting_turns(settings.journal_path)
    if waiting:
        note = f"{waiting} turns of a server that was cut short wait in its journal; the next start enters them."
        click.echo(note, err=True)
    if settings.ledger.url is None and not path.is_file():
        if waiting:
            raise click.ClickException("Nothing is in the ledger yet.")
        raise click.ClickException(f"Nothing was used yet: there is no ledger at {path}.")
    ledger = open_ledger(settings)
    try:
        if by is not None and days is not None:
            show(ledger, settings, Wanted(by, days, tenant, form, most))
        else:
            _events(ledger, settings, _chosen(tenant, days), rows, form)
    finally:
        ledger.close()
    return 0


def _chosen(tenant: str | None, days: Days | None) -> UsageQuery:
    from metering.ledger import UsageQuery  # noqa: PLC0415
    from metering.rollup import DAY_MS  # noqa: PLC0415

    if days is None:
        return UsageQuery(tenant)
    return UsageQuery(tenant, started_from=days.first * DAY_MS, started_before=days.before * DAY_MS)


def _events(ledger: Ledger, settings: Settings, query: UsageQuery, rows: int, form: str | None) -> None:
    from metering.ledger import DayQuery, PageRequest, read_all  # noqa: PLC0415
    from metering.report import csv_export, jsonl_export  # noqa: PLC0415
    from metering.rollup import DAY_MS  # noqa: PLC0415

    if form is not None:
        export = jsonl_export if form == "json" else csv_export
        for chunk in export(read_all(ledger, query)):
            sys.stdout.buffer.write(chunk)
        sys.stdout.flush()
        return
    page = ledger.read(query, PageRequest(limit=rows, newest_first=True))
    totals = ledger.totals(query)
    _table(page.events, totals)
    _whole(totals)
    first, before = (None if at is None else at // DAY_MS for at in (query.started_from, query.started_before))
    _costs(ledger, settings, DayQuery(query.tenant_id, None, first, before))


def _costs(ledger: Ledger, settings: Settings, days: DayQuery) -> None:
    """What it cost, by currency, as reports tell it; and what has no price, which is not to say that it is free."""
    from metering.pricing.cost import money  # noqa: PLC0415
    from metering.pricing.rates import cost_of  # noqa: PLC0415
    from metering.usage_report import billed  # noqa: PLC0415
    from server.ledgers import price_book  # noqa: PLC0415

    with ledger.snapshot() as sums:
        cost = cost_of(sums, days, price_book(settings))
    for currency, micros in billed(cost.micros()).items():
        click.echo(f"cost {money(micros)} {currency}")
    for provider, model, meter in cost.unpriced:
        click.echo(f"not in the cost: {provider} {model}: no price for {meter}", err=True)


def _whole(totals: UsageTotals) -> None:
    """Everything that is counted, stage by stage; what there was none of is left out."""
    from metering.report import seconds  # noqa: PLC0415

    def told(title: str, figures: dict[str, object]) -> None:
        parts = [f"{name} {figure}" for name, figure in figures.items() if figure]
        if parts:
            click.echo(f"{title}: {', '.join(parts)}")

    told(
        "audio in, s",
        {
            "received": seconds(totals.audio_ms_received),
            "speech": seconds(totals.audio_ms_speech),
            "recognised": seconds(totals.audio_ms_in),
        },
    )
    told(
        "audio out, s",
        {
            "made": seconds(totals.audio_ms_synthesized),
            "sent": seconds(totals.audio_ms_sent),
            "heard": seconds(totals.audio_ms_out),
            "characters": totals.tts_characters,
        },
    )
    told(
        "tokens",
        {
            "in": totals.input_tokens,
            "of them cached": totals.cached_input_tokens,
            "out": totals.output_tokens,
            "of them reasoning": totals.reasoning_tokens,
            "of drafts": totals.speculative_tokens,
        },
    )
    told("tools", {"calls": totals.tool_calls, "s": seconds(totals.tool_ms)})
    told("telephone", {"s": seconds(totals.call_ms)})


def _table(events: tuple[UsageEvent, ...], totals: UsageTotals) -> None:
    from rich.table import Table  # noqa: PLC0415

    from metering.ledger import is_unclaimed  # noqa: PLC0415
    from metering.report import seconds, timestamp  # noqa: PLC0415
    from server.cli.console import console  # noqa: PLC0415

    table = Table(box=None, padding=(0, 1), show_footer=True)
    columns = {
        "started": "total",
        "agent": f"{totals.events - totals.unclaimed} turns",
        "lane": "",
        "heard s": str(seconds(totals.audio_ms_in)),
        "spoken s": str(seconds(totals.audio_ms_out)),
        "tokens in": str(totals.input_tokens),
        "out": str(totals.output_tokens),
        "tools": str(totals.tool_calls),
        "total ms": "",
        "": f"{totals.failed} failed" if totals.failed else "",
        "late": "",
    }
    words = {"started", "agent", "lane", "", "late"}
    for title, footer in columns.items():
        table.add_column(title, footer, justify="left" if title in words else "right")
    for event in events:
        table.add_row(
            timestamp(event.started_at),
            event.agent_id,
            event.mode,
            str(seconds(event.audio_ms_in)),
            str(seconds(event.audio_ms_out)),
            str(event.input_tokens),
            str(event.output_tokens),
            str(event.tool_calls),
            str(event.latency_ms.get("total", "")),
            event.error_code or ("no turn" if is_unclaimed(event) else "interrupted" if event.interrupted else ""),
            ", ".join(event.breaches),
        )
    console().print(table)
