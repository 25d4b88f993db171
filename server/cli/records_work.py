"""One piece of work on the records, for a command: the same books as the server's, on the same database.

Imports the database, so commands import this only when they need it. A server that runs beside sees what was changed
within seconds.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import anyio
import click

from metering.records import Records
from server.audit import AuditLog
from server.errors import Refused
from server.identity import IdentityOffice
from server.offices import open_records
from server.settings import Settings, load_settings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Books:
    """What a command works with."""

    identity: IdentityOffice
    audit: AuditLog


def with_books(config: Path | None, data_dir: Path | None, work: Callable[[Books], Awaitable[T]]) -> T:
    """Do some work on the books of these settings. Raises as ``with_records``."""

    async def run(settings: Settings, records: Records) -> T:
        audit = AuditLog(records, epoch_ms)
        return await work(Books(IdentityOffice(settings, records, audit, epoch_ms, time.monotonic), audit))

    return with_records(config, data_dir, run)


def with_records(config: Path | None, data_dir: Path | None, work: Callable[[Settings, Records], Awaitable[T]]) -> T:
    """Do some work on the records of these settings. Raises SettingsError, RecordsError, ClickException (a refusal)."""
    settings = load_settings(config, data_dir=data_dir)
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    records = open_records(settings)
    try:
        return anyio.run(work, settings, records)
    except Refused as refused:
        raise click.ClickException(str(refused)) from refused
    finally:
        records.close()


def epoch_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000
