"""Latency budgets, measured: what users hear and when, while services stall, drag and fail.

Two parts. Thousands of turns of the real conversation core in virtual time: speech with pauses, interruptions and
cancels, services with the delays of a network, and faults that begin as a Poisson process, for each stage alone and for
all together, behind the product's own fallbacks and hedging. The seed decides everything: the same one gives the same
figures on any machine. Then human recordings, spoken in real time by several sessions at once over real sockets, to a
server with the embedded engines.

    make bench-latency [ARGS="--turns 1000 --seed 1 --sessions 4 --questions 3 --json --svg FILE"]

Ends with status 1 where a promise of the budgets is not kept. Ends of turns are measured by ``make bench-endpoint``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench_client import percentiles as in_words
from bench_main_job import ask, embedded_server
from bench_speech import clip, clips
from latency_chart import GIVEN, Limit, chart
from latency_scenarios import EXTRA_SHARE, SCENARIOS, SHOWN, SLACK_MS, Figures, broken, play

from agents.core.budget_profiles import profile

TOGETHER: Final = 10
"""Sessions that share the services of a scenario."""
BETWEEN_S: Final = 2.0
"""Between a session's answer and its next question, at the mean."""


def print_scenario(figures: Figures) -> None:
    """One scenario in a few lines."""
    p50, p95, p99, worst = figures.first
    print(f"{figures.name}: {figures.turns} turns, {figures.cancelled} more cancelled")
    print(
        f"  audio or text in time {share(figures.kept, figures.turns)}, audio "
        f"{share(figures.kept_by_voice, figures.turns)}; first of either p50 {p50:.0f}  p95 {p95:.0f}  p99 {p99:.0f}  "
        f"worst {worst:.0f} ms"
    )
    for stage in SHOWN:
        if stage in figures.stages:
            p50, p95, p99, worst = figures.stages[stage]
            print(f"    {stage:8s} p50 {p50:5.0f}  p95 {p95:5.0f}  p99 {p99:5.0f}  worst {worst:5.0f}")
    if figures.barge_in is not None:
        print(f"    barge-in, onset to silence p50 {figures.barge_in[0]:.0f}  worst {figures.barge_in[3]:.0f}")
    print(f"  heard: {counted(figures.heard)}")
    print(f"  breaches: {counted(figures.breaches) or 'none'}")
    print(
        f"  hung {figures.hung}, stale audio {len(figures.stale)}; tokens: drafts "
        f"{share(figures.tokens_drafted, figures.tokens_used)}, hedges "
        f"{share(figures.tokens_outrun, figures.tokens_used)}, taken over as at fault "
        f"{share(figures.tokens_taken_over, figures.tokens_used)} of those used"
    )
    for line in (*figures.late[:3], *figures.stale[:3]):
        print(f"  ! {line}")


def share(part: int, whole: int) -> str:
    """A share in per cent."""
    return f"{100 * part / whole:.1f} %" if whole else "none"


def counted(counts: dict[str, int]) -> str:
    """Counts in words."""
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def print_sum(figures: Sequence[Figures]) -> None:
    """All scenarios together, and whether the promises were kept."""
    turns, kept = sum(each.turns for each in figures), sum(each.kept for each in figures)
    used = sum(each.tokens_used for each in figures)
    drafted, outrun = (sum(part) for part in zip(*((f.tokens_drafted, f.tokens_outrun) for f in figures), strict=True))
    deadline_ms = profile("azure").stages["total"].deadline_ms
    print(f"all: {turns} turns")
    print(
        f"  audio or text within {deadline_ms} + {SLACK_MS} ms: {kept} = {100 * kept / turns:.2f} % (at least 99.9 %)"
    )
    print(
        f"  hung: {sum(each.hung for each in figures)}, stale audio: {sum(len(each.stale) for each in figures)} (none)"
    )
    print(
        f"  more tokens for drafts {share(drafted, used)}, for hedges {share(outrun, used)} "
        f"(together at most {100 * EXTRA_SHARE:.0f} %)"
    )


async def speak(url: str, sessions: int, questions: int, seed: int) -> tuple[list[float], dict[str, list[float]], int]:
    """Several users who ask recorded questions, each in their own time. Returns last sample to first audio in ms, the
    stages, and how many questions were cut off."""
    totals: list[float] = []
    stages: dict[str, list[float]] = {}
    names = [name for name in clips() if len(clip(name)) < 8 * 16_000]
    cut = 0

    async def user(number: int) -> None:
        nonlocal cut
        rng = Random(f"{seed} {number}")
        for _ in range(questions):
            await asyncio.sleep(rng.expovariate(1 / BETWEEN_S))
            cut += await ask(url, rng.choice(names), totals, stages) != 1

    async with asyncio.TaskGroup() as tasks:
        for number in range(sessions):
            tasks.create_task(user(number))
    return totals, stages, cut


def real_speech(sessions: int, questions: int, seed: int) -> dict[str, Any]:
    """The second part: prints it and returns it as data."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with embedded_server(port) as (url, _):
        totals, stages, cut = asyncio.run(speak(url, sessions, questions, seed))
    print(
        f"human recordings, embedded engines, {sessions} sessions at once, {questions} questions each", file=sys.stderr
    )
    print(f"  last speech sample -> first audio byte {in_words(totals)} ms", file=sys.stderr)
    for stage in SHOWN:
        print(f"    stage {stage:8s}                       {in_words(stages.get(stage, []))} ms", file=sys.stderr)
    print(f"  cut off or not answered: {cut} of {sessions * questions}", file=sys.stderr)
    return {"last_sample_to_first_audio_ms": totals, "stages_ms": stages, "cut_off": cut}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure latency budgets under faults.")
    parser.add_argument("--turns", type=int, default=140, help="per scenario, in virtual time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    parser.add_argument("--sessions", type=int, default=4, help="that speak recordings at once; 0 leaves them out")
    parser.add_argument("--questions", type=int, default=3, help="of each of these sessions")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    parser.add_argument("--svg", type=Path, help="where to write the chart")
    return parser.parse_args()


def main() -> int:
    """Returns the exit status."""
    options = arguments()
    logging.disable(logging.ERROR)  # engines fail on purpose
    figures: list[Figures] = []
    for scenario in SCENARIOS:
        if options.only in scenario.name:
            figures.append(play(scenario, turns=options.turns, sessions=TOGETHER, seed=options.seed))
            if not options.json:
                print_scenario(figures[-1])
    if not figures:
        print("no scenario has such a name", file=sys.stderr)
        return 2
    if not options.json:
        print_sum(figures)
    if options.svg is not None:
        stages = profile("azure").stages
        limits = [Limit(stage, stages[stage].deadline_ms) for stage in ("endpoint", "stt", "agent", "tts")]
        limits.append(Limit(GIVEN, stages["total"].deadline_ms))
        turns = sum(each.turns for each in figures)
        options.svg.write_text(chart(figures, limits, f"{turns} turns in virtual time, seed {options.seed}."))
    spoken = real_speech(options.sessions, options.questions, options.seed) if options.sessions else None
    found = broken(figures)
    if options.json:
        print(json.dumps({"scenarios": [each.as_json() for each in figures], "speech": spoken, "broken": found}))
    for line in found:
        print(f"NOT KEPT: {line}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
