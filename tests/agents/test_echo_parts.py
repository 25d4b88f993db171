"""The parts of the guard against the agent's own voice: words, the gate, what was played."""

from __future__ import annotations

import numpy as np
import pytest

from agents.core.echo_gate import HANG_FRAMES, EchoGate
from agents.core.echo_words import repeats
from agents.core.playback import KEPT_MS, Playback
from audio.echo import BANDS, FLOOR_DB, FRAME_MS
from audio.playout import PlayoutLedger

SAID = "It is ten past four in the afternoon, and the sun will set in about an hour from now."


@pytest.mark.parametrize(
    ("transcript", "own"),
    [
        ("ten past four in the afternoon", True),
        ("Ten passed four in the afternoon and the", True),
        ("and the sun will set", True),
        ("and what about tomorrow", False),
        ("the sun", False),
        ("the afternoon is when I will set an hour", False),
        ("", False),
    ],
)
def test_words_are_the_agents_own_if_most_of_them_are_in_its_order(transcript: str, own: bool) -> None:
    assert repeats(transcript, SAID) is own


def test_languages_without_spaces_count_characters() -> None:
    assert repeats("今はお答えできません", "申し訳ありません。今はお答えできませんでした。")
    assert not repeats("明日の天気はどうですか", "申し訳ありません。今はお答えできませんでした。")


def test_fewer_words_are_enough_where_the_sound_says_so_too() -> None:
    assert not repeats("the sun", SAID)
    assert repeats("the sun", SAID, min_words=2)


def level(db: float) -> np.ndarray:
    return np.full(BANDS, db, np.float32)


def test_the_gate_is_shut_to_the_echo_and_open_to_who_is_louder() -> None:
    gate, gains = EchoGate(), level(-10.0)
    assert [gate.passes(level(-50.0), level(-40.0), gains) for _ in range(30)][-1] is False
    loud = [gate.passes(level(-38.0), level(-40.0), gains) for _ in range(6)]
    assert loud == [False, False, False, True, True, True]
    after = [gate.passes(level(-50.0), level(-40.0), gains) for _ in range(HANG_FRAMES + 10)]
    assert after[0] is True  # between two words
    assert after[-1] is False


def test_the_gate_is_open_once_the_echo_has_died_away() -> None:
    gate, gains = EchoGate(), level(-10.0)
    for _ in range(30):
        gate.passes(level(-50.0), level(-40.0), gains)
    assert not gate.passes(level(-52.0), level(FLOOR_DB), gains)
    assert [gate.passes(level(-75.0), level(FLOOR_DB), gains) for _ in range(40)][-1] is True


def playing(samples: np.ndarray) -> tuple[Playback, PlayoutLedger]:
    playback, ledger = Playback(), PlayoutLedger(16_000)
    ledger.add_segment(SAID)
    ledger.extend(len(samples))
    return playback, ledger


def test_levels_lie_where_they_were_played_and_silence_elsewhere() -> None:
    tone = np.rint(8_000 * np.sin(2 * np.pi * 500 * np.arange(16_000) / 16_000)).astype(np.int16)
    playback, ledger = playing(tone)
    playback.advance(None, 1_000)
    playback.sent(0, tone[:4_800], 16_000)
    ledger.sent(4_800, 1_000)
    playback.advance(ledger, 1_600)
    loud = np.max(playback.levels(30), axis=1) > -30.0
    assert [bool(each) for each in loud] == [True] * 15 + [False] * 15
    assert playback.plays(1_600, 400)
    assert not playback.plays(1_600, 200)


def test_what_is_held_was_not_played_and_what_is_resumed_is_played_again() -> None:
    tone = np.rint(8_000 * np.sin(2 * np.pi * 500 * np.arange(16_000) / 16_000)).astype(np.int16)
    playback, ledger = playing(tone)
    playback.sent(0, tone[:4_800], 16_000)
    ledger.sent(4_800, 0)
    playback.advance(ledger, 100)
    ledger.hold(100)
    playback.advance(ledger, 400)
    position = ledger.resume(800)
    playback.sent(position, tone[position : position + 3_200], 16_000)
    ledger.sent(3_200, 400)
    playback.advance(ledger, 500)
    loud = np.max(playback.levels(25), axis=1) > -30.0
    assert [bool(each) for each in loud] == [True] * 5 + [False] * 15 + [True] * 5


def test_the_past_is_bounded_however_long_nobody_asks() -> None:
    playback, _ = playing(np.zeros(16_000, np.int16))
    playback.advance(None, 10_000_000)
    assert playback.levels(KEPT_MS // FRAME_MS + 10).shape == (KEPT_MS // FRAME_MS + 10, BANDS)
    assert not playback.plays(10_000_000, 60_000)


def test_words_of_a_reply_that_is_over_count_for_a_while() -> None:
    playback = Playback()
    playback.ended("Good morning.", 1_000)
    assert playback.words(5_000) == ["Good morning."]
    assert playback.words(60_000) == []
