"""Where a turn's milliseconds went, and what was late: the part of ``agents.events`` that speaks of time.

Values only. Made by ``agents.core.turn_watch``; read by the codecs, the metrics and the traces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class StageLatency:
    """One stage of a turn, relative to the last speech sample (or the text's arrival)."""

    stage: Literal["endpoint", "stt", "agent", "tts", "egress", "total"]
    start_ms: float
    duration_ms: float
    provider: str | None = None
    model: str | None = None
    target_ms: int | None = None
    deadline_ms: int | None = None


BudgetStage = Literal["connect", "endpoint", "stt", "agent", "tts", "egress", "total", "barge_in"]
BreachAction = Literal[
    "use_partial", "hedge", "fallback", "filler", "shorten", "text_only", "apologize", "fail", "none"
]


@dataclass(frozen=True, slots=True)
class BudgetBreached:
    """``latency.breach``: a stage of a turn took longer than its budget, and this is what was done (``none``: nothing).

    ``after_ms`` counts from when the stage began.
    """

    turn_id: str
    stage: BudgetStage
    action: BreachAction
    limit_ms: int
    after_ms: int


@dataclass(frozen=True, slots=True)
class TurnLatency:
    """``turn.latency``: where the milliseconds went, sent once the first audio (or text) is out, and what was late.

    ``counted_from_s`` is the moment the stages count from, in seconds of the event loop's clock.
    """

    turn_id: str
    stages: tuple[StageLatency, ...]
    counted_from_s: float | None = None
    breaches: tuple[BudgetBreached, ...] = ()
