"""``convergio-voice usage``: what was used, from the ledger, as a table, JSON Lines or CSV."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from metering.ledger import UsageTotals
    from metering.usage import UsageEvent

DEFAULT_ROWS = 20


@click.command("usage")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file. Default: convergio.toml if it exists")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where the usage ledger lives.")
@click.option(
    "--last", "rows", type=click.IntRange(1), default=DEFAULT_ROWS, show_default=True, help="Newest turns shown."
)
@click.option("--json", "form", flag_value="json", help="Every event, one JSON object per line.")
@click.option("--csv", "form", flag_value="csv", help="Every event as CSV.")
def command(config: Path | None, data_dir: Path | None, rows: int, form: str | None) -> int:
    """Show what was used."""
    from metering.journal import waiting_turns  # noqa: PLC0415 - commands import late
    from metering.ledger import PageRequest, UsageQuery, read_all  # noqa: PLC0415
    from metering.report import csv_export, jsonl_export  # noqa: PLC0415
    from metering.sqlite_ledger import SqliteLedger  # noqa: PLC0415
    from server.settings import load_settings  # noqa: PLC0415

    settings = load_settings(config, data_dir=data_dir)
    path, waiting = settings.ledger_path, waiting_turns(settings.journal_path)
    if waiting:
        note = f"{waiting} turns of a server that was cut short wait in its journal; the next start enters them."
        click.echo(note, err=True)
    if not path.is_file():
        if waiting:
            raise click.ClickException("Nothing is in the ledger yet.")
        raise click.ClickException(f"Nothing was used yet: there is no ledger at {path}.")
    ledger = SqliteLedger(path)
    try:
        if form is not None:
            export = jsonl_export if form == "json" else csv_export
            for chunk in export(read_all(ledger, UsageQuery())):
                sys.stdout.buffer.write(chunk)
            sys.stdout.flush()
        else:
            page = ledger.read(UsageQuery(), PageRequest(limit=rows, newest_first=True))
            strays = sum(_is_stray(event) for event in read_all(ledger, UsageQuery()))
            _table(page.events, ledger.totals(UsageQuery()), strays)
    finally:
        ledger.close()
    return 0


def _is_stray(event: UsageEvent) -> bool:
    """Whether it accounts for what was heard or made and belonged to no turn."""
    return event.request_id.endswith(":unclaimed")


def _table(events: tuple[UsageEvent, ...], totals: UsageTotals, strays: int) -> None:
    from rich.table import Table  # noqa: PLC0415

    from metering.report import seconds, timestamp  # noqa: PLC0415
    from server.cli.console import console  # noqa: PLC0415

    table = Table(box=None, padding=(0, 1), show_footer=True)
    columns = {
        "started": "total",
        "agent": f"{totals.events - strays} turns",
        "lane": "",
        "heard s": str(seconds(totals.audio_ms_in)),
        "spoken s": str(seconds(totals.audio_ms_out)),
        "tokens in": str(totals.input_tokens),
        "out": str(totals.output_tokens),
        "tools": str(totals.tool_calls),
        "total ms": "",
        "": f"{totals.failed} failed" if totals.failed else "",
    }
    for title, footer in columns.items():
        table.add_column(title, footer, justify="left" if title in {"started", "agent", "lane", ""} else "right")
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
            event.error_code or ("no turn" if _is_stray(event) else "interrupted" if event.interrupted else ""),
        )
    console().print(table)
