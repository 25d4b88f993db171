"""What is learned of an engine's first answers."""

from __future__ import annotations

from audio.pace import FEWEST, Pace


def test_nothing_is_concluded_from_a_few_answers() -> None:
    pace = Pace()
    for _ in range(FEWEST - 1):
        pace.note(9.0)
    assert pace.p95_s(0.4) == 0.4
    pace.note(9.0)
    assert pace.p95_s(0.4) == 9.0


def test_it_is_the_nearest_rank_of_the_latest_answers() -> None:
    pace = Pace(window=20)
    for milliseconds in range(1, 21):
        pace.note(milliseconds / 1_000)
    assert pace.p95_s(0.0) == 0.019


def test_what_is_long_past_is_forgotten() -> None:
    pace = Pace(window=10)
    for seconds in (5.0,) * 10 + (0.1,) * 10:
        pace.note(seconds)
    assert pace.p95_s(9.0) == 0.1


def test_equal_answers_leave_one_by_one() -> None:
    pace = Pace(window=8)
    for seconds in (1.0,) * 8 + (2.0,) * 4:
        pace.note(seconds)
    assert pace.p95_s(0.0) == 2.0
    for _ in range(4):
        pace.note(3.0)
    assert pace.p95_s(0.0) == 3.0
