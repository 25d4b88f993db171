"""What several commands share: options that name the database, and rows as a table or as JSON Lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click


def database_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--config`` and ``--data-dir``."""
    config = click.option(
        "--config", type=click.Path(path_type=Path), help="Settings file. Default: convergio.toml if it exists"
    )
    data_dir = click.option("--data-dir", type=click.Path(path_type=Path), help="Where the database lives.")
    return config(data_dir(command))


def said_as(entry: Any) -> dict[str, Any]:
    """A dataclass as JSON's values, without what is not there."""
    return {name: value for name, value in asdict(entry).items() if value is not None}


def moment(epoch_ms: int | None) -> str:
    """A moment for people, in UTC; empty where there is none."""
    if not epoch_ms:
        return ""
    return datetime.fromtimestamp(epoch_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """A table of these columns, or every row as one JSON object."""
    if as_json:
        for row in rows:
            sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
        return
    from rich.markup import escape  # noqa: PLC0415 - slow to import
    from rich.table import Table  # noqa: PLC0415

    from server.cli.console import console  # noqa: PLC0415

    table = Table(box=None, padding=(0, 1))
    for name in columns:
        table.add_column(name.removesuffix("_at_ms").replace("_", " "))
    for row in rows:
        table.add_row(*(escape(_cell(name, row.get(name))) for name in columns))
    console().print(table)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    return moment(value) if name.endswith("_at_ms") or name == "at_ms" else str(value)
