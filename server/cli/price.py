"""``convergio-voice price``: check price sheets, list the prices that count, close a month."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from metering.pricing.cost import CostLine
    from metering.pricing.sheets import PriceSheet
    from server.settings import Settings

_CONFIG = click.option(
    "--config", type=click.Path(path_type=Path), help="Settings file. Default: convergio.toml if it exists"
)
_DATA_DIR = click.option("--data-dir", type=click.Path(path_type=Path), help="Where the usage ledger lives.")


@click.group("price")
def command() -> None:
    """What usage costs: dated sheets, and closed months."""


@command.command("check")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True))
@_CONFIG
def check(paths: tuple[Path, ...], config: Path | None) -> int:
    """Check price sheets: PATHS (files or directories), or those the settings name."""
    from metering.errors import PriceSheetError  # noqa: PLC0415 - commands import late
    from metering.pricing.book import PriceBook  # noqa: PLC0415
    from metering.pricing.sheets import packaged_sheets, read_sheet  # noqa: PLC0415

    directory = None if paths else _settings(config).ledger.price_sheets
    wanted = paths or (() if directory is None else (directory,))
    sheets = list(packaged_sheets())
    problems: list[str] = []
    for file in _files(wanted):
        try:
            sheets.append(read_sheet(file))
        except PriceSheetError as error:
            problems += error.problems
    if not problems:
        try:
            PriceBook(sheets)
        except PriceSheetError as error:
            problems += error.problems
    for problem in problems:
        click.echo(problem, err=True)
    for sheet in sheets:
        click.echo(_summary(sheet))
    return 1 if problems else 0


@command.command("list")
@_CONFIG
def listing(config: Path | None) -> int:
    """List every price that is known, and whether it counts."""
    from rich.table import Table  # noqa: PLC0415

    from server.cli.console import console  # noqa: PLC0415
    from server.ledgers import price_book, price_sheets  # noqa: PLC0415

    settings = _settings(config)
    price_book(settings)  # contradictions are errors here too
    table = Table(box=None, padding=(0, 1))
    for title in ("provider", "model", "meter", "price", "", "from", "until", "status", "sheet"):
        table.add_column(title, justify="right" if title == "price" else "left")
    for sheet in price_sheets(settings):
        until = "" if sheet.valid_until is None else sheet.valid_until.isoformat()
        for price in sheet.prices:
            per = f"{sheet.currency} / {price.per}" + (", whole seconds" if price.rounding == "second" else "")
            dates = (sheet.valid_from.isoformat(), until)
            row = (sheet.provider, price.model, price.meter, f"{price.price:f}", per, *dates, sheet.status, sheet.name)
            table.add_row(*row)
    console().print(table)
    return 0


@command.command("close")
@click.argument("period", metavar="MONTH")
@_CONFIG
@_DATA_DIR
@click.option("--json", "as_json", is_flag=True, help="The statement as one JSON document.")
def close(period: str, config: Path | None, data_dir: Path | None, *, as_json: bool) -> int:
    """Close a MONTH (2026-09): its cost never changes again. Shows the statement, also of one closed before."""
    from dataclasses import asdict  # noqa: PLC0415

    from metering.pricing.closing import close_month  # noqa: PLC0415
    from server.cli.console import print_json  # noqa: PLC0415
    from server.ledgers import open_ledger, price_book  # noqa: PLC0415

    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", period):
        raise click.ClickException(f"{period} is not a month such as 2026-09.")
    settings = _settings(config, data_dir=data_dir)
    ledger = open_ledger(settings)
    try:
        closed = {closing.period for closing in ledger.closings()}
        statement = close_month(ledger, period, price_book(settings), time.time_ns() // 1_000_000)
    finally:
        ledger.close()
    if period not in closed:
        _note_closed(config, data_dir, period)
    if as_json:
        print_json({"period": statement.period, "lines": [asdict(line) for line in statement.lines]})
    else:
        _show(statement.lines)
    return 0


def _note_closed(config: Path | None, data_dir: Path | None, period: str) -> None:
    """A line of the audit log: like everything else an operator decides."""
    from server.audit import AuditEntry  # noqa: PLC0415
    from server.cli.records_work import with_books  # noqa: PLC0415
    from server.guard import OPERATOR_AT_TERMINAL  # noqa: PLC0415

    tenant_id = OPERATOR_AT_TERMINAL.tenant_id
    entry = AuditEntry(OPERATOR_AT_TERMINAL, "period.closed", tenant_id, period, {}, "cli")
    with_books(config, data_dir, lambda books: books.audit.record(entry))


def _settings(config: Path | None, **overrides: Any) -> Settings:
    from server.settings import load_settings  # noqa: PLC0415

    return load_settings(config, **overrides)


def _files(paths: tuple[Path, ...]) -> list[Path]:
    return [file for path in paths for file in (sorted(path.glob("*.toml")) if path.is_dir() else [path])]


def _summary(sheet: PriceSheet) -> str:
    number = len(sheet.prices)
    counted = "" if sheet.status == "confirmed" else " (an example: not counted with until its status is confirmed)"
    prices = "1 price" if number == 1 else f"{number} prices"
    return f"{sheet.name}: {sheet.provider}, {prices} in {sheet.currency} from {sheet.valid_from}{counted}"


def _show(lines: tuple[CostLine, ...]) -> None:
    from rich.table import Table  # noqa: PLC0415

    from metering.pricing.cost import money, totals_by_currency  # noqa: PLC0415
    from server.cli.console import console  # noqa: PLC0415

    table = Table(box=None, padding=(0, 1))
    for title in ("tenant", "lane", "provider", "model", "meter", "amount", "cost", ""):
        table.add_column(title, justify="right" if title in {"amount", "cost"} else "left")
    for line in lines:
        cost = "no price" if line.micros is None else str(money(line.micros))
        names = (line.tenant_id, line.mode, line.provider, line.model, line.meter)
        table.add_row(*names, str(line.amount), cost, line.currency or "")
    console().print(table)
    for currency, micros in totals_by_currency(lines).items():
        console().print(f"total {money(micros)} {currency}")
