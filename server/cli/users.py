"""``convergio-voice users``: who belongs to which tenant, on the server's own database.

Passwords are never arguments, which other users of the machine could read.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from server.cli.common import database_options, print_rows, said_as

if TYPE_CHECKING:
    from server.identity.entries import UserEntry
    from server.identity.user_book import UserChange

ROLES: Final = ("owner", "admin", "member", "service")
MIN_PASSWORD_CHARS: Final = 10


@click.group("users")
def command() -> None:
    """Make, list, disable and enable users; set passwords."""


@command.command("create")
@database_options
@click.option("--name", required=True, help="For people to read.")
@click.option("--tenant", default="default", show_default=True)
@click.option("--role", type=click.Choice(ROLES), default="member", show_default=True)
@click.option("--login", help="The name they log in by; a password is asked for then (or read from stdin).")
def create(*, config: Path | None, data_dir: Path | None, **given: Any) -> int:
    """Make a user."""
    from server.cli.records_work import Books, with_books  # noqa: PLC0415 - commands import late
    from server.guard import OPERATOR_AT_TERMINAL  # noqa: PLC0415
    from server.identity.passwords import hash_password  # noqa: PLC0415
    from server.identity.user_book import NewUser  # noqa: PLC0415

    login = given["login"]
    password = None if login is None else hash_password(_password())
    wanted = NewUser(given["tenant"], given["role"], given["name"], login, password)

    async def work(books: Books) -> UserEntry:
        return await books.identity.users.create(OPERATOR_AT_TERMINAL, wanted)

    click.echo(f"{with_books(config, data_dir, work).user_id} was made.")
    return 0


@command.command("list")
@database_options
@click.option("--tenant", help="Only this one's.")
@click.option("--json", "as_json", is_flag=True)
def list_users(*, config: Path | None, data_dir: Path | None, tenant: str | None, as_json: bool) -> int:
    """List users."""
    from server.cli.records_work import Books, with_books  # noqa: PLC0415

    async def work(books: Books) -> list[UserEntry]:
        found: list[UserEntry] = []
        while page := await books.identity.users.list(tenant, found[-1].user_id if found else ""):
            found += page
        return found

    rows = [said_as(entry) for entry in with_books(config, data_dir, work)]
    columns = ("user_id", "tenant_id", "name", "role", "login_name", "created_at_ms", "disabled_at_ms")
    print_rows(rows, columns, as_json=as_json)
    return 0


@command.command("password")
@database_options
@click.argument("user_id")
def password(*, config: Path | None, data_dir: Path | None, user_id: str) -> int:
    """Set a user's password (asked for, or read from stdin); their sessions end."""
    from server.identity.passwords import hash_password  # noqa: PLC0415
    from server.identity.user_book import UserChange  # noqa: PLC0415

    return _change(config, data_dir, user_id, UserChange(password=hash_password(_password())), "has a new password")


@command.command("role")
@database_options
@click.argument("user_id")
@click.argument("role", type=click.Choice(ROLES))
def role(*, config: Path | None, data_dir: Path | None, user_id: str, role: Any) -> int:
    """Give a user another role."""
    from server.identity.user_book import UserChange  # noqa: PLC0415

    return _change(config, data_dir, user_id, UserChange(role=role), f"is {role}")


@command.command("disable")
@database_options
@click.argument("user_id")
def disable(*, config: Path | None, data_dir: Path | None, user_id: str) -> int:
    """Close the door to a user; their sessions, keys and conversations end."""
    from server.identity.user_book import UserChange  # noqa: PLC0415

    return _change(config, data_dir, user_id, UserChange(disabled=True), "is disabled")


@command.command("enable")
@database_options
@click.argument("user_id")
def enable(*, config: Path | None, data_dir: Path | None, user_id: str) -> int:
    """Open the door again."""
    from server.identity.user_book import UserChange  # noqa: PLC0415

    return _change(config, data_dir, user_id, UserChange(disabled=False), "is enabled")


def _change(config: Path | None, data_dir: Path | None, user_id: str, change: UserChange, words: str) -> int:
    from server.cli.records_work import Books, with_books  # noqa: PLC0415
    from server.guard import OPERATOR_AT_TERMINAL  # noqa: PLC0415

    async def work(books: Books) -> UserEntry:
        return await books.identity.users.change(OPERATOR_AT_TERMINAL, user_id, change, tenant_id=None)

    click.echo(f"{with_books(config, data_dir, work).user_id} {words}.")
    return 0


def _password() -> str:
    """Typed twice at a terminal; else the first line of stdin."""
    if sys.stdin.isatty():
        chosen = str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    else:
        chosen = sys.stdin.readline().rstrip("\r\n")
    if len(chosen) < MIN_PASSWORD_CHARS:
        raise click.ClickException(f"A password has at least {MIN_PASSWORD_CHARS} characters.")
    return chosen
