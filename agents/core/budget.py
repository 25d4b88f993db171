"""Latency budgets as values: what each stage of a turn should take, may take, and what is done when it takes longer.

Owns what a budget means and how much of it is left in a turn (CONTRACT section 7). Pure: times arrive as arguments,
engines are unknown. Budgets are read from files by ``agents.core.budget_profiles``; those who wait ask a ``TurnTime``
how long they may.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Final, Literal, get_args

from agents.core.policy import TurnPolicy
from agents.latency_events import BudgetStage

Stage = BudgetStage
STAGES: Final[tuple[Stage, ...]] = get_args(Stage)
"""In the order of the contract."""

Action = Literal["use_partial", "hedge", "fallback", "filler", "shorten", "text_only", "apologize", "fail"]

ACTIONS: Final[Mapping[Stage, tuple[Action, ...]]] = {
    "connect": (),
    "endpoint": (),
    "stt": ("use_partial", "fallback", "apologize", "fail"),
    "agent": ("hedge", "fallback", "shorten", "filler", "apologize", "fail"),
    "tts": ("fallback", "text_only", "fail"),
    "egress": ("shorten",),
    "total": ("filler",),
    "barge_in": (),
}
"""What can be done about each stage; a stage without an entry is measured, and its breaches are told."""

LONGEST_MS: Final = 60_000
FILLER_RESERVE_MS: Final = 100
"""Between deciding for a filler and its first sound, where it was prepared."""
_IN_TURN: Final[tuple[Stage, ...]] = ("endpoint", "stt", "agent", "tts", "egress")
"""The stages that share a turn's ``total``, one after the other."""


class BudgetError(ValueError):
    """A budget, or what is to change in one, that makes no sense; says where and why."""


@dataclass(frozen=True, slots=True)
class StageBudget:
    """One stage: the objective, the limit, and what is done beyond it, in this order."""

    target_ms: int
    deadline_ms: int
    on_breach: tuple[Action, ...] = ()


@dataclass(frozen=True, slots=True)
class LatencyBudget:
    """Every stage's budget. ``name`` is the profile it comes from, ``version`` that of the profile's file, with a mark
    of its own where something was changed for an agent or a session."""

    name: str
    version: str
    stages: Mapping[Stage, StageBudget] = field(hash=False)

    def __post_init__(self) -> None:
        for stage in STAGES:
            if stage not in self.stages:
                raise BudgetError(f"{self.name}: there is no budget for {stage}")
            _check(stage, self.stages[stage])
        least = sum(self.stages[stage].target_ms for stage in _IN_TURN)
        if self.stages["total"].deadline_ms < least:
            raise BudgetError(f"{self.name}: total.deadline_ms is less than the targets of its stages, {least} ms")

    def does(self, stage: Stage, action: Action) -> bool:
        """Whether ``action`` is taken when ``stage`` is late."""
        return action in self.stages[stage].on_breach

    def first(self, stage: Stage, *actions: Action) -> Action | None:
        """Which of these comes first when ``stage`` is late, if any is taken."""
        return next((action for action in self.stages[stage].on_breach if action in actions), None)

    def patient(self, longest_wait_ms: int) -> LatencyBudget:
        """The budget of a session that waits so long at a pause: the wait is chosen, so the total grows with it."""
        endpoint, total = self.stages["endpoint"], self.stages["total"]
        more_ms = min(longest_wait_ms - endpoint.deadline_ms, LONGEST_MS - total.deadline_ms)
        if more_ms <= 0:
            return self
        return self.changed(
            {
                "endpoint": StageChange(deadline_ms=endpoint.deadline_ms + more_ms),
                "total": StageChange(deadline_ms=total.deadline_ms + more_ms),
            }
        )

    def changed(self, changes: Mapping[Stage, StageChange]) -> LatencyBudget:
        """The budget with these changes. Raises BudgetError."""
        if not changes:
            return self
        stages: dict[Stage, StageBudget] = dict(self.stages)
        for stage, change in changes.items():
            stages[stage] = change.applied(stages[stage])
        if stages == self.stages:
            return self
        content = json.dumps({stage: asdict(each) for stage, each in stages.items()}, sort_keys=True)
        mark = hashlib.sha256(content.encode()).hexdigest()[:8]
        return LatencyBudget(self.name, f"{self.version.partition('+')[0]}+{mark}", stages)


