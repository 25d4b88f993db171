"""Human sentences with pauses, as the embedded engines heard them once, through the turn machine: deterministic.

The whole measure, with more recordings and the engines at work, is ``tests/load/bench_endpoint.py``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from bench_endpoint import LONGEST_PAUSE_MS, MISSED_MS, NO_DELAYS, PROVIDERS, play
from endpoint_ear import Heard
from endpoint_replay import Delays, Outcome

from agents.core.endpoint_wait import Eagerness
from agents.core.policy import TurnPolicy
from server.contracts.session import Patience, TurnDetection
from server.sessions.voice_options import turn_policy

HEARD = Path(__file__).parent.parent / "fixtures" / "endpoint" / "heard.jsonl"


@cache
def heard() -> tuple[Heard, ...]:
    return tuple(Heard.from_json(json.loads(line)) for line in HEARD.read_text().splitlines())


def outcomes(policy: TurnPolicy, delays: Delays = NO_DELAYS) -> list[Outcome]:
    return play(heard(), policy, delays)


def cut(played: Sequence[Outcome]) -> int:
    return sum(one.cut for one in played)


def median_gap_ms(played: Sequence[Outcome]) -> float:
    return float(np.median([one.gap_ms for one in played if one.gap_ms is not None]))


def silence(ms: int) -> TurnPolicy:
    return TurnPolicy(min_wait_ms=ms, wait_ms=ms, max_wait_ms=ms)


def test_the_default_answers_within_300_ms_and_cuts_off_fewer_than_half_a_second_of_silence() -> None:
    default, fixed = outcomes(TurnPolicy()), outcomes(silence(500))
    assert median_gap_ms(default) <= 300
    assert median_gap_ms(fixed) >= 500
    assert cut(default) < cut(fixed)


def test_low_eagerness_cuts_off_no_more_than_long_silence_and_answers_much_sooner() -> None:
    patient, fixed = outcomes(TurnPolicy(eagerness="low")), outcomes(silence(800))
    assert cut(patient) <= cut(fixed)
    assert median_gap_ms(patient) < median_gap_ms(fixed) - 200


def test_the_voice_gives_way_so_soon_that_few_cut_offs_are_noticed() -> None:
    played = outcomes(TurnPolicy())
    assert sum(one.noticed for one in played) < cut(played)


def test_while_the_reply_is_made_a_turn_taken_for_over_too_early_goes_on() -> None:
    late, early = outcomes(TurnPolicy(), PROVIDERS), outcomes(TurnPolicy())
    assert cut(late) < cut(early)
    assert sum(one.noticed for one in late) <= sum(one.noticed for one in early)


@pytest.mark.parametrize("patience", ["patient", "very_patient"])
@pytest.mark.parametrize("eagerness", ["auto", "high"])
def test_who_asks_for_patience_is_never_cut_off_in_a_pause(patience: Patience, eagerness: Eagerness) -> None:
    policy = turn_policy(TurnDetection(eagerness=eagerness), patience)
    played = [one for one in outcomes(policy) if one.heard.longest_pause_ms <= LONGEST_PAUSE_MS]
    assert not [one.heard.name for one in played if one.cut]


@pytest.mark.parametrize("eagerness", ["low", "auto", "high"])
def test_every_end_is_found(eagerness: Eagerness) -> None:
    for one in outcomes(TurnPolicy(eagerness=eagerness)):
        assert one.committed_ms is not None
        assert one.committed_ms <= one.heard.end_ms + MISSED_MS
