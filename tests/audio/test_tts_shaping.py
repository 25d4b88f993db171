"""Loudness, pauses and cutting text, without a voice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio.tts.shaping import PauseShaper, to_samples
from audio.tts.text import phoneme_parts, speakable_parts

QUIET = st.integers(-100, 100)
ANY = st.integers(-32_768, 32_767)
STREAM = st.lists(st.lists(QUIET | ANY, max_size=30), max_size=8)


def shaped(stream: list[list[int]], pause: int, lead: int = 3) -> list[int]:
    shaper = PauseShaper(threshold=100, lead_samples=lead)
    out = [shaper.feed(np.array(chunk, dtype=np.int16)) for chunk in stream]
    return np.concatenate([*out, shaper.finish(pause)]).tolist()


@given(STREAM, st.integers(0, 50))
def test_only_the_silence_at_the_ends_changes(stream: list[list[int]], pause: int) -> None:
    flat = [sample for chunk in stream for sample in chunk]
    sounds = [at for at, sample in enumerate(flat) if abs(sample) > 100]
    if not sounds:
        assert shaped(stream, pause) == []
        return
    core = flat[max(0, sounds[0] - 3) : sounds[-1] + 1]
    tail = flat[sounds[-1] + 1 :][:pause]

    found = shaped(stream, pause)

    assert found == core + tail + [0] * (pause - len(tail))


@given(st.lists(st.floats(-1.0, 1.0, width=32), max_size=50), st.floats(0.1, 8.0))
def test_gain_never_clips_and_keeps_the_order_of_levels(wave: list[float], gain: float) -> None:
    waveform = np.sort(np.array(wave, dtype=np.float32))

    samples = to_samples(waveform, gain)

    assert samples.dtype == np.int16
    assert np.all(np.diff(samples.astype(int)) >= 0)
    assert np.all(np.abs(samples.astype(int)) <= 32_767)


def test_gain_is_exact_below_the_knee() -> None:
    assert to_samples(np.array([0.25, -0.5], dtype=np.float32), 1.5).tolist() == [12_288, -24_575]


@given(st.text(max_size=300), st.integers(8, 60))
def test_parts_are_short_and_lose_no_word(text: str, limit: int) -> None:
    parts = list(speakable_parts(text, limit))

    assert all(0 < len(part) <= limit for part in parts)
    letters = [character for character in text if character.isalnum()]
    assert [character for part in parts for character in part if character.isalnum()] == letters


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One two. Three four five.", ["One two.", "Three four five."]),
        ("One two, three four five", ["One two,", "three four five"]),
        ("One two three four five", ["One two three", "four five"]),
        ("abcdefghijklmnopqrstuvwxyz", ["abcdefghijklmnop", "qrstuvwxyz"]),
        ("short", ["short"]),
        (" a\x00b\n\tc ", ["a b c"]),
        ("?! ...", []),
        ("5 €", ["5 €"]),
    ],
)
def test_text_is_cut_at_sentences_then_clauses_then_words(text: str, parts: list[str]) -> None:
    assert list(speakable_parts(text, 16)) == parts


@given(st.text(alphabet="ab ,;.", max_size=200), st.integers(4, 40))
def test_phonemes_are_cut_without_loss(sentence: str, limit: int) -> None:
    parts = list(phoneme_parts(list(sentence), limit))

    assert [symbol for part in parts for symbol in part] == list(sentence)
    assert all(0 < len(part) <= limit for part in parts)


def test_phonemes_are_cut_after_a_clause_rather_than_between_words() -> None:
    assert ["".join(part) for part in phoneme_parts(list("aaa bbb, ccc ddd"), 12)] == ["aaa bbb, ", "ccc ddd"]
    assert ["".join(part) for part in phoneme_parts(list("aaa bbb ccc ddd"), 12)] == ["aaa bbb ccc ", "ddd"]
