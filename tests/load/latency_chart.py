"""The chart of a latency benchmark: for every scenario and stage the span from the median to the 99th percentile.

Owns an SVG written by hand: no dependency, legible in light and in dark, with a title and a description for those
who do not see it. Takes figures as ``latency_scenarios`` makes them; knows nothing of how they came about.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from latency_scenarios import SHOWN, Figures

LEFT, TOP, ROW, WIDTH, GAP = 210, 92, 24, 128, 22
GIVEN: Final = "audio or text"
"""The last column: what users got first, seen from outside."""
COLUMNS: Final = (*(stage for stage in SHOWN if stage not in {"egress", "total"}), GIVEN)
"""``egress`` is next to nothing on a network that takes all."""
LEGEND: Final = (
    "Line: median (circle) to 99th percentile, with a tick at the 95th, in milliseconds. Dashed: the deadline.",
    "Audio or text: from the last sample of speech to what came first. Apologies for what was not understood have no "
    "stages.",
)
STYLE: Final = """
svg{color-scheme:light dark}
.bg{fill:#fff}.name,.head{fill:#134e4a}.head{font-weight:600}.sub{fill:#475569;font-size:11px}
.grid{stroke:#cbd5e1}.span{stroke:#0f766e;stroke-width:5;stroke-linecap:round}.p95{stroke:#134e4a;stroke-width:2}
.p50{fill:#fff;stroke:#134e4a;stroke-width:1.5}.limit{stroke:#b45309;stroke-width:1.5;stroke-dasharray:4 3}
@media (prefers-color-scheme:dark){.bg{fill:#0f172a}.name,.head{fill:#ccfbf1}.sub{fill:#cbd5e1}.grid{stroke:#334155}
.span{stroke:#2dd4bf}.p95{stroke:#f0fdfa}.p50{fill:#0f172a;stroke:#f0fdfa}.limit{stroke:#fbbf24}}
"""


@dataclass(frozen=True, slots=True)
class Limit:
    """A column's deadline in ms, drawn as a line."""

    stage: str
    deadline_ms: int


def chart(figures: Sequence[Figures], limits: Sequence[Limit], caption: str) -> str:
    """The SVG's text."""
    deadlines = {limit.stage: limit.deadline_ms for limit in limits}
    scales = {stage: _top_ms(figures, stage, deadlines.get(stage, 0)) for stage in COLUMNS}
    width = LEFT + len(COLUMNS) * (WIDTH + GAP) + 10
    height = TOP + len(figures) * ROW + 68
    worst = max(each.first[3] for each in figures)
    told = (
        f"One row for each of {len(figures)} scenarios, one column for each stage of a turn: a line from the median to "
        f"the 99th percentile in milliseconds, a tick at the 95th, and the stage's deadline as a dashed line. "
        f"Of {sum(each.turns for each in figures)} turns {sum(each.kept for each in figures)} gave the user audio or "
        f"text within the total's deadline and 50 ms; the longest wait was {worst:.0f} ms. {caption}"
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" '
        f'font-size="13" role="img" aria-labelledby="t d">',
        '<title id="t">Latency of a turn by stage, with services at fault</title>',
        f'<desc id="d">{escape(told)}</desc>',
        f"<style>{STYLE}</style>",
        f'<rect class="bg" width="{width}" height="{height}" rx="12"/>',
        '<text class="head" x="16" y="28" font-size="16">Latency of a turn by stage, with services at fault</text>',
        f'<text class="sub" x="16" y="48">{escape(caption)}</text>',
    ]
    bottom = TOP + len(figures) * ROW
    for column, stage in enumerate(COLUMNS):
        parts += _column(LEFT + column * (WIDTH + GAP), stage, scales[stage], deadlines.get(stage), bottom)
    for number, each in enumerate(figures):
        y = TOP + number * ROW + ROW // 2
        parts.append(f'<text class="name" x="16" y="{y + 4}">{escape(each.name)}</text>')
        for column, stage in enumerate(COLUMNS):
            if stage in _columns(each):
                parts.append(_span(each, stage, LEFT + column * (WIDTH + GAP), y, scales[stage]))
    for line, text in enumerate(LEGEND):
        parts.append(f'<text class="sub" x="16" y="{bottom + 40 + line * 16}">{escape(text)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _column(x: int, stage: str, top_ms: int, deadline_ms: int | None, bottom: int) -> list[str]:
    parts = [f'<text class="head" x="{x}" y="{TOP - 14}">{escape(stage)}</text>']
    for part, anchor in ((0, "start"), (0.5, "middle"), (1, "end")):
        at = x + part * WIDTH
        parts.append(f'<path class="grid" d="M{at:.0f} {TOP - 4}V{bottom + 4}"/>')
        parts.append(
            f'<text class="sub" x="{at:.0f}" y="{bottom + 18}" text-anchor="{anchor}">{round(part * top_ms)}</text>'
        )
    if deadline_ms is not None and deadline_ms <= top_ms:
        at = x + WIDTH * deadline_ms / top_ms
        parts.append(f'<path class="limit" d="M{at:.1f} {TOP - 8}V{bottom + 4}"/>')
    return parts


def _span(figures: Figures, stage: str, x: int, y: int, top_ms: int) -> str:
    p50, p95, p99 = (x + WIDTH * min(1.0, ms / top_ms) for ms in _columns(figures)[stage][:3])
    spoken = " / ".join(f"{ms:.0f}" for ms in _columns(figures)[stage][:3])
    return (
        f"<g><title>{escape(figures.name)}, {stage}: p50 / p95 / p99 {spoken} ms</title>"
        f'<path class="span" d="M{p50:.1f} {y}H{max(p99, p50 + 0.1):.1f}"/>'
        f'<path class="p95" d="M{p95:.1f} {y - 6}v12"/><circle class="p50" cx="{p50:.1f}" cy="{y}" r="3.5"/></g>'
    )


def _columns(figures: Figures) -> dict[str, tuple[float, float, float, float]]:
    return {**figures.stages, GIVEN: figures.first}


def _top_ms(figures: Sequence[Figures], stage: str, deadline_ms: int) -> int:
    """A round number that everything fits under."""
    most = max([deadline_ms, *(_columns(each)[stage][2] for each in figures if stage in _columns(each))])
    return math.ceil(most / 500) * 500
