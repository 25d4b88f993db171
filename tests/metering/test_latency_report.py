"""Percentiles, counts and breaches of the latency report."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from metering.codec import dumps
from metering.latency_counts import counted, counted_texts
from metering.latency_report import STAGES, BreachCount, Objective, latency_report
from metering.ledger import UsageQuery
from metering.memory import MemoryLedger
from tests.metering.usage_events import numbered

OBJECTIVES = {stage: Objective(100, 200) for stage in STAGES}
_actions = st.dictionaries(st.sampled_from(STAGES), st.sampled_from(["none", "filler", "hedge"]))
_latencies = st.dictionaries(st.sampled_from(STAGES), st.integers(0, 5_000))


def ledger_of(*latencies: dict[str, int]) -> MemoryLedger:
    ledger = MemoryLedger()
    ledger.append([replace(numbered(number), latency_ms=ms) for number, ms in enumerate(latencies, start=1)])
    return ledger


def test_percentiles_are_nearest_ranks() -> None:
    report = latency_report(ledger_of(*({"total": ms} for ms in range(1, 201))), UsageQuery(), OBJECTIVES)
    (total,) = report.stages
    assert (report.turns, total.turns) == (200, 200)
    assert (total.p50_ms, total.p95_ms, total.p99_ms, total.max_ms) == (100, 190, 198, 200)


def test_one_turn_is_every_percentile() -> None:
    (stage,) = latency_report(ledger_of({"stt": 7}), UsageQuery(), OBJECTIVES).stages
    assert (stage.p50_ms, stage.p95_ms, stage.p99_ms, stage.max_ms) == (7, 7, 7, 7)


def test_what_is_over_the_objective_and_the_limit_is_counted_and_breaches_are_told_by_action() -> None:
    ledger = ledger_of({"total": 100}, {"total": 101}, {"total": 200}, {"total": 201}, {"stt": 1})
    report = latency_report(ledger, UsageQuery(), OBJECTIVES)
    stt, total = report.stages
    assert (stt.stage, total.stage) == ("stt", "total")
    assert (total.over_target, total.over_deadline) == (3, 1)
    assert report.breaches == (BreachCount("total", "none", 1),)


def test_breaches_count_by_the_actions_that_events_name_and_else_by_the_deadline() -> None:
    ledger = MemoryLedger()
    turns: list[tuple[dict[str, int], dict[str, str]]] = [
        ({"agent": 300, "total": 300}, {"agent": "filler"}),  # of the total the event says nothing
        ({"agent": 150, "total": 150}, {"agent": "filler"}),  # a tighter budget of its own
        ({"agent": 400}, {"agent": "none"}),
        ({"agent": 400}, {}),
        ({"agent": 100}, {}),
        ({}, {"tts": "text_only"}),  # nothing was heard
    ]
    for number, (latency_ms, breaches) in enumerate(turns):
        ledger.append([replace(numbered(number), latency_ms=latency_ms, breaches=breaches)])
    report = latency_report(ledger, UsageQuery(), OBJECTIVES)
    assert report.turns == 6
    assert report.breaches == (
        BreachCount("agent", "filler", 2),
        BreachCount("agent", "none", 2),
        BreachCount("tts", "text_only", 1),
        BreachCount("total", "none", 1),
    )
    assert latency_report(ledger, UsageQuery(), OBJECTIVES, ("tts",)).breaches == (BreachCount("tts", "text_only", 1),)


def test_nothing_measured_is_an_empty_report() -> None:
    report = latency_report(MemoryLedger(), UsageQuery(), OBJECTIVES)
    assert (report.turns, report.stages, report.breaches) == (0, (), ())


@given(st.lists(st.tuples(_latencies, _actions), max_size=1_200), st.integers(1, 1_500))
def test_texts_are_counted_as_what_they_say(turns: list[tuple[dict[str, int], dict[str, str]]], most: int) -> None:
    texts = [(dumps(latency_ms), dumps(breaches)) for latency_ms, breaches in turns]
    assert counted_texts(texts, most) == counted(turns, most)
