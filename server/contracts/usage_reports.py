"""``GET /v1/usage/...``: what was used, by whom, and what it cost.

Time is in whole milliseconds of audio, money in millionths (``micros``) of a currency's unit; nothing is rounded but
each amount of money, once.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from metering.usage import Mode
from server.contracts.base import Contract, Count, Milliseconds, ServerId
from server.contracts.usage import UsageEventRecord

Micros = Annotated[int, Field(ge=-(2**53 - 1), le=2**53 - 1)]
"""Whole millionths of a currency's unit."""


class UsageSums(Contract):
    """Sums over turns. A correction counts in place of what it corrects."""

    turns: Count
    audio_ms_in: Count
    """Audio handed to speech-to-text."""
    audio_ms_out: Count
    """Audio the users were sent and did not interrupt."""
    input_tokens: Count
    cached_input_tokens: Count
    output_tokens: Count
    tool_calls: Count
    failed: Count
    """Turns that did."""
    interrupted: Count


class MoneyAmount(Contract):
    """An amount in one currency; currencies are never added to each other."""

    currency: str
    """ISO 4217."""
    micros: Micros


class UnpricedWork(Contract):
    """Work that no price sheet has a price for. It is not free: its price is not known here."""

    provider: str
    model: str
    meter: str


class UsagePeriod(Contract):
    """What was used in some days (UTC)."""

    since: str
    """The first day, `2026-11-27`."""
    until: str
    """The day after the last."""
    sums: UsageSums
    cost: tuple[MoneyAmount, ...]
    """By currency, at the operator's confirmed prices."""
    unpriced: tuple[UnpricedWork, ...] = ()


class BudgetLine(Contract):
    """How one limit stands in its window."""

    scope: str
    """`global`, `tenant` or `user`: whose usage it bounds."""
    period: str
    """`day` or `month`."""
    measure: str
    """`money` (in `micros` of `currency`), `audio_ms`, `tokens` or `turns`."""
    used: Count
    reserved: Count
    """Held back for turns that run."""
    limit: Count
    percent: Count
    """So much of the limit is used."""
    ends_at_percent: Count
    """From here on nothing more is allowed."""
    state: str
    """`free`, `warned`, `thrifty` or `blocked`."""
    currency: str | None = None


class UsageCurrentResponse(Contract):
    """Today and this month: of the tenant, for who may read that, else of the caller."""

    request_id: ServerId
    generated_at_ms: Milliseconds
    tenant_id: str
    scope: Literal["own", "tenant"]
    user_id: str | None = None
    """Whose it is, with the scope `own`."""
    today: UsagePeriod
    month: UsagePeriod
    budgets: tuple[BudgetLine, ...] | None = None
    """Absent where there are no budgets."""


class UsageEventPage(Contract):
    """Some usage events, in the order in which they were recorded (or the reverse)."""

    request_id: ServerId
    events: tuple[UsageEventRecord, ...]
    next_cursor: str | None = None
    """Give it as `cursor` to go on behind these events; whatever is recorded meanwhile, none is skipped or told twice.
    Oldest first it is there even when there are no more for now: ask again later."""
    has_more: bool
    """There are more right now."""


class UsageReportRow(Contract):
    """One day, person, agent, or model of a provider."""

    key: str
    """The day, the person's id, the agent's id, or the provider."""
    model: str | None = None
    """With `by=provider`."""
    sums: UsageSums | None = None
    """Absent with `by=provider`: a turn may have several."""
    amounts: dict[str, Count] | None = None
    """With `by=provider`: how much, by meter (milliseconds, characters, tokens)."""
    cost: tuple[MoneyAmount, ...]
    complete: bool
    """False: some of its work has no price."""


class UsageOthers(Contract):
    """The people beyond a report's `limit`, together."""

    sums: UsageSums
    cost: tuple[MoneyAmount, ...]
    complete: bool
    """False: some of their work has no price."""


class UsageReportResponse(Contract):
    """Usage by day, person, agent or provider."""

    request_id: ServerId
    generated_at_ms: Milliseconds
    tenant_id: str
    by: Literal["day", "user", "agent", "provider"]
    since: str
    until: str
    """The day after the last."""
    rows: tuple[UsageReportRow, ...]
    """Days in their order, people and agents by how much they talked. Days without usage have no row."""
    truncated: bool = False
    """There are more rows than are told; `total` is of all."""
    others: UsageOthers | None = None
    """With `by=user`, where there are more people than rows."""
    total: UsagePeriod


class InvoiceLine(Contract):
    """What was used of one meter in one lane, and what it cost."""

    mode: Mode
    provider: str
    model: str
    meter: str
    amount: Annotated[int, Field(ge=-(2**53 - 1), le=2**53 - 1)]
    """Milliseconds, characters or tokens."""
    currency: str | None = None
    """Absent, as `micros`, where no sheet has a price."""
    micros: Micros | None = None


class InvoiceResponse(Contract):
    """A tenant's month."""

    request_id: ServerId
    tenant_id: str
    period: str
    """`2026-11`."""
    status: Literal["open", "closed"]
    """`open`: the lines may still change. The lines of a closed month never do."""
    closed_at_ms: Milliseconds | None = None
    lines: tuple[InvoiceLine, ...]
    total: tuple[MoneyAmount, ...]
    """What all of it cost, whoever pays."""
    due: tuple[MoneyAmount, ...]
    """What of that ran on the operator's own keys for the tenant: the lane `managed`."""
    corrections: tuple[InvoiceLine, ...] = ()
    """What was entered or corrected after the closing: differences to `lines`, at the closed month's own prices."""
    corrections_total: tuple[MoneyAmount, ...] = ()
    corrections_due: tuple[MoneyAmount, ...] = ()


class ExportMetadata(Contract):
    """What a file of usage events holds; in the header `Usage-Export` of the answer that carries it, as JSON."""

    schema_version: Literal[1] = 1
    format: Literal["csv", "jsonl"]
    generated_at: str
    """RFC 3339."""
    tenant_id: str
    since: str | None = None
    """RFC 3339; absent: from the beginning."""
    until: str
    filters: dict[str, str]
    events: Count
    bytes: Count
    sha256: str
    """Of the file, in hexadecimal."""
    sums: UsageSums
    """Over the events in the file."""
