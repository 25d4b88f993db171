"""How late the microphone is heard, for whoever compares it with what was played."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.core.mic_delay import MOST_MS, PAUSED_MS, USUAL_WITHIN_MS, MicDelay


def on_time(delay: MicDelay, from_ms: int, to_ms: int, ahead_ms: int) -> None:
    for heard_ms in range(from_ms, to_ms, 20):
        delay.heard(heard_ms, heard_ms + ahead_ms)


def test_what_a_busy_server_hears_late_is_late_by_as_much_until_it_has_caught_up() -> None:
    delay = MicDelay()
    on_time(delay, 0, 2_000, 5_000)
    assert delay.late_ms == 0
    late = list[int]()
    for heard_ms in range(2_000, 2_320, 20):
        delay.heard(heard_ms, 7_320)
        late.append(delay.late_ms)
    assert late == list(range(320, 0, -20))
    on_time(delay, 2_320, 2_600, 5_000)
    assert delay.late_ms == 0


def test_whoever_was_mute_is_not_late() -> None:
    delay = MicDelay()
    on_time(delay, 0, 1_000, 0)
    delay.heard(1_000, 1_000 + PAUSED_MS)
    assert delay.late_ms == 0


def test_what_goes_on_is_the_usual() -> None:
    delay = MicDelay()
    on_time(delay, 0, 1_000, 0)
    on_time(delay, 1_000, USUAL_WITHIN_MS + 600, 300)
    assert delay.late_ms == 300
    on_time(delay, USUAL_WITHIN_MS + 600, USUAL_WITHIN_MS + 1_000, 300)
    assert delay.late_ms == 0


@given(st.lists(st.tuples(st.integers(1, 200), st.integers(0, 900)), min_size=1, max_size=60))
def test_lateness_is_never_less_than_nothing_nor_beyond_what_is_kept(chunks: list[tuple[int, int]]) -> None:
    delay, heard_ms, clock_ms = MicDelay(), 0, 0
    for length_ms, wait_ms in chunks:
        heard_ms, clock_ms = heard_ms + length_ms, clock_ms + wait_ms
        delay.heard(heard_ms, clock_ms)
        assert 0 <= delay.late_ms <= MOST_MS


@pytest.mark.parametrize("length_ms", [10, 20, 250])
def test_chunks_of_any_length_that_come_when_they_are_full_are_on_time(length_ms: int) -> None:
    delay = MicDelay()
    for number in range(1, 40):
        delay.heard(number * length_ms, number * length_ms + 40)
        assert delay.late_ms == 0
