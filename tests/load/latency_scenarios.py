"""What may go wrong, one scenario after the other, and what its turns came to: thousands of turns in virtual time.

Owns the scenarios and the figures drawn from what users saw; the promises of the latency budgets are judged here.
Driven by ``bench_latency`` and by its test.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any, Final, Literal

import numpy as np
from latency_engines import STAGES, Faults, Stage, Tokens, Town
from latency_user import Asked, Client, User
from virtual_time import run_virtual

from agents.core.budget import LatencyBudget, StageChange, within
from agents.core.budget_profiles import profile
from agents.core.language import rules_for
from agents.core.options import Identity, SessionOptions
from agents.core.policy import TurnPolicy
from metering.ledger import UsageQuery, read_all
from metering.memory import MemoryRecorder

SLACK_MS: Final = 50
TURNS_EACH: Final = 20
KEPT_SHARE: Final = 0.999
EXTRA_SHARE: Final = 0.15
RULES: Final = rules_for("en-US")
SHOWN: Final = ("endpoint", "stt", "agent", "tts", "egress", "total")

Heard = Literal[
    "answer",
    "part of the words answered",
    "filler, then answer",
    "apology",
    "text only",
    "an earlier turn, resumed",
    "nothing",
]


@dataclass(frozen=True, slots=True)
class Scenario:
    """Whose faults of which kind; without ``extras`` nobody is hedged and nothing is drafted."""

    name: str
    faults: dict[Stage, Faults] = field(default_factory=dict[Stage, Faults])
    stand_ins: Faults | None = None
    extras: bool = True


def _scenarios() -> tuple[Scenario, ...]:
    kinds = {"stalled": Faults("stall"), "ten times slower": Faults("slow"), "30 % failing": Faults("sometimes")}
    alone = [Scenario(f"{stage}: {name}", {stage: faults}) for stage in STAGES for name, faults in kinds.items()]
    together = [Scenario(f"all: {name}", dict.fromkeys(STAGES, faults)) for name, faults in kinds.items()]
    return (
        Scenario("no faults"),
        Scenario("no faults, no extra tokens", extras=False),
        *alone,
        *together,
        Scenario("all, and stand-ins: any fault", dict.fromkeys(STAGES, Faults("any")), Faults("any", up_s=12.0)),
        Scenario("all, and stand-ins: dead", dict.fromkeys(STAGES, Faults("stall", 0.0)), Faults("stall", 0.0)),
    )


SCENARIOS: Final = _scenarios()


@dataclass(frozen=True, slots=True)
class Figures:
    """One scenario's outcome. Milliseconds from the last sample of speech; percentiles are p50, p95, p99, worst."""

    name: str
    turns: int
    cancelled: int
    kept: int
    """Turns that gave the user audio or text within the total's deadline and ``SLACK_MS``."""
    kept_by_voice: int
    stages: dict[str, tuple[float, float, float, float]]
    first: tuple[float, float, float, float]
    """Until the first audio or text, seen from outside."""
    barge_in: tuple[float, float, float, float] | None
    breaches: dict[str, int]
    heard: dict[str, int]
    hung: int
    stale: tuple[str, ...]
    late: tuple[str, ...]
    """Turns that did not keep the promise, for whoever looks into it."""
    tokens_used: int
    tokens_drafted: int
    tokens_outrun: int
    tokens_taken_over: int

    @property
    def extra_share(self) -> float:
        """Tokens of discarded drafts and of hedges, over those of the answers used."""
        return (self.tokens_drafted + self.tokens_outrun) / max(1, self.tokens_used)

    def as_json(self) -> dict[str, Any]:
        """As data; a wait without an end is ``null``."""
        finite = [None if ms == float("inf") else ms for ms in self.first]
        return {**asdict(self), "first": finite, "extra_share": round(self.extra_share, 4)}


def play(scenario: Scenario, *, turns: int, sessions: int, seed: int) -> Figures:
    """Hold at least ``turns`` turns of the scenario, in ``sessions`` that go on at the same time and share services;
    more than ``TURNS_EACH`` in a session are held in other ones, with other services, afterwards."""
    return run_virtual(_play(scenario, turns, sessions, seed), limit_s=100_000)


