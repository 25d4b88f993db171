"""The latency budgets of a server as whoever asks may see them: for ``GET /v1/latency-budgets`` and ``budgets``.

Pure. Which budget a session gets is ``server.latency_choice``'s to say.
"""

from __future__ import annotations

from agents.core.budget import LONGEST_MS, LatencyBudget, Permission, Stage
from agents.core.budget_profiles import PROFILES
from server.contracts.latency_budget import (
    LatencyBudgetInfo,
    LatencyBudgetList,
    LatencyBudgetName,
    PermittedStage,
    StageBudgetInfo,
)
from server.engine_rules import Asked
from server.latency_choice import LatencyChoice, SessionLatency


def budget_list(choice: LatencyChoice, asked: Asked, request_id: str, *, patient: bool = False) -> LatencyBudgetList:
    """Every profile as it is for this asker, the one that is theirs by default, and how far they may change it."""
    default = choice.operators(asked, patient=patient)
    return LatencyBudgetList(
        request_id=request_id,
        enforced=choice.enforced,
        speculates=choice.speculates,
        default=_info(default),
        permitted=_permitted(default, choice.permission),
        profiles=tuple(_info(choice.named(name, asked)) for name in PROFILES),
    )


def budget_name(latency: SessionLatency) -> LatencyBudgetName:
    """What a session is told of its budget."""
    budget = latency.budget
    return LatencyBudgetName(profile=budget.name, version=budget.version, enforced=latency.enforced)


def _info(budget: LatencyBudget) -> LatencyBudgetInfo:
    stages: dict[Stage, StageBudgetInfo] = {
        stage: StageBudgetInfo(target_ms=each.target_ms, deadline_ms=each.deadline_ms, on_breach=each.on_breach)
        for stage, each in budget.stages.items()
    }
    return LatencyBudgetInfo(profile=budget.name, version=budget.version, stages=stages)


def _permitted(budget: LatencyBudget, permission: Permission) -> dict[Stage, PermittedStage]:
    return {
        stage: PermittedStage(
            shortest_deadline_ms=max(1, round(each.deadline_ms * permission.tightest)),
            longest_deadline_ms=min(LONGEST_MS, round(each.deadline_ms * permission.loosest)),
            on_breach=each.on_breach,
        )
        for stage, each in budget.stages.items()
    }
