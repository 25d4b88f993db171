"""Latency budgets as clients see them: what a session may ask for, what it is told, and ``GET /v1/latency-budgets``.

What a budget means is told in ``agents.core.budget``; which one a session gets, in ``server.latency_choice``.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agents.core.budget import ACTIONS, LONGEST_MS, STAGES, Action, Stage, StageChange
from agents.core.budget_profiles import Profile
from server.contracts.base import Contract, Milliseconds, ServerId

_Limit = Annotated[int, Field(ge=1, le=LONGEST_MS)]
_MOST_ACTIONS = len({action for actions in ACTIONS.values() for action in actions})


class StageBudgetSettings(Contract):
    """What is to be otherwise in one stage; what is absent stays as the profile has it."""

    target_ms: _Limit | None = None
    """The objective: what the stage should take."""
    deadline_ms: _Limit | None = None
    """The limit: what it may take before something is done."""
    on_breach: Annotated[tuple[Action, ...], Field(max_length=_MOST_ACTIONS)] | None = None
    """What is done beyond the limit, in this order. Each stage has its own possibilities."""


class LatencyBudgetSettings(Contract):
    """How long the session's turns may take, within what `GET /v1/latency-budgets` says is permitted."""

    profile: Profile | None = None
    """Absent: the operator's choice."""
    stages: Annotated[dict[Stage, StageBudgetSettings], Field(max_length=len(STAGES))] = Field(
        default_factory=dict[Stage, StageBudgetSettings]
    )
    """Changes by stage: `connect`, `endpoint`, `stt`, `agent`, `tts`, `egress`, `total`, `barge_in`."""

    @property
    def changes(self) -> dict[Stage, StageChange]:
        """The changes, for a budget to make."""
        return {
            stage: StageChange(wish.target_ms, wish.deadline_ms, wish.on_breach) for stage, wish in self.stages.items()
        }


class LatencyBudgetName(Contract):
    """Which latency budget a session has."""

    profile: str
    version: str
    """Of the profile; with `+` and a mark of its own where something was changed for this server or session."""
    enforced: bool
    """False: nothing is done beyond its limits, and no breach is told."""


class StageBudgetInfo(Contract):
    """One stage of a budget."""

    target_ms: Milliseconds
    """The objective, for 95 of 100 turns."""
    deadline_ms: Milliseconds
    """The limit."""
    on_breach: tuple[Action, ...]
    """What is done beyond it, in this order; nothing: the breach is only told."""


class LatencyBudgetInfo(Contract):
    """A budget, whole."""

    profile: str
    version: str
    stages: dict[Stage, StageBudgetInfo]
    """In the order of a turn."""


class PermittedStage(Contract):
    """How a session may change one stage of its budget."""

    shortest_deadline_ms: Milliseconds
    longest_deadline_ms: Milliseconds
    on_breach: tuple[Action, ...]
    """The actions it may choose among; it may leave any out, and change their order."""


class LatencyBudgetList(Contract):
    """The latency budgets of this server, as they are for whoever asks."""

    request_id: ServerId
    enforced: bool
    """False: turns are timed, but nothing is done beyond the limits, and no breach is told."""
    speculates: bool
    """Whether replies are drafted before a turn is certain."""
    default: LatencyBudgetInfo
    """What a session gets that wishes for nothing."""
    permitted: dict[Stage, PermittedStage]
    """How it may change that."""
    profiles: tuple[LatencyBudgetInfo, ...]
    """Every profile as it is here, to be named in `latency_budget.profile`."""
