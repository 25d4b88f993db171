"""``convergio-voice vault``: how the vault stands, which keys it keeps, and a new master key.

Works on the records themselves, beside running servers. Never shows a key.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from metering.records import Records
    from server.settings import Settings
    from server.vault.master_keys import MasterKeys

_CONFIG = click.option(
    "--config", type=click.Path(path_type=Path), help="Settings file. Default: convergio.toml if it exists"
)
_DATA_DIR = click.option("--data-dir", type=click.Path(path_type=Path), help="Where the records live.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")


@click.group("vault")
def command() -> None:
    """Tenants' own keys at providers, and the master key they are sealed with."""


@command.command("status")
@_CONFIG
@_DATA_DIR
@_JSON
def status(config: Path | None, data_dir: Path | None, *, as_json: bool) -> int:
    """Say whether every key opens. Exit code 1 if any does not."""
    from server.cli.console import print_json  # noqa: PLC0415 - commands import late
    from server.vault.status import vault_status  # noqa: PLC0415

    with _opened(config, data_dir) as (settings, records, masters):
        found = vault_status(settings, records, masters)
    if as_json:
        print_json(found.as_json())
    else:
        for line in found.lines():
            click.echo(line)
    return 0 if found.is_well else 1


@command.command("keys")
@_CONFIG
@_DATA_DIR
@click.option("--tenant", help="Of this tenant only.")
@_JSON
def keys(config: Path | None, data_dir: Path | None, tenant: str | None, *, as_json: bool) -> int:
    """List the keys that are kept, without what they are."""
    from dataclasses import asdict  # noqa: PLC0415

    from rich.table import Table  # noqa: PLC0415

    from server.cli.console import console, print_json  # noqa: PLC0415
    from server.vault.status import all_keys  # noqa: PLC0415

    with _opened(config, data_dir) as (_, records, _masters):
        found = all_keys(records, tenant)
    if as_json:
        print_json([asdict(key) for key in found])
        return 0
    table = Table(box=None, padding=(0, 1))
    for title in ("tenant", "key", "provider", "label", "version", "fingerprint", "status", "last used"):
        table.add_column(title)
    for key in found:
        used = "never" if key.last_used_ms is None else _date(key.last_used_ms)
        about = (key.label, str(key.version), key.fingerprint, key.status, used)
        table.add_row(key.tenant_id, key.key_id, key.provider, *about)
    console().print(table)
    return 0


@command.command("rotate")
@_CONFIG
@_DATA_DIR
@_JSON
def rotate(config: Path | None, data_dir: Path | None, *, as_json: bool) -> int:
    """Change the master key, or finish a change that was broken off; servers may run meanwhile."""
    from dataclasses import asdict  # noqa: PLC0415

    from server.audit import AuditLog  # noqa: PLC0415
    from server.cli.console import print_json  # noqa: PLC0415
    from server.guard import OPERATOR_AT_TERMINAL  # noqa: PLC0415
    from server.vault.rotation import rotate as change  # noqa: PLC0415

    with _opened(config, data_dir) as (_, records, masters):
        done = change(records, masters, AuditLog(records, _epoch_ms), OPERATOR_AT_TERMINAL, _epoch_ms)
    if as_json:
        print_json(asdict(done))
        return 0
    begun = "A change that was broken off is finished" if done.resumed else "There is a new master key"
    click.echo(f"{begun}: {done.master_key_id}. {done.rewrapped} provider keys were wrapped anew.")
    if done.left_over is not None:
        click.echo(f"Left for you to do: {done.left_over}.")
    return 0


@contextmanager
def _opened(config: Path | None, data_dir: Path | None) -> Generator[tuple[Settings, Records, MasterKeys]]:
    from server.offices import open_records  # noqa: PLC0415
    from server.settings import load_settings  # noqa: PLC0415
    from server.vault.key_vault import key_vault  # noqa: PLC0415
    from server.vault.master_keys import MasterKeys  # noqa: PLC0415
    from server.vault.office import master_key_source  # noqa: PLC0415

    settings = load_settings(config, data_dir=data_dir)
    if settings.ledger.url is None and not settings.records_path.exists():
        raise click.ClickException(f"There are no records in {settings.data_dir}: start the server once.")
    keeper = key_vault(settings.vault)
    records = open_records(settings)
    try:
        yield settings, records, MasterKeys(master_key_source(settings, keeper))
    finally:
        records.close()
        if keeper is not None:
            keeper.close()


def _epoch_ms() -> int:
    return time.time_ns() // 1_000_000


def _date(at_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at_ms / 1_000))
