"""How long turns took: percentiles by stage, and how many missed what was promised. Pure but for the ledger it reads.

Owns the objectives that turns are held against and the arithmetic. Blocks (callers use a worker thread), and takes a
bounded time: no more than ``MOST_TURNS`` of the newest turns are read, and they are counted, not parsed or sorted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from metering.ledger import Ledger, UsageQuery

MOST_TURNS: Final = 100_000
STAGES: Final = ("endpoint", "stt", "agent", "tts", "egress", "total")
PERCENTILES: Final = (50, 95, 99)
NOT_ENFORCED: Final = "none"


@dataclass(frozen=True, slots=True)
class Objective:
    """What a stage should take (``target_ms``) and what it may take (``deadline_ms``)."""

    target_ms: int
    deadline_ms: int


OBJECTIVES: Final[Mapping[str, Objective]] = {
    "endpoint": Objective(600, 1_500),
    "stt": Objective(300, 1_000),
    "agent": Objective(700, 2_000),
    "tts": Objective(300, 1_000),
    "egress": Objective(50, 250),
    "total": Objective(1_500, 3_000),
}
"""The budgets of CONTRACT section 7 at their defaults; ``total`` is held to section 11's objective with cloud
providers. Stages overlap, so theirs do not add up to the total's."""


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
    """Turns that missed a stage's deadline, by what was done about it."""

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
    ledger: Ledger,
    query: UsageQuery,
    stages: Sequence[str] = STAGES,
    objectives: Mapping[str, Objective] = OBJECTIVES,
) -> LatencyReport:
    """The report over the turns of ``query``. Raises LedgerError."""
    counts = ledger.latencies(query, MOST_TURNS)
    found = tuple(_stage(name, counts.by_stage[name], objectives[name]) for name in stages if name in counts.by_stage)
    return LatencyReport(counts.turns, counts.truncated, found, _breaches(found))


def _breaches(stages: Iterable[StageReport]) -> tuple[BreachCount, ...]:
    """By action: so far none is taken, so every breach went without. Events that name their actions are told here."""
    return tuple(BreachCount(stage.stage, NOT_ENFORCED, stage.over_deadline) for stage in stages if stage.over_deadline)


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
        over_target=sum(counts[value] for value in values if value > objective.target_ms),
        over_deadline=sum(counts[value] for value in values if value > objective.deadline_ms),
    )


def _percentiles(values: Sequence[int], counts: Sequence[int]) -> tuple[int, int, int]:
    """Nearest ranks: the smallest value that so many percent do not exceed."""
    cumulative = list(accumulate(counts))
    ranks = [-(-cumulative[-1] * percent // 100) for percent in PERCENTILES]
    p50, p95, p99 = (next(v for v, upto in zip(values, cumulative, strict=True) if upto >= rank) for rank in ranks)
    return p50, p95, p99