@dataclass(frozen=True, slots=True)
class StageChange:
    """What is to be otherwise in one stage; ``None`` leaves a value as it is."""

    target_ms: int | None = None
    deadline_ms: int | None = None
    on_breach: tuple[Action, ...] | None = None

    def applied(self, old: StageBudget) -> StageBudget:
        """The stage's budget with the change made. A deadline below the target takes the target down with it."""
        deadline_ms = old.deadline_ms if self.deadline_ms is None else self.deadline_ms
        target_ms = min(old.target_ms, deadline_ms) if self.target_ms is None else self.target_ms
        return StageBudget(target_ms, deadline_ms, old.on_breach if self.on_breach is None else self.on_breach)


@dataclass(frozen=True, slots=True)
class Permission:
    """How far agents and sessions may move from the operator's budget: deadlines between these multiples of its own,
    and no action that it does not take."""

    tightest: float = 0.5
    loosest: float = 3.0

    def check(self, operators: LatencyBudget, wanted: LatencyBudget) -> None:
        """Raises BudgetError, with what would be permitted, where ``wanted`` goes too far."""
        for stage, theirs in operators.stages.items():
            ours = wanted.stages[stage]
            low, high = round(theirs.deadline_ms * self.tightest), round(theirs.deadline_ms * self.loosest)
            if not low <= ours.deadline_ms <= high:
                raise BudgetError(f"{stage}.deadline_ms must be between {low} and {high} here, not {ours.deadline_ms}")
            more = sorted(set(ours.on_breach) - set(theirs.on_breach))
            if more:
                raise BudgetError(f"{stage}.on_breach must keep to what this server does, without {', '.join(more)}")


class TurnTime:
    """How much of its budget a turn has left. Times are in seconds of one monotonic clock.

    A stage may take its deadline, but never so long that the stages after it could not reach their targets within the
    ``total``: a late stage shortens the limits of those behind it. None gets less than its own target: a stage that is
    given no time at all can only fail. Once the user has got something, the total is kept and each stage has its own
    deadline again.
    """

    def __init__(self, budget: LatencyBudget, zero_s: float) -> None:
        """``zero_s`` is the last speech sample, or when a typed question came."""
        self.budget = budget
        self._zero_s = zero_s
        self._is_answered = False

    def answered(self) -> None:
        """The user has heard or read something."""
        self._is_answered = True

    def left_s(self, now_s: float) -> float:
        """Until the deadline of ``total``; negative once it has passed."""
        return self._zero_s + self.budget.stages["total"].deadline_ms / 1_000 - now_s

    def limit_s(self, stage: Stage, now_s: float) -> float:
        """How long ``stage``, which begins now, may take."""
        own = self.budget.stages[stage]
        if self._is_answered:
            return own.deadline_ms / 1_000
        later_s = sum(self.budget.stages[each].target_ms for each in _IN_TURN[_IN_TURN.index(stage) + 1 :]) / 1_000
        return max(own.target_ms / 1_000, min(own.deadline_ms / 1_000, self.left_s(now_s) - later_s))


def within(policy: TurnPolicy, budget: LatencyBudget) -> TurnPolicy:
    """Turn-taking that keeps to a budget.

    Words that are not final are answered when ``stt`` is late; where there are none, that is said while the voice still
    has time for it. The agent says that it is thinking when the ``agent`` is late, or when the ``total`` would be. How
    long a pause is waited for is the policy's own: see ``patient``.
    """
    stages = budget.stages
    filler_by_ms = stages["total"].deadline_ms - stages["egress"].target_ms - FILLER_RESERVE_MS
    gives_up = budget.does("stt", "apologize") or budget.does("stt", "fail")
    return replace(
        policy,
        transcript_by_ms=filler_by_ms - stages["tts"].target_ms if gives_up else None,
        partial_after_ms=stages["stt"].deadline_ms if budget.does("stt", "use_partial") else None,
        filler_after_ms=stages["agent"].deadline_ms if budget.does("agent", "filler") else None,
        filler_by_ms=filler_by_ms if budget.does("total", "filler") else None,
    )


def _check(stage: Stage, budget: StageBudget) -> None:
    if not 0 < budget.target_ms <= budget.deadline_ms <= LONGEST_MS:
        raise BudgetError(f"{stage}: 0 < target_ms <= deadline_ms <= {LONGEST_MS} must hold")
    unknown = [action for action in budget.on_breach if action not in ACTIONS[stage]]
    if unknown:
        can = ", ".join(ACTIONS[stage]) or "nothing"
        raise BudgetError(f"{stage}.on_breach: {', '.join(unknown)} is not possible here (possible: {can})")
    if len(set(budget.on_breach)) < len(budget.on_breach):
        raise BudgetError(f"{stage}.on_breach: an action stands twice")
