"""``convergio-voice tenants``: who there is, on the server's own database; those of the settings are listed, too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from server.cli.common import database_options, print_rows, said_as

if TYPE_CHECKING:
    from server.identity.entries import TenantEntry


@click.group("tenants")
def command() -> None:
    """Make, list, disable and enable tenants."""


@command.command("create")
@database_options
@click.argument("tenant_id")
@click.option("--type", "kind", type=click.Choice(["consumer", "school", "business"]), required=True)
@click.option("--name", help="For people to read. Default: the id")
def create(*, config: Path | None, data_dir: Path | None, tenant_id: str, kind: str, name: str | None) -> int:
    """Make a tenant."""
    from pydantic import ValidationError  # noqa: PLC0415 - commands import late

    from server.cli.records_work import Books, with_books  # noqa: PLC0415
    from server.contracts.identity import TenantRequest  # noqa: PLC0415
    from server.guard import OPERATOR_AT_TERMINAL  # noqa: PLC0415
    from server.identity.tenant_book import NewTenant  # noqa: PLC0415

    try:
        asked = TenantRequest.model_validate({"tenant_id": tenant_id, "type": kind, "name": name or tenant_id})
    except ValidationError as error:
        raise click.ClickException("A tenant's id has small letters, digits, - and _, at most 63.") from error

    async def work(books: Books) -> TenantEntry:
        wanted = NewTenant(asked.type, asked.name, asked.tenant_id)
        return await books.identity.tenants.create(OPERATOR_AT_TERMINAL, wanted)

    click.echo(f"{with_books(config, data_dir, work).tenant_id} was made.")
    return 0


@command.command("list")
@database_options
@click.option("--json", "as_json", is_flag=True)
def list_tenants(*, config: Path | None, data_dir: Path | None, as_json: bool) -> int:
    """List all of them."""
    from server.cli.records_work import Books, with_books  # noqa: PLC0415

    async def work(books: Books) -> tuple[TenantEntry, ...]:
        return await books.identity.tenants.list()

    rows = [said_as(entry) for entry in with_books(config, data_dir, work)]
    columns = ("tenant_id", "type", "name", "source", "created_at_ms", "disabled_at_ms")
    print_rows(rows, columns, as_json=as_json)
    return 0


@command.command("disable")
@database_options
@click.argument("tenant_id")
def disable(*, config: Path | None, data_dir: Path | None, tenant_id: str) -> int:
    """Close a tenant to all of its keys and users; their conversations end."""
    return _set(config, data_dir, tenant_id, disabled=True)


@command.command("enable")
@database_options
@click.argument("tenant_id")
def enable(*, config: Path | None, data_dir: Path | None, tenant_id: str) -> int:
    """Open a tenant again."""
    return _set(config, data_dir, tenant_id, disabled=False)


def _set(config: Path | None, data_dir: Path | None, tenant_id: str, *, disabled: bool) -> int:
    from server.cli.records_work import Books, with_books  # noqa: PLC0415
    from server.guard import OPERATOR_AT_TERMINAL  # noqa: PLC0415

    async def work(books: Books) -> TenantEntry:
        return await books.identity.tenants.change(OPERATOR_AT_TERMINAL, tenant_id, disabled=disabled)

    with_books(config, data_dir, work)
    click.echo(f"{tenant_id} is {'disabled' if disabled else 'enabled'}. Running servers heed it within seconds.")
    return 0
