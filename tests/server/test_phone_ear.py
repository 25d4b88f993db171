"""A caller's voice on its way to the session: whole, in order, in bites while the loop is busy."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from audio.formats import Samples
from server.telephony.ear import Ear

TICKS_PER_S = 48_000


class Session:
    """Notes what it hears."""

    def __init__(self) -> None:
        self.chunks: list[Samples] = []
        self.ticks = 0
        self.bite_s = 0.0
        self.ear = Ear(self.hear, lambda: self.bite_s)

    def hear(self, samples: Samples, received: int) -> None:
        self.chunks.append(samples)
        self.ticks += received

    def say(self, frames: int, rate_hz: int = 8_000, level: int = 1) -> None:
        for _ in range(frames):
            self.ear.heard(np.full(rate_hz // 50, level, np.int16), rate_hz)

    @property
    def all(self) -> Samples:
        return np.concatenate([np.zeros(0, np.int16), *self.chunks])


def test_with_time_to_spare_everything_is_heard_as_it_comes() -> None:
    session = Session()
    session.say(5)
    assert len(session.chunks) == 5
    assert session.ticks == 5 * TICKS_PER_S // 50


def test_a_busy_loop_hears_bites() -> None:
    session = Session()
    session.bite_s = 0.06
    session.say(7)
    assert [round(len(chunk) / 320) for chunk in session.chunks] == [3, 3]
    session.ear.flush()
    session.ear.flush()
    assert len(session.chunks) == 3
    assert session.ticks == 7 * TICKS_PER_S // 50


def test_what_gathered_comes_before_what_comes_after_the_load_has_gone() -> None:
    session = Session()
    session.bite_s = 0.12
    session.say(2, 16_000, level=1)
    session.bite_s = 0.0
    session.say(2, 16_000, level=2)
    assert session.all.tolist() == [1] * 640 + [2] * 640


def test_a_line_that_has_fallen_silent_leaves_nothing_unheard() -> None:
    session = Session()
    session.bite_s = 0.12
    session.say(2)
    session.ear.tick()
    assert session.chunks == [], "the next packet may be on its way"
    session.ear.tick()
    assert session.ticks == 2 * TICKS_PER_S // 50
    session.ear.tick()
    assert len(session.chunks) == 1


def test_another_rate_is_another_line_and_loses_nothing() -> None:
    session = Session()
    session.bite_s = 0.1
    session.say(3, 8_000)
    session.say(4, 16_000)
    session.ear.flush()
    assert session.ticks == 7 * TICKS_PER_S // 50


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.sampled_from([0.0, 0.04, 0.08, 0.12])), max_size=12))
def test_bites_are_of_one_stream(spans: list[tuple[int, float]]) -> None:
    rng = np.random.default_rng(7)
    voice = rng.integers(-9_000, 9_000, 160 * sum(frames for frames, _ in spans)).astype(np.int16)
    bitten, whole, at = Session(), Session(), 0
    for frames, bite_s in spans:
        bitten.bite_s = bite_s
        for _ in range(frames):
            for session in (bitten, whole):
                session.ear.heard(voice[at : at + 160], 8_000)
            at += 160
    bitten.ear.flush()
    assert np.array_equal(bitten.all, whole.all)
    assert bitten.ticks == whole.ticks
