"""The latency report as it is told: from what was asked and the ledger to the contract's answer.

Stages are held against what the operator chose for sessions of whoever asks.
Knows no HTTP and no terminal; blocks while it reads. Driven by ``server.routes.latency`` and ``server.cli.latency``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, cast, get_args

from agents.core.budget import LatencyBudget
from metering.latency_report import STAGES, Objective, latency_report
from metering.ledger import Ledger, PageRequest, UsageQuery
from metering.usage import UsageEvent
from server.contracts.latency import (
    BreachCountItem,
    LatencyReportResponse,
    RecentStage,
    RecentTurn,
    StageLatencyReport,
)
from server.contracts.server_messages import StageName
from server.contracts.transport import TRANSPORTS
from server.engine_rules import Asked
from server.sessions.voice_options import DEFAULT_LOCALE
from server.speech_settings import AGENT_ID

DEFAULT_SINCE: Final = "24h"
MOST_RECENT: Final = 50

_SPAN: Final = re.compile(r"(\d{1,6})([smhd])")
_UNIT_MS: Final[Mapping[str, int]] = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_STAGE_NAMES: Final = frozenset(get_args(StageName))


class BadFilter(ValueError):
    """A filter that cannot be meant; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class LatencyQuestion:
    """What is asked. ``since`` is a span (``24h``, ``7d``) or a moment (RFC 3339); ``turns`` how many of the newest.

    ``user_id``: that user's turns only.
    """

    since: str = DEFAULT_SINCE
    stage: str | None = None
    agent_id: str | None = None
    transport: str | None = None
    turns: int = 0
    user_id: str | None = None


def read_report(
    ledger: Ledger,
    question: LatencyQuestion,
    budget: LatencyBudget,
    *,
    tenant_id: str | None,
    request_id: str,
    now_ms: int,
) -> LatencyReportResponse:
    """The answer, over one tenant's turns (``None``: everybody's), held against ``budget``.

    Raises:
        BadFilter: what is asked for cannot be.
        LedgerError: the ledger cannot be read.
    """
    since_ms = check_question(question, now_ms)
    query = UsageQuery(
        tenant_id=tenant_id,
        user_id=question.user_id,
        agent_id=question.agent_id,
        transport=question.transport,
        started_from=since_ms,
        started_before=now_ms,
    )
    stages = STAGES if question.stage is None else (question.stage,)
    objectives = {name: Objective(each.target_ms, each.deadline_ms) for name, each in budget.stages.items()}
    report = latency_report(ledger, query, objectives, stages)
    return LatencyReportResponse(
        request_id=request_id,
        since_ms=since_ms,
        until_ms=now_ms,
        turns=report.turns,
        truncated=report.truncated,
        stages=tuple(
            StageLatencyReport(
                stage=_known(stage.stage),
                turns=stage.turns,
                p50_ms=stage.p50_ms,
                p95_ms=stage.p95_ms,
                p99_ms=stage.p99_ms,
                max_ms=stage.max_ms,
                target_ms=stage.objective.target_ms,
                deadline_ms=stage.objective.deadline_ms,
                over_target=stage.over_target,
                over_deadline=stage.over_deadline,
            )
            for stage in report.stages
        ),
        breaches=tuple(
            BreachCountItem(stage=_known(breach.stage), action=breach.action, turns=breach.turns)
            for breach in report.breaches
        ),
        recent=_recent(ledger, query, question.turns) if question.turns else (),
    )


def asked_about(question: LatencyQuestion, tenant_id: str) -> Asked:
    """Whose sessions' budget the report is held against: the tenant's, with the agent that was asked about."""
    return Asked(tenant_id, question.agent_id or AGENT_ID, DEFAULT_LOCALE)


def check_question(question: LatencyQuestion, now_ms: int) -> int:
    """From when on turns count, in epoch milliseconds. Raises BadFilter."""
    if question.stage is not None and question.stage not in _STAGE_NAMES:
        raise BadFilter(f"stage must be one of {', '.join(STAGES)}.")
    if question.transport is not None and question.transport not in TRANSPORTS:
        raise BadFilter(f"transport must be one of {', '.join(TRANSPORTS)}.")
    if not 0 <= question.turns <= MOST_RECENT:
        raise BadFilter(f"turns must be from 0 to {MOST_RECENT}.")
    return _since_ms(question.since, now_ms)


def _since_ms(since: str, now_ms: int) -> int:
    if (span := _SPAN.fullmatch(since)) is not None:
        return max(0, now_ms - int(span[1]) * _UNIT_MS[span[2]])
    try:
        moment = datetime.fromisoformat(since)
    except ValueError:
        words = "since must be a span such as 90m, 24h or 7d, or a moment such as 2026-11-27T08:00:00Z."
        raise BadFilter(words) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0, round(moment.timestamp() * 1_000))


def _recent(ledger: Ledger, query: UsageQuery, most: int) -> tuple[RecentTurn, ...]:
    page = ledger.read(query, PageRequest(limit=most, newest_first=True))
    return tuple(_turn(event) for event in page.events if event.latency_ms)


def _turn(event: UsageEvent) -> RecentTurn:
    stages = tuple(
        RecentStage(
            stage=_known(stage),
            start_ms=event.latency_start_ms.get(stage),
            duration_ms=event.latency_ms[stage],
            provider=who.provider if (who := event.providers.get(stage)) is not None else None,
        )
        for stage in STAGES
        if stage in event.latency_ms
    )
    return RecentTurn(
        turn_id=event.request_id,
        session_id=event.session_id,
        started_at_ms=event.started_at,
        agent_id=event.agent_id,
        transport=event.transport,
        interrupted=event.interrupted,
        error_code=event.error_code,
        stages=stages,
    )


def _known(stage: str) -> StageName:
    return cast("StageName", stage)  # from STAGES, which a test holds to be the contract's
