"""Latency budgets: their files, their changes, and what is left of them in a turn."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.core.budget import (
    ACTIONS,
    FILLER_RESERVE_MS,
    STAGES,
    BudgetError,
    LatencyBudget,
    Permission,
    Stage,
    StageBudget,
    StageChange,
    TurnTime,
    within,
)
from agents.core.budget_profiles import PROFILES, parse, profile, stage_changes
from agents.core.policy import TurnPolicy

AZURE = profile("azure")


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_budgets_every_stage(name: str) -> None:
    budget = profile(name)  # type: ignore[arg-type]
    assert (budget.name, set(budget.stages)) == (name, set(STAGES))
    assert budget.first("agent", "hedge", "filler") == "hedge"


def test_objectives_are_the_contracts() -> None:
    assert profile("embedded").stages["total"].target_ms == 1_000
    assert AZURE.stages["total"].target_ms == 1_500
    assert all(profile(name).stages["connect"].target_ms == 1_500 for name in PROFILES)


def test_who_needs_patience_is_waited_for() -> None:
    patient = profile("accessibility").stages["endpoint"].deadline_ms
    assert all(patient > profile(name).stages["endpoint"].deadline_ms for name in PROFILES if name != "accessibility")


# --- what is said of stages ---


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("version = 1", "there is no budget for connect"),
        ("version = 0", "version must be"),
        ("versions = 1", "version must be"),
        ("version = 1\n[lunch]\ntarget_ms = 1", "no such stage"),
        ("version = 1\n[stt]\ntarget_ms = 1", "needs target_ms and deadline_ms"),
        ("version = 1\n[stt]\nlimit_ms = 1", "only target_ms, deadline_ms and on_breach"),
        ("version = 1\n[stt]\ntarget_ms = true\ndeadline_ms = 5", "whole number"),
        ("version = 1\n[stt]\ntarget_ms = 1\ndeadline_ms = 2\non_breach = ['hurry']", "must list actions"),
        ("version = 1\nstt = 5", "only target_ms"),
        ("version", "budget: "),
    ],
)
def test_a_file_that_is_not_whole_says_where(text: str, why: str) -> None:
    with pytest.raises(BudgetError, match=why):
        parse(text, "budget")


@pytest.mark.parametrize(
    ("stage", "change", "why"),
    [
        ("stt", StageChange(target_ms=500, deadline_ms=400), "target_ms <= deadline_ms"),
        ("stt", StageChange(target_ms=0), "0 < target_ms"),
        ("stt", StageChange(deadline_ms=60_001), "60000"),
        ("stt", StageChange(on_breach=("hedge",)), "stt.on_breach: hedge is not possible"),
        ("egress", StageChange(on_breach=("shorten", "shorten")), "twice"),
        ("total", StageChange(target_ms=200, deadline_ms=300), "less than the targets"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(stage: str, change: StageChange, why: str) -> None:
    with pytest.raises(BudgetError, match=why):
        AZURE.changed({stage: change})  # type: ignore[dict-item]


def test_a_changed_budget_has_a_version_of_its_own_and_an_unchanged_one_keeps_it() -> None:
    tighter = AZURE.changed(stage_changes({"agent": {"deadline_ms": 700}}))
    assert tighter.stages["agent"] == replace(AZURE.stages["agent"], deadline_ms=700)
    assert tighter.version.startswith("1+")
    assert tighter.version == AZURE.changed({"agent": StageChange(deadline_ms=700)}).version
    assert tighter.version != AZURE.changed({"agent": StageChange(deadline_ms=701)}).version
    assert tighter.changed({"agent": StageChange(deadline_ms=701)}).version.count("+") == 1
    assert AZURE.changed({"agent": StageChange(deadline_ms=900)}) is AZURE


def test_a_tighter_deadline_takes_its_target_along() -> None:
    assert AZURE.changed({"agent": StageChange(deadline_ms=300)}).stages["agent"].target_ms == 300


def test_a_session_moves_within_what_the_operator_permits() -> None:
    permission = Permission(tightest=0.5, loosest=2.0)
    permission.check(AZURE, AZURE.changed({"agent": StageChange(deadline_ms=450), "tts": StageChange(on_breach=())}))
    with pytest.raises(BudgetError, match=r"agent\.deadline_ms must be between 450 and 1800 here, not 449"):
        permission.check(AZURE, AZURE.changed({"agent": StageChange(deadline_ms=449)}))
    frugal = AZURE.changed({"agent": StageChange(on_breach=("filler", "apologize"))})
    with pytest.raises(BudgetError, match="without hedge"):
        permission.check(frugal, AZURE.changed({"agent": StageChange(on_breach=("hedge", "filler"))}))


def test_a_chosen_wait_makes_the_total_longer_and_never_shorter() -> None:
    patient = AZURE.patient(AZURE.stages["endpoint"].deadline_ms + 2_000)
    assert patient.stages["endpoint"].deadline_ms == AZURE.stages["endpoint"].deadline_ms + 2_000
    assert patient.stages["total"].deadline_ms == AZURE.stages["total"].deadline_ms + 2_000
    assert AZURE.patient(100) is AZURE


def test_what_can_be_done_about_a_stage_is_said_for_every_stage() -> None:
    assert set(ACTIONS) == set(STAGES)


# --- what is left ---


def _budget(**deadlines_ms: int) -> LatencyBudget:
    stages: dict[Stage, StageBudget] = {stage: StageBudget(100, deadlines_ms.get(stage, 1_000)) for stage in STAGES}
    return LatencyBudget("test", "1", stages)


def test_a_stage_may_take_its_deadline_while_there_is_time() -> None:
    time = TurnTime(_budget(total=5_000, agent=800), 10.0)
    assert time.limit_s("agent", 10.5) == pytest.approx(0.8)
    assert time.left_s(10.5) == pytest.approx(4.5)


def test_a_late_stage_shortens_the_limits_of_those_behind_it() -> None:
    time = TurnTime(_budget(total=2_000, agent=900, tts=900), 10.0)
    assert time.limit_s("agent", 11.2) == pytest.approx(0.6)  # 0.8 left, 0.2 of it for tts and egress
    assert time.limit_s("tts", 11.5) == pytest.approx(0.4)


def test_no_stage_gets_less_than_its_target() -> None:
    time = TurnTime(_budget(total=2_000), 10.0)
    assert time.limit_s("tts", 12.5) == pytest.approx(0.1)


def test_once_the_user_has_something_each_stage_has_its_own_deadline() -> None:
    time = TurnTime(_budget(total=2_000, tts=700), 10.0)
    time.answered()
    assert time.limit_s("tts", 15.0) == pytest.approx(0.7)


def test_turn_taking_keeps_to_the_budget() -> None:
    policy = within(TurnPolicy(max_wait_ms=4_000), AZURE)
    assert policy.max_wait_ms == 4_000
    assert policy.partial_after_ms == AZURE.stages["stt"].deadline_ms
    assert policy.filler_after_ms == AZURE.stages["agent"].deadline_ms
    assert (
        policy.filler_by_ms == AZURE.stages["total"].deadline_ms - AZURE.stages["egress"].target_ms - FILLER_RESERVE_MS
    )
    assert policy.transcript_by_ms == policy.filler_by_ms - AZURE.stages["tts"].target_ms
    quiet = AZURE.changed(
        {stage: StageChange(on_breach=()) for stage in ("stt", "agent", "total")}  # type: ignore[misc]
    )
    still = within(TurnPolicy(filler_after_ms=5), quiet)
    assert (still.partial_after_ms, still.filler_after_ms, still.filler_by_ms) == (None, None, None)
