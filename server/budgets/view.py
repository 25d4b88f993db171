"""Budgets in public words, and public words as changes. Driven by the routes, those of budgets and those of usage."""

from __future__ import annotations

from decimal import Decimal

from metering.budgets.limits import SCOPES, Measure, Override, Scope
from server.budget_settings import MEASURE_WORDS, PERIOD_WORDS, UNIT_OF, limit_of, zone
from server.budgets.rules import ANYBODY, LimitChange, Rules
from server.budgets.service import Budgets, Standing
from server.contracts import budgets as public
from server.contracts.errors import ErrorCode
from server.contracts.usage_reports import BudgetLine
from server.errors import Refused


async def report(
    budgets: Budgets, tenant_id: str, user_id: str, request_id: str, *, everybodys: bool = False
) -> public.BudgetReport:
    """How a user's limits stand; ``everybodys`` those over all tenants, too, which are the operator's to know. Raises
    RecordsError, BudgetStoreAway."""
    rules = await budgets.rules.of(tenant_id)
    standings = await budgets.standing(tenant_id, user_id)
    shown = _shown(everybodys=everybodys)
    return public.BudgetReport(
        request_id=request_id,
        tenant_id=tenant_id,
        user_id=user_id,
        consent=rules.consent,
        time_zone=rules.time_zone,
        budgets=tuple(_item(each, budgets.prices.currency) for each in standings if each.limit.scope in shown),
        overrides=_overrides(rules, user_id, budgets.epoch_ms(), shown),
    )


async def usage_lines(
    budgets: Budgets, tenant_id: str, user_id: str | None, *, everybodys: bool = False
) -> tuple[BudgetLine, ...]:
    """How a tenant's limits stand (and a user's), as they are counted; ``everybodys`` as above. Raises RecordsError,
    BudgetStoreAway."""
    standings = await budgets.standing(tenant_id, user_id or "")
    shown = _shown(users=user_id is not None, everybodys=everybodys)
    return tuple(_line(each, budgets.prices.currency) for each in standings if each.limit.scope in shown)


def change_of(wanted: public.BudgetLimitChange) -> LimitChange:
    """A limit to be set. Raises Refused."""
    user_id = (wanted.user_id or ANYBODY) if wanted.scope == "user" else ""
    if wanted.user_id is not None and wanted.scope != "user":
        raise Refused(ErrorCode.REQUEST_INVALID, "limits: user_id goes with the scope user only.")
    try:
        limit = limit_of(wanted.scope, wanted.period, wanted.measure, Decimal(wanted.amount or "0"))
    except ValueError as error:
        raise Refused(ErrorCode.REQUEST_INVALID, f"limits: {error}.") from error
    amount = None if wanted.amount is None else limit.amount
    return LimitChange(wanted.scope, user_id, limit.period, limit.measure, amount)


def checked_zone(name: str | None) -> str | None:
    """A time zone, if it is one. Raises Refused."""
    if name is not None:
        try:
            zone(name)
        except ValueError as error:
            raise Refused(ErrorCode.REQUEST_INVALID, f"time_zone: {error}.") from error
    return name


def override_of(override: Override) -> public.BudgetOverride:
    """An override in public words."""
    return public.BudgetOverride(
        override_id=override.override_id,
        scope=override.scope,
        user_id=override.user_id or None,
        percent=override.percent,
        until_ms=override.until_ms,
        reason=override.reason,
    )


def _shown(*, users: bool = True, everybodys: bool) -> frozenset[Scope]:
    """Which limits somebody may know of: those over all tenants are the operator's."""
    scopes = {"tenant": True, "user": users, "global": everybodys}
    return frozenset[Scope](scope for scope in SCOPES if scopes[scope])


def _overrides(rules: Rules, user_id: str, now_ms: int, shown: frozenset[Scope]) -> tuple[public.BudgetOverride, ...]:
    return tuple(
        override_of(each)
        for each in rules.overrides
        if now_ms < each.until_ms and each.scope in shown and (each.scope != "user" or each.user_id == user_id)
    )


def _item(standing: Standing, currency: str) -> public.BudgetItem:
    limit = standing.limit
    return public.BudgetItem(
        scope=limit.scope,
        period=PERIOD_WORDS[limit.period],
        measure=MEASURE_WORDS[limit.measure],
        currency=currency if limit.measure == "money" else None,
        limit=amount_of(limit.measure, limit.amount),
        used=amount_of(limit.measure, max(0, standing.used)),
        reserved=amount_of(limit.measure, standing.reserved),
        used_percent=max(0, standing.percent),
        state=standing.state,
        ends_at_percent=standing.ends_at_percent,
        window=standing.window.name,
        window_ends_ms=standing.window.ends_ms,
    )


def _line(standing: Standing, currency: str) -> BudgetLine:
    limit = standing.limit
    return BudgetLine(
        scope=limit.scope,
        period=limit.period,
        measure=limit.measure,
        used=max(0, standing.used),
        reserved=standing.reserved,
        limit=limit.amount,
        percent=max(0, standing.percent),
        ends_at_percent=standing.ends_at_percent,
        state=standing.state,
        currency=currency if limit.measure == "money" else None,
    )


def amount_of(measure: Measure, counted: int) -> str:
    """What was counted, in people's units: ``12.5``."""
    whole, rest = divmod(counted, UNIT_OF[measure])
    digits = len(str(UNIT_OF[measure])) - 1
    return f"{whole}.{rest:0{digits}d}".rstrip("0") if rest else str(whole)
