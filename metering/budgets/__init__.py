"""Budgets and quotas: what may be spent, reserved before it is spent and settled by what the ledger holds."""

from typing import Final

from metering.records.area import Area

BUDGETS: Final = Area("budgets", "metering.budgets.versions", "budgets_0001")
