"""``convergio-voice audit``: what was done to this server by whom, and whether the log is as it was written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from server.cli.common import database_options, print_rows, said_as

if TYPE_CHECKING:
    from server.audit import AuditRecord


@click.group("audit")
def command() -> None:
    """Read and verify the audit log."""


@command.command("list")
@database_options
@click.option("--tenant", help="Only what was done in this one.")
@click.option("--action", default="", help="Only actions that begin like this, such as api_key.")
@click.option("--actor", help="Only what this user or key did.")
@click.option("--last", type=click.IntRange(1), default=50, show_default=True, help="Newest rows shown.")
@click.option("--json", "as_json", is_flag=True)
def list_entries(*, config: Path | None, data_dir: Path | None, as_json: bool, last: int, **given: Any) -> int:
    """Show what was done, the newest last."""
    from server.audit import AuditQuery  # noqa: PLC0415 - commands import late
    from server.cli.records_work import Books, with_books  # noqa: PLC0415

    query = AuditQuery(given["tenant"], given["action"], given["actor"], newest_first=True, limit=last)

    async def work(books: Books) -> list[AuditRecord]:
        return await books.audit.find(query)

    rows = [said_as(row) for row in reversed(with_books(config, data_dir, work))]
    columns = ("sequence", "at_ms", "tenant_id", "actor_id", "action", "target", "details")
    print_rows(rows, columns, as_json=as_json)
    return 0


@command.command("verify")
@database_options
def verify(*, config: Path | None, data_dir: Path | None) -> int:
    """Check the whole chain; exit code 1 where a row does not fit."""
    from server.cli.records_work import Books, with_books  # noqa: PLC0415

    async def work(books: Books) -> int | None:
        return await books.audit.verify()

    bad = with_books(config, data_dir, work)
    if bad is not None:
        click.echo(f"Row {bad} does not fit: it, or a row before it, was changed or taken out.", err=True)
        return 1
    click.echo("The audit log is as it was written.")
    return 0
