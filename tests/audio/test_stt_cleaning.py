from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio.stt.cleaning import clean, is_no_speech


@pytest.mark.parametrize(
    "artefact", ["[BLANK_AUDIO]", "(music)", " ♪", "♪ la la ♪", "*sighs*", "[Music", "...", " .", "", "<|endoftext|>"]
)
def test_what_nobody_said_is_nothing(artefact: str) -> None:
    assert clean(artefact) == ""


def test_speech_around_an_annotation_is_kept_single_spaced() -> None:
    assert clean(" Hello [door slams]  there. ") == "Hello there."


def test_a_phrase_repeated_to_the_end_is_said_once() -> None:
    assert clean("Go home. " + "Thank you. " * 8) == "Go home. Thank you."


def test_a_loop_that_had_to_be_stopped_is_cut_even_in_mid_phrase() -> None:
    assert clean("10 of clubs 10 of clubs 10 of clubs 10 of", endless=True) == "10 of clubs"


@pytest.mark.parametrize(
    "said", ["No, no, no!", "Very very very good.", "Bye bye. Bye bye.", "words words words words"]
)
def test_what_people_repeat_is_kept(said: str) -> None:
    assert clean(said) == said


@given(st.lists(st.sampled_from(["go", "forward", "ten", "meters."]), min_size=1, max_size=40), st.booleans())
def test_cleaning_keeps_a_beginning_and_adds_nothing(words: list[str], endless: bool) -> None:
    cleaned = clean(" ".join(words), endless=endless).split()
    assert cleaned == words[: len(cleaned)]
    assert cleaned


def test_no_speech_takes_both_a_likely_no_speech_token_and_doubtful_text() -> None:
    assert is_no_speech(0.99, -0.96)
    assert is_no_speech(0.9, -0.2, endless=True)
    assert not is_no_speech(0.9, -0.2)
    assert not is_no_speech(0.3, -2.0)
