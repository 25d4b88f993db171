"""Percentiles, counts and breaches of the latency report."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from metering.codec import dumps
from metering.latency_counts import counted, counted_texts
from metering.latency_report import OBJECTIVES, STAGES, BreachCount, Objective, latency_report
from metering.ledger import UsageQuery
from metering.memory import MemoryLedger
from tests.metering.usage_events import numbered

_latencies = st.dictionaries(st.sampled_from(STAGES), st.integers(0, 5_000), min_size=1)


def ledger_of(*latencies: dict[str, int]) -> MemoryLedger:
    ledger = MemoryLedger()
    ledger.append([replace(numbered(number), latency_ms=ms) for number, ms in enumerate(latencies, start=1)])
    return ledger


def test_percentiles_are_nearest_ranks() -> None:
    report = latency_report(ledger_of(*({"total": ms} for ms in range(1, 201))), UsageQuery())
    (total,) = report.stages
    assert (report.turns, total.turns) == (200, 200)
    assert (total.p50_ms, total.p95_ms, total.p99_ms, total.max_ms) == (100, 190, 198, 200)


def test_one_turn_is_every_percentile() -> None:
    (stage,) = latency_report(ledger_of({"stt": 7}), UsageQuery()).stages
    assert (stage.p50_ms, stage.p95_ms, stage.p99_ms, stage.max_ms) == (7, 7, 7, 7)


def test_what_is_over_the_objective_and_the_limit_is_counted_and_breaches_are_told_by_action() -> None:
    objectives = OBJECTIVES | {"total": Objective(100, 200)}
    ledger = ledger_of({"total": 100}, {"total": 101}, {"total": 200}, {"total": 201}, {"stt": 1})
    report = latency_report(ledger, UsageQuery(), objectives=objectives)
    stt, total = report.stages
    assert (stt.stage, total.stage) == ("stt", "total")
    assert (total.over_target, total.over_deadline) == (3, 1)
    assert report.breaches == (BreachCount("total", "none", 1),)


def test_every_stage_has_an_objective_within_its_limit() -> None:
    assert set(OBJECTIVES) == set(STAGES)
    assert all(0 < objective.target_ms < objective.deadline_ms for objective in OBJECTIVES.values())


def test_nothing_measured_is_an_empty_report() -> None:
    report = latency_report(MemoryLedger(), UsageQuery())
    assert (report.turns, report.stages, report.breaches) == (0, (), ())


@given(st.lists(_latencies, max_size=1_200), st.integers(1, 1_500))
def test_texts_are_counted_as_what_they_say(latencies: list[dict[str, int]], most: int) -> None:
    assert counted_texts([dumps(ms) for ms in latencies], most) == counted(latencies, most)
