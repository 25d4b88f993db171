"""``convergio-voice webhooks``: how usage events go out, and sending some again.

Works on the records and the ledger directly; a server that runs takes up what changes within a second or so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from metering.ledger import Ledger
    from server.offices import Offices
    from server.settings import Settings
    from server.webhook_settings import WebhookEndpoint

MOST_BACKLOG: Final = 100_000
SHOWN_LETTERS: Final = 20
_CONFIG = click.option(
    "--config", type=click.Path(path_type=Path), help="Settings file. Default: convergio.toml if it exists"
)
_DATA_DIR = click.option("--data-dir", type=click.Path(path_type=Path), help="Where records and ledger live.")


@dataclass(frozen=True, slots=True)
class _Open:
    """What the commands work with."""

    settings: Settings
    ledger: Ledger
    offices: Offices


@click.group("webhooks")
def command() -> None:
    """Usage events to receivers of yours."""


@command.command("status")
@_CONFIG
@_DATA_DIR
@click.option("--json", "as_json", is_flag=True, help="As one JSON document.")
def status(config: Path | None, data_dir: Path | None, *, as_json: bool) -> int:
    """How every receiver stands: what waits, what failed and why, dead letters."""
    from server.cli.console import print_json  # noqa: PLC0415 - commands import late

    with _opened(config, data_dir) as on:
        told = [_status(on, endpoint) for endpoint in on.settings.webhooks.endpoints]
    if as_json:
        print_json(told)
    elif not told:
        click.echo("No receivers are set (webhooks.endpoints).")
    else:
        _show(told)
    return 0


@command.command("resend")
@click.argument("endpoint")
@_CONFIG
@_DATA_DIR
@click.option("--since", help="Everything recorded from the first turn on that began then: a span (24h) or RFC 3339.")
def resend(endpoint: str, config: Path | None, data_dir: Path | None, since: str | None) -> int:
    """Send ENDPOINT's dead letters again, or (--since) all events: receivers know them by their ids."""
    from server.webhooks import store  # noqa: PLC0415

    with _opened(config, data_dir) as on:
        known = _known(on, endpoint)
        if since is None:
            number = _noted(
                on, "webhook.resend", endpoint, {}, lambda connection: store.resend_letters(connection, endpoint)
            )
            click.echo(
                "1 dead letter will be sent again." if number == 1 else f"{number} dead letters will be sent again."
            )
            return 0
        place = _place(on, known, since)
        moved = _noted(on, "webhook.resend", endpoint, {"since": since}, lambda at: store.rewind(at, endpoint, place))
        click.echo("They will be sent again." if moved else "None of these have been sent yet.")
    return 0


@command.command("enable")
@click.argument("endpoint")
@_CONFIG
@_DATA_DIR
def enable(endpoint: str, config: Path | None, data_dir: Path | None) -> int:
    """Go on with ENDPOINT where it stood when it was disabled, or try it again at once."""
    from server.webhooks import store  # noqa: PLC0415

    with _opened(config, data_dir) as on:
        _known(on, endpoint)
        _noted(on, "webhook.enabled", endpoint, {}, lambda connection: store.enable(connection, endpoint))
    click.echo(f"{endpoint} is enabled.")
    return 0


