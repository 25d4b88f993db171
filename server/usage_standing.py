"""How a tenant's budgets stand, where the server has budgets: the bridge from their office to the usage answers.

Knows of that office only that it answers ``standing(tenant_id, user_id)``; while there is none, nothing is told.
"""

from __future__ import annotations

from typing import Any

from server.contracts.usage_reports import BudgetLine
from server.guard import Identity
from server.offices import Offices
from server.permissions import Permission


async def standing(
    offices: Offices, caller: Identity, tenant_id: str, user_id: str | None
) -> tuple[BudgetLine, ...] | None:
    """The limits that hold for a tenant, or for one person of it; None where the server has no budgets.

    Limits over all tenants are the operator's to know.
    """
    budgets: Any = getattr(offices, "budgets", None)
    if budgets is None:
        return None
    shown = {"tenant"} if user_id is None else {"tenant", "user"}
    if caller.may(Permission.OPERATE):
        shown.add("global")
    told = await budgets.standing(tenant_id, user_id or "")
    return tuple(_line(each, budgets.prices.currency) for each in told if each.limit.scope in shown)


def _line(each: Any, currency: str) -> BudgetLine:
    return BudgetLine(
        scope=each.limit.scope,
        period=each.limit.period,
        measure=each.limit.measure,
        used=each.used,
        reserved=each.reserved,
        limit=each.limit.amount,
        percent=each.percent,
        ends_at_percent=each.ends_at_percent,
        state=each.state,
        currency=currency if each.limit.measure == "money" else None,
    )
