"""Budgets over HTTP: how they stand, and changing them.

Amounts are decimal texts in people's units: the currency's unit, seconds, tokens, turns.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from metering.budgets.limits import BLOCK_PERCENT, MOST_PERCENT, Scope, State
from server.budget_settings import Consent, PublicMeasure, PublicPeriod
from server.contracts.base import Contract, Count, Milliseconds, ServerId

Amount = Annotated[str, StringConstraints(pattern=r"^\d{1,12}(\.\d{1,6})?$")]
UserId = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class BudgetItem(Contract):
    """One limit, and how its day or month stands."""

    scope: Scope
    """Whose: everybody's on this server, the tenant's, the user's."""
    period: PublicPeriod
    measure: PublicMeasure
    """`money` bounds the managed lane alone, the others every lane."""
    currency: str | None = None
    limit: Amount
    used: Amount
    reserved: Amount
    """What turns that run may still take."""
    used_percent: Count
    state: State
    """From 80 % on warned, above 90 % the cheapest engines, at the end (110 %, unless an override stands) blocked."""
    ends_at_percent: Count
    window: str
    """`2026-11-28`, or `2026-11`."""
    window_ends_ms: Milliseconds


class BudgetOverride(Contract):
    """Somebody lets a scope go on for a while."""

    override_id: ServerId
    scope: Scope
    user_id: str | None = None
    percent: Count
    until_ms: Milliseconds
    reason: str = ""


class BudgetReport(Contract):
    """The limits of one user's turns, and what holds for the tenant."""

    request_id: ServerId
    tenant_id: str
    user_id: str
    consent: Consent
    """Whether the user is asked before the conversation goes on beyond a warning."""
    time_zone: str
    """Whose midnight ends the tenant's days."""
    budgets: tuple[BudgetItem, ...]
    overrides: tuple[BudgetOverride, ...]
    """Those that stand now."""


class BudgetLimitChange(Contract):
    """A limit from now on."""

    scope: Scope
    """`global` is for the operator alone."""
    user_id: UserId | None = None
    """With the scope `user`: who; absent, each user that has no limit of their own."""
    period: PublicPeriod
    measure: PublicMeasure
    amount: Amount | None
    """`null`: no limit."""


class BudgetChange(Contract):
    """What is to be otherwise; what is absent stays."""

    limits: Annotated[tuple[BudgetLimitChange, ...], Field(max_length=100)] = ()
    consent: Consent | None = None
    time_zone: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None


class OverrideRequest(Contract):
    """Let a scope go on beyond the end of its limits, for a while."""

    scope: Scope = "tenant"
    user_id: UserId | None = None
    percent: Annotated[int, Field(gt=BLOCK_PERCENT, le=MOST_PERCENT)] = 150
    """Up to which percent of the limits."""
    minutes: Annotated[int, Field(ge=1, le=44_640)]
    """For how long, at most 31 days."""
    reason: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    """For the audit log."""


class OverrideAnswer(Contract):
    """The override that stands now."""

    request_id: ServerId
    override: BudgetOverride
