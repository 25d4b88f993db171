"""``convergio-voice keys``: make, list and revoke API keys, on the server's own database."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from server.cli.common import database_options, moment, print_rows, said_as

if TYPE_CHECKING:
    from server.identity.entries import KeyEntry

DEFAULT_TENANT: Final = "default"
ROLES: Final = ("owner", "admin", "member", "service")
_SPAN: Final = re.compile(r"(\d{1,5})([hd])")
_HOUR_MS: Final = 3_600_000


@click.group("keys")
def command() -> None:
    """Make, list and revoke API keys."""


@command.command("create")
@database_options
@click.option("--name", required=True, help="What it is for.")
@click.option("--tenant", default=DEFAULT_TENANT, show_default=True)
@click.option("--role", type=click.Choice(ROLES), default="service", show_default=True)
@click.option("--user", help="The user it is for, whose role it has then.")
@click.option("--permission", "permissions", multiple=True, help="Narrow it to this (may be given again).")
@click.option("--agent", help="The only agent it may talk to.")
@click.option("--test", is_flag=True, help="A test key: embedded engines only, nothing that costs money.")
@click.option("--expires", help="After so long: 12h, 30d. Default: never")
@click.option("--json", "as_json", is_flag=True)
def create(*, config: Path | None, data_dir: Path | None, as_json: bool, expires: str | None, **given: Any) -> int:
    """Make a key; it is shown this once."""
    from server.cli.records_work import Books, epoch_ms, with_books  # noqa: PLC0415 - commands import late
    from server.guard import OPERATOR_AT_TERMINAL  # noqa: PLC0415
    from server.identity.key_book import NewKey  # noqa: PLC0415
    from server.permissions import Permission  # noqa: PLC0415

    known = {str(each): each for each in Permission}
    unknown = [name for name in given["permissions"] if name not in known]
    if unknown:
        raise click.ClickException(f"There is no permission {unknown[0]}; there are: {', '.join(sorted(known))}.")
    wanted = NewKey(
        tenant_id=given["tenant"],
        name=given["name"],
        role=given["role"],
        user_id=given["user"],
        permissions=tuple(known[name] for name in given["permissions"]) or None,
        agent_id=given["agent"],
        environment="test" if given["test"] else "live",
        expires_at_ms=None if expires is None else epoch_ms() + _span_ms(expires),
    )

    async def work(books: Books) -> tuple[KeyEntry, str]:
        return await books.identity.keys.create(OPERATOR_AT_TERMINAL, wanted)

    entry, value = with_books(config, data_dir, work)
    if as_json:
        print_rows([{"api_key": value, **said_as(entry)}], (), as_json=True)
        return 0
    click.echo(value)
    click.echo(f"{entry.key_id}: this is the only time the key is shown.", err=True)
    return 0


@command.command("list")
@database_options
@click.option("--tenant", help="Only this one's.")
@click.option("--revoked", is_flag=True, help="Revoked ones, too.")
@click.option("--json", "as_json", is_flag=True)
def list_keys(*, config: Path | None, data_dir: Path | None, tenant: str | None, revoked: bool, as_json: bool) -> int:
    """List keys, without what they are."""
    from server.cli.records_work import Books, with_books  # noqa: PLC0415

    async def work(books: Books) -> list[KeyEntry]:
        found: list[KeyEntry] = []
        while page := await books.identity.keys.list(tenant, found[-1].key_id if found else "", revoked=revoked):
            found += page
        return found

    rows = [said_as(entry) for entry in with_books(config, data_dir, work)]
    columns = ("key_id", "tenant_id", "name", "role", "hint", "last_used_at_ms", "expires_at_ms", "revoked_at_ms")
    print_rows(rows, columns, as_json=as_json)
    return 0


@command.command("revoke")
@database_options
@click.argument("key_id")
def revoke(*, config: Path | None, data_dir: Path | None, key_id: str) -> int:
    """End a key, and whatever goes on with it."""
    from server.cli.records_work import Books, with_books  # noqa: PLC0415
    from server.guard import OPERATOR_AT_TERMINAL  # noqa: PLC0415

    async def work(books: Books) -> KeyEntry:
        return await books.identity.keys.revoke(OPERATOR_AT_TERMINAL, key_id, tenant_id=None)

    entry = with_books(config, data_dir, work)
    click.echo(f"{entry.key_id} was revoked at {moment(entry.revoked_at_ms)}. Running servers heed it within seconds.")
    return 0


def _span_ms(text: str) -> int:
    found = _SPAN.fullmatch(text)
    if found is None:
        raise click.ClickException(f"{text} is not a span such as 12h or 30d.")
    return int(found[1]) * _HOUR_MS * (24 if found[2] == "d" else 1)
