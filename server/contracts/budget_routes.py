"""The HTTP routes of budgets and quotas, as data: part of ``server.contracts.http_routes``."""

from __future__ import annotations

from typing import Final

from server.contracts.budgets import BudgetChange, BudgetReport, OverrideAnswer, OverrideRequest
from server.contracts.errors import ErrorCode
from server.contracts.http_route import HttpRoute, QueryParameter

_BUDGET_ERRORS: Final = (ErrorCode.REQUEST_INVALID, ErrorCode.REQUEST_TOO_LARGE, ErrorCode.SERVER_OVERLOADED)
_WHOSE_BUDGETS: Final = (
    QueryParameter("tenant", "Another tenant than one's own; for the operator alone.", {"type": "string"}),
)
BUDGET_ROUTES: Final[tuple[HttpRoute, ...]] = (
    HttpRoute(
        "get",
        "/v1/budgets",
        "showBudgets",
        "How one's budgets and quotas stand",
        {200: BudgetReport},
        query=(*_WHOSE_BUDGETS, QueryParameter("user", "Another user than oneself.", {"type": "string"})),
        errors=(ErrorCode.REQUEST_INVALID, ErrorCode.SERVER_OVERLOADED),
    ),
    HttpRoute(
        "put",
        "/v1/budgets",
        "changeBudgets",
        "Set limits, whether users are asked beyond a warning, and whose midnight counts",
        {200: BudgetReport},
        request=BudgetChange,
        query=_WHOSE_BUDGETS,
        errors=_BUDGET_ERRORS,
    ),
    HttpRoute(
        "post",
        "/v1/budgets/overrides",
        "overrideBudgets",
        "Let a scope go on beyond the end of its limits, for a while",
        {201: OverrideAnswer},
        request=OverrideRequest,
        success=201,
        query=_WHOSE_BUDGETS,
        errors=_BUDGET_ERRORS,
    ),
    HttpRoute(
        "delete",
        "/v1/budgets/overrides/{override_id}",
        "endOverride",
        "End an override now",
        media_type="",
        success=204,
        query=_WHOSE_BUDGETS,
        errors=(ErrorCode.REQUEST_INVALID, ErrorCode.SERVER_OVERLOADED),
    ),
)
