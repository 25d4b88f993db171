"""The latency benchmark itself: that it keeps the budgets' promises, is the same with the same seed, and sees what it
says it sees."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from latency_chart import COLUMNS, GIVEN, Limit, chart
from latency_scenarios import SCENARIOS, Figures, broken, play
from latency_user import Client, TurnSeen

from agents.events import AudioOut, Interrupted, Resumed, TurnCompleted, TurnStarted
from audio.tts.scripted import tone

TURNS = 15
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def figures() -> list[Figures]:
    """Every scenario, a few hundred turns in all."""
    return [play(scenario, turns=TURNS, sessions=5, seed=1) for scenario in SCENARIOS]


def named(figures: list[Figures], name: str) -> Figures:
    return next(each for each in figures if each.name == name)


def test_whatever_is_at_fault_the_budgets_promises_are_kept(figures: list[Figures]) -> None:
    assert sum(each.turns for each in figures) > 200
    assert broken(figures) == []
    assert [each.late for each in figures if each.late] == []


def test_faults_are_felt_and_answered(figures: list[Figures]) -> None:
    usual, dead = named(figures, "no faults"), named(figures, "all, and stand-ins: dead")
    assert set(usual.heard) == {"answer"}
    assert set(dead.heard) == {"text only"}
    assert (dead.kept, dead.kept_by_voice) == (dead.turns, 0)
    stalled = named(figures, "all: stalled")
    assert stalled.breaches
    assert stalled.stages["total"][1] > usual.stages["total"][1]


def test_drafts_and_hedges_can_be_off_and_cost_nothing_then(figures: list[Figures]) -> None:
    off = named(figures, "no faults, no extra tokens")
    assert (off.tokens_drafted, off.tokens_outrun, off.tokens_taken_over) == (0, 0, 0)
    assert sum(each.tokens_drafted for each in figures) > 0
    assert sum(each.tokens_outrun for each in figures) > 0


def test_the_same_seed_gives_the_same_figures(figures: list[Figures]) -> None:
    scenario = SCENARIOS[-2]
    assert play(scenario, turns=TURNS, sessions=5, seed=1) == named(figures, scenario.name)
    assert play(scenario, turns=TURNS, sessions=5, seed=2) != named(figures, scenario.name)


def test_broken_promises_are_told(figures: list[Figures]) -> None:
    good = figures[0]
    assert "hang" in broken([replace(good, hung=1)])[0]
    assert "stale" in broken([replace(good, stale=("audio",))])[0]
    assert "in time" in broken([replace(good, kept=good.turns - 1)])[0]
    assert "tokens" in broken([replace(good, tokens_drafted=good.tokens_used)])[0]


@pytest.mark.parametrize(
    ("before", "why"),
    [
        ((), "not started"),
        ((TurnStarted("a", "", "speech"), TurnCompleted("a", "", interrupted=False)), "ended"),
        ((TurnStarted("a", "", "speech"), Interrupted("a", 0, "", resumable=False)), "ended"),
        ((TurnStarted("a", "", "speech"), Interrupted("a", 0, "", resumable=True)), "held"),
        ((TurnStarted("a", "", "speech"), TurnStarted("b", "", "speech")), "overtaken"),
    ],
)
async def test_audio_that_nobody_may_hear_is_seen(before: tuple[TurnStarted, ...], why: str) -> None:
    client = Client(None)  # type: ignore[arg-type]  # it is given its events here
    for event in (*before, AudioOut("a", tone(16_000), 16_000, 0)):
        client.take(event, 1.0)
    assert len(client.stale) == 1
    assert why in client.stale[0]


async def test_audio_that_goes_on_after_all_is_not_stale() -> None:
    client = Client(None)  # type: ignore[arg-type]
    audio = AudioOut("a", tone(16_000), 16_000, 0)
    held = Interrupted("a", 0, "", resumable=True)
    for event in (TurnStarted("a", "", "speech"), audio, held, Resumed("a", 0), audio):
        client.take(event, 1.0)
    assert client.stale == []
    assert client.turns == {"a": TurnSeen(1.0, first_audio_s=1.0)}


def test_the_chart_says_in_words_what_it_shows(figures: list[Figures]) -> None:
    svg = ET.fromstring(chart(figures, [Limit(GIVEN, 2_500)], "A caption & more."))
    assert svg.get("role") == "img"
    assert svg.findtext(f"{SVG}title")
    assert "A caption & more." in (svg.findtext(f"{SVG}desc") or "")
    spans = [title.text or "" for title in svg.iter(f"{SVG}title")][1:]
    assert len(spans) == sum(stage in each.stages or stage == GIVEN for each in figures for stage in COLUMNS)
    assert spans[0].startswith(f"{figures[0].name}, endpoint: p50 / p95 / p99 ")