@contextmanager
def _opened(config: Path | None, data_dir: Path | None) -> Generator[_Open]:
    from server.ledgers import open_ledger  # noqa: PLC0415
    from server.offices import Offices, open_records  # noqa: PLC0415
    from server.settings import load_settings  # noqa: PLC0415

    settings = load_settings(config, data_dir=data_dir)
    if settings.ledger.url is None and not settings.ledger_path.is_file():
        raise click.ClickException(f"Nothing was used yet: there is no ledger at {settings.ledger_path}.")
    records = open_records(settings)
    ledger = open_ledger(settings)
    try:
        yield _Open(settings, ledger, Offices(settings, records, lambda: time.time_ns() // 1_000_000))
    finally:
        ledger.close()
        records.close()


def _known(on: _Open, endpoint: str) -> WebhookEndpoint:
    from server.webhooks import store  # noqa: PLC0415

    found = next((each for each in on.settings.webhooks.endpoints if each.id == endpoint), None)
    if found is None:
        raise click.ClickException(f"There is no receiver called {endpoint} in the settings.")
    with on.offices.records.read() as connection:
        if store.progress(connection, endpoint) is None:
            raise click.ClickException(f"{endpoint} has not begun yet: start the server.")
    return found


def _noted(on: _Open, action: str, endpoint: str, details: dict[str, Any], work: Callable[[Connection], Any]) -> Any:
    """The work and its line in the audit log, both or neither."""
    from server.audit import AuditEntry  # noqa: PLC0415
    from server.guard import OPERATOR_AT_TERMINAL  # noqa: PLC0415

    with on.offices.records.write() as connection:
        result = work(connection)
        entry = AuditEntry(OPERATOR_AT_TERMINAL, action, OPERATOR_AT_TERMINAL.tenant_id, endpoint, details)
        on.offices.audit.append(connection, entry)
    return result


def _place(on: _Open, endpoint: WebhookEndpoint, since: str) -> int:
    """The place before the first event, by recording, that began at that moment or later."""
    from metering.ledger import PageRequest, UsageQuery  # noqa: PLC0415
    from server.latency_view import BadFilter  # noqa: PLC0415
    from server.usage_filters import moment_ms  # noqa: PLC0415

    try:
        began = moment_ms(since, "--since", time.time_ns() // 1_000_000)
    except BadFilter as error:
        raise click.ClickException(str(error)) from error
    query = UsageQuery(endpoint.tenant, started_from=began, replaced=True)
    first = on.ledger.read(query, PageRequest(limit=1))
    if not first.sequences:
        raise click.ClickException("There are no such events.")
    return first.sequences[0] - 1


def _status(on: _Open, endpoint: WebhookEndpoint) -> dict[str, Any]:
    from metering.ledger import UsageQuery  # noqa: PLC0415
    from metering.report import timestamp  # noqa: PLC0415
    from server.webhooks import store  # noqa: PLC0415

    with on.offices.records.read() as connection:
        at = store.progress(connection, endpoint.id)
        dead = store.letter_count(connection, endpoint.id)
        letters = store.letters(connection, endpoint.id, limit=SHOWN_LETTERS)
    told: dict[str, Any] = {"id": endpoint.id, "url": endpoint.url, "state": "not begun", "dead_letters": dead}
    if at is None:
        return told
    query = UsageQuery(endpoint.tenant, replaced=True)
    return told | {
        "state": "failing" if at.state == store.ACTIVE and at.attempts else at.state,
        "waiting": on.ledger.backlog(query, at.position, MOST_BACKLOG),
        "attempts": at.attempts,
        "next_attempt": timestamp(at.next_attempt_ms) if at.next_attempt_ms else None,
        "last_delivered": timestamp(at.delivered_ms) if at.delivered_ms else None,
        "reason": at.reason or None,
        "letters": [
            {"event_id": letter.event_id, "attempts": letter.attempts, "reason": letter.reason} for letter in letters
        ],
    }


def _show(told: list[dict[str, Any]]) -> None:
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from server.cli.console import console  # noqa: PLC0415

    table = Table(box=None, padding=(0, 1))
    titles = ("receiver", "state", "waiting", "dead letters", "attempts", "next attempt", "last delivered", "reason")
    for title in titles:
        table.add_column(title)
    for each in told:
        names = ("id", "state", "waiting", "dead_letters", "attempts", "next_attempt", "last_delivered", "reason")
        table.add_row(*(escape(str("" if each.get(name) is None else each[name])) for name in names))
    console().print(table)
    for each in told:
        for letter in each.get("letters", ()):
            words = f"dead letter {letter['event_id']} after {letter['attempts']} attempts: {letter['reason']}"
            click.echo(f"{each['id']}: {words}")
