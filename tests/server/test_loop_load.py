"""How busy the event loop is, and how long connections rest for it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from server.loop_load import PACES, LoopLoad


@dataclass
class Clock:
    cpu_s: float = 10.0
    now_s: float = 100.0

    def spend(self, share: float, seconds: float = 0.5) -> None:
        self.cpu_s += share * seconds
        self.now_s += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def load(clock: Clock) -> LoopLoad:
    return LoopLoad(lambda: clock.cpu_s, lambda: clock.now_s)


def after(load: LoopLoad, clock: Clock, *shares: float) -> list[float]:
    rests: list[float] = []
    for share in shares:
        clock.spend(share)
        load.measure()
        assert load.share == pytest.approx(share)
        rests.append(load.rest_s)
    return rests


def test_with_time_to_spare_nothing_rests(load: LoopLoad, clock: Clock) -> None:
    assert after(load, clock, 0.0, 0.2, 0.5, 0.54) == [0.0] * 4


def test_the_busier_the_longer_and_step_by_step(load: LoopLoad, clock: Clock) -> None:
    rests = after(load, clock, *[0.99] * len(PACES))
    assert rests[:-1] == [pace.rest_s for pace in PACES[1:]]
    assert rests[-1] == PACES[-1].rest_s == max(pace.rest_s for pace in PACES)


def test_what_resting_saves_does_not_end_it(load: LoopLoad, clock: Clock) -> None:
    for pace in PACES[1:]:
        before = pace.from_share + 0.001
        assert pace.below_share <= before * 2 / 3
        assert after(load, clock, before, before * 0.7, before * 0.7)[0] == pace.rest_s
    assert load.rest_s == PACES[-1].rest_s


def test_it_ends_when_the_load_has_gone(load: LoopLoad, clock: Clock) -> None:
    after(load, clock, *[0.9] * len(PACES))
    assert after(load, clock, *[0.1] * len(PACES))[-2:] == [0.0, 0.0]


def test_a_clock_that_stands_still_changes_nothing(load: LoopLoad, clock: Clock) -> None:
    after(load, clock, 0.9)
    clock.cpu_s += 5
    load.measure()
    assert (load.share, load.rest_s) == (pytest.approx(0.9), PACES[1].rest_s)
