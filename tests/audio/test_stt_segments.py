from __future__ import annotations

import numpy as np

from audio.stt.segments import is_worth_reading, loud_power, read

FIRST = 1_000
SECOND = 16_000


def at(seconds: float) -> int:
    return FIRST + round(seconds * 50)


def test_text_between_timestamps_accounts_for_the_audio_up_to_the_last() -> None:
    heard = read([at(0), 1, 2, at(1), at(1.2), 3, at(2.5)], FIRST, 10 * SECOND)
    assert (heard.tokens, heard.samples) == ((1, 2, 3), int(2.5 * SECOND))


def test_text_placed_behind_the_audio_is_an_echo_and_is_dropped() -> None:
    heard = read([at(0), 1, 2, at(3), at(3), 1, 2, at(6)], FIRST, 3 * SECOND)
    assert (heard.tokens, heard.samples) == ((1, 2), 3 * SECOND)


def test_text_without_an_end_reaches_the_end_of_the_audio() -> None:
    heard = read([at(0), 1, 2], FIRST, 5 * SECOND)
    assert (heard.tokens, heard.samples) == ((1, 2), 5 * SECOND)


def test_no_text_accounts_for_everything() -> None:
    assert read([at(0), at(1)], FIRST, 5 * SECOND).samples == 5 * SECOND


def test_an_unread_rest_is_read_only_if_it_is_long_and_loud() -> None:
    speech = np.random.default_rng(0).normal(0, 2_000, 4 * SECOND).astype(np.int16)
    loud = loud_power(speech)
    assert is_worth_reading(speech[SECOND:], loud)
    assert not is_worth_reading(speech[:SECOND], loud)
    assert not is_worth_reading(speech[SECOND:] // 50, loud)
