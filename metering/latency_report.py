"""How long turns took: percentiles by stage, and how many missed what was promised. Pure but for the ledger it reads.

Owns the arithmetic; whoever asks says what turns are held against. Blocks (callers use a worker thread), and takes a
bounded time: no more than ``MOST_TURNS`` of the newest turns are read, and they are counted, not parsed or sorted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from metering.latency_counts import LatencyCounts
from metering.ledger import Ledger, UsageQuery

MOST_TURNS: Final = 50_000
STAGES: Final = ("endpoint", "stt", "agent", "tts", "egress", "total")
PERCENTILES: Final = (50, 95, 99)
UNDONE: Final = "none"
"""In place of an action: nothing was done."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What a stage should take (``target_ms``) and what it may take (``deadline_ms``)."""

    target_ms: int
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class StageReport:
    """One stage over all turns that had it. Percentiles are nearest ranks, in whole milliseconds."""

    stage: str
    turns: int
    p50_ms: int
    p95_ms: int
    p99_ms: int
    max_ms: int
    objective: Objective
    over_target: int
    over_deadline: int


@dataclass(frozen=True, slots=True)
class BreachCount:
    """Turns in which a stage was late, by what was done about it.

    A turn that names the stage in its ``breaches`` was late by its own budget; any other is held against the
    objective's deadline, and went without an action.
    """

    stage: str
    action: str
    turns: int


@dataclass(frozen=True, slots=True)
class LatencyReport:
    """The stages in the order of a turn. ``truncated``: there are more turns than were read, the oldest are missing."""

    turns: int
    truncated: bool
    stages: tuple[StageReport, ...]
    breaches: tuple[BreachCount, ...]


def latency_report(
    ledger: Ledger, query: UsageQuery, objectives: Mapping[str, Objective], stages: Sequence[str] = STAGES
) -> LatencyReport:
    """The report over the turns of ``query``, with ``objectives`` for each of ``stages``. Raises LedgerError."""
    counts = ledger.latencies(query, MOST_TURNS)
    found = tuple(_stage(name, counts.by_stage[name], objectives[name]) for name in stages if name in counts.by_stage)
    breaches = tuple(count for name in stages for count in _breaches(name, counts, objectives[name]))
    return LatencyReport(counts.turns, counts.truncated, found, breaches)


def _breaches(stage: str, counts: LatencyCounts, objective: Objective) -> Iterable[BreachCount]:
    """The most frequent action first."""
    actions = dict(counts.breaches.get(stage, {}))
    late, named = (_over(of.get(stage, {}), objective.deadline_ms) for of in (counts.by_stage, counts.breached))
    actions[UNDONE] = actions.get(UNDONE, 0) + late - named
    ordered = sorted(actions.items(), key=lambda each: (-each[1], each[0]))
    return (BreachCount(stage, action, turns) for action, turns in ordered if turns)


def _stage(name: str, counts: Mapping[int, int], objective: Objective) -> StageReport:
    values = sorted(counts)
    p50, p95, p99 = _percentiles(values, [counts[value] for value in values])
    return StageReport(
        stage=name,
        turns=sum(counts.values()),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        max_ms=values[-1],
        objective=objective,
        over_target=_over(counts, objective.target_ms),
        over_deadline=_over(counts, objective.deadline_ms),
    )


def _over(counts: Mapping[int, int], limit_ms: int) -> int:
    """How many took longer."""
    return sum(turns for ms, turns in counts.items() if ms > limit_ms)


def _percentiles(values: Sequence[int], counts: Sequence[int]) -> tuple[int, int, int]:
    """Nearest ranks: the smallest value that so many percent do not exceed."""
    cumulative = list(accumulate(counts))
    ranks = [-(-cumulative[-1] * percent // 100) for percent in PERCENTILES]
    p50, p95, p99 = (next(v for v, upto in zip(values, cumulative, strict=True) if upto >= rank) for rank in ranks)
    return p50, p95, p99
