"""``GET /v1/latency/report``: how long turns took, by stage."""

from __future__ import annotations

from server.contracts.base import Contract, Count, Milliseconds, ServerId
from server.contracts.server_messages import StageName


class StageLatencyReport(Contract):
    """One stage over all turns that had it. Percentiles are nearest ranks."""

    stage: StageName
    turns: Count
    p50_ms: Milliseconds
    p95_ms: Milliseconds
    p99_ms: Milliseconds
    max_ms: Milliseconds
    target_ms: Milliseconds
    """The objective, of the operator's latency budget for the caller's sessions."""
    deadline_ms: Milliseconds
    """That budget's limit."""
    over_target: Count
    """Turns in which the stage took longer than the objective."""
    over_deadline: Count
    """Turns in which it took longer than the limit."""


class BreachCountItem(Contract):
    """Turns in which one stage was late, by what was done about it.

    Late by the turn's own latency budget, as its usage event tells. Where that tells nothing of the stage (recorded by
    an older version, or not held to a budget), by the limit shown here, and nothing was done.
    """

    stage: StageName
    action: str
    """`none`: nothing was done."""
    turns: Count


class RecentStage(Contract):
    """One stage of one turn, from the last speech sample (or the text's arrival)."""

    stage: StageName
    start_ms: Milliseconds | None = None
    """Absent where it was not recorded."""
    duration_ms: Milliseconds
    provider: str | None = None


class RecentTurn(Contract):
    """One turn."""

    turn_id: ServerId
    session_id: ServerId
    started_at_ms: Milliseconds
    """Epoch milliseconds."""
    agent_id: str
    transport: str | None = None
    interrupted: bool
    error_code: str | None = None
    stages: tuple[RecentStage, ...]


class LatencyReportResponse(Contract):
    """Where the milliseconds of the caller's own tenant's turns went."""

    request_id: ServerId
    since_ms: Milliseconds
    """Turns that began from here on count (epoch milliseconds)."""
    until_ms: Milliseconds
    turns: Count
    """How many there are with a latency or a breach."""
    truncated: bool = False
    """There are more than are looked at; the oldest are left out."""
    stages: tuple[StageLatencyReport, ...]
    """In the order of a turn. Stages overlap: they do not add up to `total`."""
    breaches: tuple[BreachCountItem, ...]
    recent: tuple[RecentTurn, ...] = ()
    """The newest turns, newest first, where `turns` asked for some."""
