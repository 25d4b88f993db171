"""``convergio-voice quotas``: how budgets and quotas stand, setting them, and letting somebody go on for a while.

Works on the records this machine's settings name, beside a server that runs, which sees a change within seconds.
Every change is in the audit log.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import click

from metering.budgets.limits import Scope
from server.budget_settings import PublicMeasure, PublicPeriod

if TYPE_CHECKING:
    from metering.records import Records
    from server.contracts.budgets import BudgetReport
    from server.offices import Offices
    from server.settings import Settings

_CONFIG = click.option(
    "--config", type=click.Path(path_type=Path), help="Settings file. Default: convergio.toml if it exists"
)
_DATA_DIR = click.option("--data-dir", type=click.Path(path_type=Path), help="Where the records live.")
_TENANT = click.option("--tenant", default="local", show_default=True, help="Whose.")
_USER = click.option("--user", default=None, help="Which user of the tenant.")


@click.group("quotas")
def command() -> None:
    """What may be spent: limits in money and in units, by the day and by the month."""


@command.command("show")
@_CONFIG
@_DATA_DIR
@_TENANT
@_USER
@click.option("--json", "as_json", is_flag=True, help="As GET /v1/budgets answers.")
def show(config: Path | None, data_dir: Path | None, tenant: str, user: str | None, *, as_json: bool) -> int:
    """How the limits of a tenant (or one of its users) stand."""

    async def work(offices: Offices) -> BudgetReport:
        from server.budgets.view import report  # noqa: PLC0415 - commands import late

        return await report(offices.budgets, tenant, user or tenant, "cli", everybodys=True)

    found = cast("BudgetReport", _with_offices(config, data_dir, work))
    if as_json:
        from server.cli.console import print_json  # noqa: PLC0415

        print_json(found.model_dump(exclude_none=True, mode="json"))
    else:
        _table(found)
    return 0


@command.command("set")
@click.argument("scope", type=click.Choice(get_args(Scope)))
@click.argument("period", type=click.Choice(get_args(PublicPeriod)))
@click.argument("measure", type=click.Choice(get_args(PublicMeasure)))
@click.argument("amount")
@_CONFIG
@_DATA_DIR
@_TENANT
@_USER
def set_limit(scope: Scope, period: PublicPeriod, measure: PublicMeasure, amount: str, **where: Any) -> int:
    """Set a limit to AMOUNT (currency units, seconds, tokens or turns), or to none: AMOUNT "none"."""
    from pydantic import ValidationError  # noqa: PLC0415

    from server.contracts.budgets import BudgetLimitChange  # noqa: PLC0415

    try:
        wanted = BudgetLimitChange(
            scope=scope,
            user_id=where["user"],
            period=period,
            measure=measure,
            amount=None if amount == "none" else amount,
        )
    except ValidationError as error:
        raise click.ClickException(f'{amount} is no amount such as 12.50, and not "none".') from error

    async def work(offices: Offices) -> None:
        from server.audit import AuditEntry  # noqa: PLC0415
        from server.budgets.view import change_of  # noqa: PLC0415
        from server.guard import OPERATOR_AT_TERMINAL  # noqa: PLC0415

        details = wanted.model_dump(mode="json")
        entry = AuditEntry(OPERATOR_AT_TERMINAL, "budget.limits_changed", where["tenant"], "", details, "cli")
        await offices.require_tenant(where["tenant"])
        await offices.budgets.rules.change((change_of(wanted),), entry)

    _with_offices(where["config"], where["data_dir"], work)
    click.echo(f"{scope} {period} {measure}: {amount}")
    return 0


@command.command("override")
@click.option("--minutes", type=click.IntRange(1, 44_640), required=True, help="For how long.")
@click.option("--percent", type=click.IntRange(111, 1_000), default=150, show_default=True, help="Of the limits.")
@click.option("--reason", required=True, help="For the audit log.")
@click.option("--scope", type=click.Choice(get_args(Scope)), default="tenant", show_default=True)
@_CONFIG
@_DATA_DIR
@_TENANT
@_USER
def override(minutes: int, percent: int, reason: str, scope: Scope, **where: Any) -> int:
    """Let a tenant (a user, everybody) go on beyond the end of its limits."""
    tenant, user = where["tenant"], where["user"]
    if (scope == "user") != (user is not None):
        raise click.ClickException("--user goes with --scope user, and with it only.")

    async def work(offices: Offices) -> str:
        from metering.budgets.limits import Override  # noqa: PLC0415
        from server.audit import AuditEntry  # noqa: PLC0415
        from server.budgets.rules import new_override_id  # noqa: PLC0415
        from server.guard import OPERATOR_AT_TERMINAL  # noqa: PLC0415

        name, until_ms = new_override_id(), offices.budgets.epoch_ms() + minutes * 60_000
        whose = "" if scope == "global" else tenant
        stands = Override(name, scope, whose, user or "", percent, until_ms, reason)
        details = {"scope": scope, "percent": percent, "minutes": minutes, "reason": reason}
        if user is not None:
            details["user_id"] = user
        entry = AuditEntry(OPERATOR_AT_TERMINAL, "budget.override_given", tenant, name, details, "cli")
        await offices.require_tenant(tenant)
        await offices.budgets.rules.override(stands, entry)
        return name

    click.echo(f"{_with_offices(where['config'], where['data_dir'], work)}: up to {percent} % for {minutes} minutes")
    return 0


def _with_offices(config: Path | None, data_dir: Path | None, work: Callable[[Offices], Awaitable[Any]]) -> Any:
    """Run it on the records the settings name; of the offices only budgets are at work, so no key is made."""
    from server.cli.records_work import epoch_ms, with_records  # noqa: PLC0415
    from server.offices import Offices  # noqa: PLC0415

    async def run(settings: Settings, records: Records) -> Any:
        offices = Offices(settings, records, epoch_ms)
        await offices.privacy.retention.refresh()  # tenants that are no more, but have chosen
        try:
            return await work(offices)
        finally:
            await offices.budgets.store.aclose()

    return with_records(config, data_dir, run)


def _table(found: BudgetReport) -> None:
    from rich.table import Table  # noqa: PLC0415

    from server.cli.console import console  # noqa: PLC0415

    if not found.budgets:
        click.echo(f"There are no limits for {found.tenant_id}.")
    table = Table(box=None, padding=(0, 1))
    for title in ("scope", "period", "measure", "used", "reserved", "limit", "%", "state", "ends at"):
        table.add_column(title, justify="right" if title in {"used", "reserved", "limit", "%", "ends at"} else "left")
    for item in found.budgets:
        measure = f"{item.measure} {item.currency}" if item.currency else item.measure
        amounts = (item.used, item.reserved, item.limit, str(item.used_percent))
        table.add_row(item.scope, item.period, measure, *amounts, item.state, f"{item.ends_at_percent} %")
    if found.budgets:
        console().print(table)
    for stands in found.overrides:
        click.echo(f"override {stands.override_id}: {stands.scope} up to {stands.percent} % ({stands.reason})")