async def _play(scenario: Scenario, turns: int, sessions: int, seed: int) -> Figures:
    each = min(TURNS_EACH, -(-turns // sessions))
    recorder, tokens = MemoryRecorder(), Tokens()
    budget = profile("azure")
    if not scenario.extras:
        left = tuple(action for action in budget.stages["agent"].on_breach if action != "hedge")
        budget = budget.changed({"agent": StageChange(on_breach=left)})
    policy = within(TurnPolicy(rules=RULES, speculate=scenario.extras), budget)
    users: list[User] = []
    clients: list[Client] = []
    for number in range(-(-turns // (each * sessions))):
        name = f"{seed} {scenario.name} {number}"
        town = Town(name, scenario.faults, scenario.stand_ins, tokens)
        options = [
            SessionOptions(Identity(f"session-{number}-{session}"), policy=policy, budget=budget)
            for session in range(sessions)
        ]
        here = [User(Random(f"{name} {one.identity.session_id}"), one, town.engines) for one in options]
        clients += await asyncio.gather(*(user.talk(each, recorder) for user in here))
        users += here
    return _figures(scenario.name, budget, users, clients, recorder, tokens)


def _figures(
    name: str,
    budget: LatencyBudget,
    users: Sequence[User],
    clients: Sequence[Client],
    recorder: MemoryRecorder,
    tokens: Tokens,
) -> Figures:
    asked = [(number, each) for number, user in enumerate(users) for each in user.asked]
    expected = [(number, each) for number, each in asked if not each.cancelled]
    limit_ms = budget.stages["total"].deadline_ms + SLACK_MS
    first = [first_ms(each) for _, each in expected]
    voiced = [_after_ms(each, each.resumed_s if each.turn is None else each.turn.first_audio_s) for _, each in expected]
    turns = [turn for client in clients for turn in client.turns.values()]
    stages: dict[str, list[float]] = {stage: [] for stage in SHOWN}
    for turn in turns:
        measured = () if turn.latency is None else turn.latency.stages
        # What is merely announced, an apology for what was not understood, has no stages of its own.
        for stage in measured if any(stage.stage == "endpoint" for stage in measured) else ():
            stages[stage.stage].append(stage.duration_ms)
    events = list(read_all(recorder.ledger, UsageQuery()))
    taken = sum(event.input_tokens + event.output_tokens for event in events)
    barge_in = [each.barge_in_ms for _, each in asked if each.barge_in_ms is not None]
    return Figures(
        name=name,
        turns=len(expected),
        cancelled=len(asked) - len(expected),
        kept=sum(ms <= limit_ms for ms in first),
        kept_by_voice=sum(ms <= limit_ms for ms in voiced),
        stages={stage: percentiles(values) for stage, values in stages.items() if values},
        first=percentiles(first),
        barge_in=percentiles(barge_in) if barge_in else None,
        breaches=dict(Counter(f"{stage}: {action}" for turn in turns for stage, action in turn.breaches).most_common()),
        heard=dict(Counter(what_was_heard(each) for _, each in expected).most_common()),
        hung=sum(each.hung for _, each in asked),
        stale=tuple(f"session {number}: {why}" for number, client in enumerate(clients) for why in client.stale),
        late=tuple(
            f"session {number}, last sample at {each.zero_s:.2f} s: {ms:.0f} ms, {what_was_heard(each)}"
            for (number, each), ms in zip(expected, first, strict=True)
            if ms > limit_ms
        ),
        tokens_used=taken - tokens.outrun - tokens.taken_over,
        tokens_drafted=sum(event.speculative_tokens for event in events),
        tokens_outrun=tokens.outrun,
        tokens_taken_over=tokens.taken_over,
    )


def first_ms(asked: Asked) -> float:
    """Until the first audio or text of the answer; infinite without any."""
    turn = asked.turn
    moments = (asked.resumed_s,) if turn is None else (turn.first_audio_s, turn.first_text_s)
    given = [at for at in moments if at is not None]
    return _after_ms(asked, min(given, default=None))


def what_was_heard(asked: Asked) -> Heard:
    """What a user got, in a word."""
    turn = asked.turn
    if turn is None and asked.resumed_s is not None:
        return "an earlier turn, resumed"
    if turn is None or (turn.first_audio_s is None and turn.first_text_s is None):
        return "nothing"
    if turn.first_audio_s is None:
        return "text only"
    if RULES.apology in turn.captions:
        return "apology"
    if any(caption in RULES.fillers for caption in turn.captions):
        return "filler, then answer"
    return "part of the words answered" if ("stt", "use_partial") in turn.breaches else "answer"


def percentiles(values: Sequence[float]) -> tuple[float, float, float, float]:
    """p50, p95, p99 and the largest (nearest rank, for some may be infinite)."""
    ranked = sorted(values)
    ranks = [ranked[min(len(ranked) - 1, int(np.ceil(share * len(ranked))) - 1)] for share in (0.5, 0.95, 0.99)]
    return ranks[0], ranks[1], ranks[2], ranked[-1]


def _after_ms(asked: Asked, at_s: float | None) -> float:
    return float("inf") if at_s is None else (at_s - asked.zero_s) * 1_000


def broken(figures: Sequence[Figures]) -> list[str]:
    """The promises that were not kept, in words."""
    turns, kept = sum(each.turns for each in figures), sum(each.kept for each in figures)
    used = sum(each.tokens_used for each in figures)
    extra = sum(each.tokens_drafted + each.tokens_outrun for each in figures) / max(1, used)
    found = [f"{each.name}: {each.hung} turns hang" for each in figures if each.hung]
    found += [f"{each.name}: stale audio, {each.stale[0]}" for each in figures if each.stale]
    if kept < KEPT_SHARE * turns:
        found.append(f"{turns - kept} of {turns} turns gave neither audio nor text in time")
    if extra > EXTRA_SHARE:
        found.append(f"drafts and hedges cost {extra:.1%} more tokens")
    return found
