"""The latency report on a terminal: a table of the stages, and the newest turns as bars to one scale.

Draws only; driven by ``server.cli.latency``.
"""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from metering.report import timestamp
from server.contracts.latency import LatencyReportResponse, RecentStage, RecentTurn

BAR_CHARACTERS: Final = 48


def show(console: Console, report: LatencyReportResponse) -> None:
    """The whole report."""
    note = " (the newest of more)" if report.truncated else ""
    console.print(f"{report.turns} turns since {timestamp(report.since_ms)}{note}")
    if report.stages:
        console.print(_stages(report))
    for breach in report.breaches:
        words = "nothing was done" if breach.action == "none" else breach.action
        console.print(f"{breach.turns} × {breach.stage} over its deadline: {escape(words)}", style="yellow")
    ends = [_end_ms(stage) for turn in report.recent for stage in turn.stages]
    for turn in report.recent:
        console.print()
        console.print(_title(turn))
        console.print(_bars(turn, max([1, *ends])))


def _stages(report: LatencyReportResponse) -> Table:
    table = Table(box=None, padding=(0, 1))
    for title in ("stage", "turns", "p50", "p95", "p99", "max", "target", "over", "deadline", "over"):
        table.add_column(title, justify="left" if title == "stage" else "right")
    for stage in report.stages:
        numbers = (stage.turns, stage.p50_ms, stage.p95_ms, stage.p99_ms, stage.max_ms)
        limits = (stage.target_ms, stage.over_target, stage.deadline_ms, stage.over_deadline)
        style = "bold" if stage.stage == "total" else "yellow" if stage.p95_ms > stage.target_ms else None
        table.add_row(stage.stage, *(str(number) for number in (*numbers, *limits)), style=style)
    return table


def _title(turn: RecentTurn) -> str:
    parts = [timestamp(turn.started_at_ms), turn.agent_id, turn.transport or "", turn.turn_id]
    parts.append(turn.error_code or ("interrupted" if turn.interrupted else ""))
    return escape("  ".join(part for part in parts if part))


def _bars(turn: RecentTurn, whole_ms: int) -> Table:
    table = Table(box=None, padding=(0, 1), show_header=False)
    table.add_column("stage")
    table.add_column("by")
    table.add_column("ms", justify="right")
    table.add_column("")
    scale = BAR_CHARACTERS / whole_ms
    for stage in turn.stages:
        before = min(round((stage.start_ms or 0) * scale), BAR_CHARACTERS - 1)
        length = min(max(1, round(stage.duration_ms * scale)), BAR_CHARACTERS - before)
        bar = " " * before + ("▓" if stage.stage == "total" else "█") * length
        words = (stage.stage, escape(stage.provider or ""), str(stage.duration_ms))
        # Of turns recorded before starts were, only the lengths are known.
        known = stage.start_ms is not None or stage.stage in {"endpoint", "total"}
        table.add_row(*words, bar if known else "", style="bold" if stage.stage == "total" else None)
    return table


def _end_ms(stage: RecentStage) -> int:
    return (stage.start_ms or 0) + stage.duration_ms
