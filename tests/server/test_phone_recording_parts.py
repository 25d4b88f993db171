"""Recording a call, the pure parts: what is said and what counts as a yes, the track of both sides, the WAV file."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from agents.events import TurnCompleted, TurnStarted
from server.conversations.wave_file import DiskFull, WaveFile
from server.settings import SettingsError, load_settings
from server.telephony.phrases import LANGUAGES, load
from server.telephony.recording.talk import ANSWER_MS, LIMIT_MS, TRIES, UNSAID_MS, RecordingTalk
from server.telephony.recording.track import StereoTrack
from server.telephony_settings import RecordingSettings

EN = load("en")


def talk(language: str = "en", *, asks: bool = True) -> RecordingTalk:
    return RecordingTalk(load(language), asks=asks, after_ms=0, now_ms=0)


def say(subject: RecordingTalk, now_ms: int = 0, *, interrupted: bool = False, turn: str = "t1") -> None:
    words = subject.due(now_ms, quiet=True)
    assert words == subject.wording
    assert not subject.turn_started(TurnStarted(turn, words, "announcement"))
    subject.turn_completed(TurnCompleted(turn, words, interrupted), now_ms)


def answer(subject: RecordingTalk, text: str) -> bool:
    return subject.turn_started(TurnStarted("t2", text, "speech"))


def test_a_notice_counts_once_it_was_heard_to_its_end() -> None:
    subject = talk(asks=False)
    words = subject.due(0, quiet=True)
    assert words == EN.recording_notice
    subject.turn_started(TurnStarted("t1", words, "announcement"))
    subject.turn_completed(TurnCompleted("another", "", interrupted=False), 10)
    assert (subject.agreed, subject.over) == (None, False)
    subject.turn_completed(TurnCompleted("t1", words, interrupted=False), 10)
    assert (subject.agreed, subject.over) == ("announced", True)


@pytest.mark.parametrize("asks", [True, False])
def test_words_that_are_interrupted_are_said_again_and_then_no_more(asks: bool) -> None:
    subject = talk(asks=asks)
    for number in range(TRIES):
        say(subject, number, interrupted=True)
    assert (subject.agreed, subject.over) == (None, True)
    assert subject.due(10, quiet=True) is None


def test_words_that_somebody_kept_from_being_said_are_said_again() -> None:
    subject = talk()
    assert subject.due(0, quiet=True)
    assert subject.due(UNSAID_MS, quiet=True) is None
    assert subject.due(UNSAID_MS + 1, quiet=False) is None
    assert subject.due(UNSAID_MS + 2, quiet=True) == EN.recording_question


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "Yes."),
        ("en", "Okay, sure"),
        ("de", "Ja, gerne!"),
        ("es", "Sí, claro"),
        ("fr", "D’accord, oui"),
        ("it", "Sì"),
    ],
)
def test_a_yes_is_understood(language: str, text: str) -> None:
    subject = talk(language)
    say(subject)
    assert answer(subject, text)
    assert subject.agreed == "voice"
    assert subject.due(10, quiet=True) == load(language).recording_on
    assert subject.over


@pytest.mark.parametrize(
    ("language", "text"),
    [("en", "No."), ("en", "Yes, I mean no"), ("en", "Please don’t"), ("de", "Bitte nicht"), ("fr", "Non merci")],
)
def test_a_no_is_understood_and_said(language: str, text: str) -> None:
    subject = talk(language)
    say(subject)
    assert answer(subject, text)
    assert subject.agreed is None
    assert subject.due(10, quiet=True) == load(language).recording_off
    assert subject.over


@pytest.mark.parametrize("text", ["I want a lamp.", "", "yes " * 9])
def test_what_is_no_answer_is_the_agents_to_answer_and_nothing_is_recorded(text: str) -> None:
    subject = talk()
    say(subject)
    assert not answer(subject, text)
    assert (subject.agreed, subject.over) == (None, True)


def test_silence_is_a_no() -> None:
    subject = talk()
    say(subject, 100)
    assert subject.due(100 + ANSWER_MS, quiet=True) is None
    assert subject.due(101 + ANSWER_MS, quiet=False) is None
    assert subject.due(102 + ANSWER_MS, quiet=True) == EN.recording_off
    assert subject.agreed is None


@pytest.mark.parametrize(("key", "agreed"), [("1", "key"), ("0", None), ("#", None)])
def test_a_key_answers_only_a_question_that_was_heard(key: str, agreed: str | None) -> None:
    subject = talk()
    assert not subject.key(key), "an entry like any other"
    assert subject.due(0, quiet=True)
    subject.turn_started(TurnStarted("t1", subject.wording, "announcement"))
    subject.turn_completed(TurnCompleted("t1", subject.wording, interrupted=False), 5)
    assert subject.key(key)
    assert subject.agreed == agreed
    assert not subject.key("1"), "what is settled stays"
    assert subject.agreed == agreed


@pytest.mark.parametrize(("early", "late", "agreed"), [("1", "1", "key"), ("2", "1", None)])
def test_a_key_before_the_question_was_heard_may_refuse_but_not_agree(
    early: str, late: str, agreed: str | None
) -> None:
    subject = talk()
    assert subject.due(0, quiet=True)
    subject.turn_started(TurnStarted("t1", subject.wording, "announcement"))
    assert subject.key(early), "nobody else's entry"
    assert subject.agreed is None
    subject.turn_completed(TurnCompleted("t1", subject.wording, interrupted=False), 5)
    subject.key(late)
    assert subject.agreed == agreed
    assert subject.due(10, quiet=True) == (EN.recording_on if agreed else EN.recording_off)


def test_a_key_during_a_notice_is_an_entry() -> None:
    subject = talk(asks=False)
    assert subject.due(0, quiet=True)
    assert not subject.key("1")


def test_a_yes_before_the_question_was_heard_is_none() -> None:
    subject = talk()
    assert not answer(subject, "Yes?")
    words = subject.due(0, quiet=True)
    assert words is not None
    subject.turn_started(TurnStarted("t1", words, "announcement"))
    assert answer(subject, "Yes."), "nobody else's to answer"
    assert subject.agreed is None
    subject.turn_completed(TurnCompleted("t1", words, interrupted=True), 5)
    assert subject.due(6, quiet=True) == words


def test_it_takes_no_longer_than_it_may() -> None:
    subject = talk()
    assert subject.due(LIMIT_MS + 1, quiet=False) is None
    assert subject.over


@pytest.mark.parametrize("language", LANGUAGES)
def test_yes_and_no_are_told_apart_in_every_language(language: str) -> None:
    phrases = load(language)
    assert not set(phrases.recording_yes) & set(phrases.recording_no)
    assert all(word == word.casefold() for word in (*phrases.recording_yes, *phrases.recording_no))
    assert "1" in phrases.recording_question


# --- the track ---


def of(value: int, count: int) -> np.ndarray:
    return np.full(count, value, np.int16)


def frames(track: StereoTrack) -> tuple[list[int], list[int]]:
    both = np.frombuffer(track.take(), "<i2").reshape(-1, 2)
    return both[:, 0].tolist(), both[:, 1].tolist()


def test_the_callers_audio_is_the_clock_of_both_sides() -> None:
    track = StereoTrack(8_000)
    track.caller(of(1, 2), 8_000)
    track.agent(of(7, 3), 8_000)
    track.caller(of(2, 2), 8_000)
    track.caller(of(3, 2), 8_000)
    assert frames(track) == ([1, 1, 2, 2, 3, 3], [0, 0, 7, 7, 7, 0])
    assert track.take() == b""


def test_what_is_cleared_before_it_sounded_is_not_on_the_track() -> None:
    track = StereoTrack(8_000)
    track.agent(of(7, 4), 8_000)
    track.agent(of(8, 4), 8_000)
    track.caller(of(1, 2), 8_000)
    track.clear()
    track.caller(of(1, 2), 8_000)
    assert frames(track)[1] == [7, 7, 0, 0]


def test_a_line_that_brings_nothing_is_silence_and_the_agent_goes_on() -> None:
    track = StereoTrack(8_000)
    track.agent(of(7, 100), 8_000)
    track.until(0.4)
    assert track.waiting_bytes == 0
    track.until(0.5)
    left, right = frames(track)
    assert left == [0] * 800
    assert right == [7] * 100 + [0] * 700


def test_what_waits_is_bounded() -> None:
    track = StereoTrack(8_000)
    for _ in range(70):
        track.agent(of(7, 8_000), 8_000)
    track.caller(of(0, 70 * 8_000), 8_000)
    assert sum(value == 7 for value in frames(track)[1]) == 60 * 8_000


def test_both_sides_come_at_the_rate_of_the_track() -> None:
    track = StereoTrack(8_000)
    track.agent(of(1_000, 4_800), 24_000)
    track.caller(of(1_000, 3_200), 16_000)
    left, right = frames(track)
    assert len(left) == pytest.approx(1_600, abs=40)
    assert max(left) == pytest.approx(1_000, abs=150)
    assert max(right) == pytest.approx(1_000, abs=150)


# --- the file ---


def test_a_wav_is_whole_when_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.wav"
    file = WaveFile(path, 8_000, 0)
    file.append(bytes(range(64)) * 1_000)
    file.append(b"")
    assert file.close() == (64_044, 2_000)
    with wave.open(str(path)) as read:
        assert (read.getnchannels(), read.getframerate(), read.getnframes()) == (2, 8_000, 16_000)
        assert read.readframes(16) == bytes(range(64))
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(FileExistsError):
        WaveFile(path, 8_000, 0)


@pytest.mark.parametrize("rest", [b"", b"\x01", b"\x01\x02\x03"])
def test_what_a_dead_server_wrote_is_made_whole(tmp_path: Path, rest: bytes) -> None:
    path = tmp_path / "b.wav"
    file = WaveFile(path, 8_000, 0)
    file.append(bytes(32_000) + rest)
    assert WaveFile.mend(path) == (32_044, 1_000)
    with wave.open(str(path)) as read:
        assert read.getnframes() == 8_000
    assert WaveFile.mend(path) == (32_044, 1_000)
    assert file.close()


def test_some_of_the_disk_is_left(tmp_path: Path) -> None:
    with pytest.raises(DiskFull):
        WaveFile(tmp_path / "b.wav", 8_000, 1 << 60)
    assert list(tmp_path.iterdir()) == []


# --- the settings ---


def test_the_number_comes_before_the_agent_before_the_tenant() -> None:
    chosen = RecordingSettings(
        mode="ask", numbers={"+1555": "announce"}, agents={"a": "off"}, tenants={"t": "announce"}
    )
    assert chosen.of("+1555", "a", "t") == "announce"
    assert chosen.of("", "a", "t") == "off"
    assert chosen.of("", "b", "t") == "announce"
    assert chosen.of("", "b", "u") == "ask"
    assert chosen.wanted
    assert not RecordingSettings(agents={"a": "off"}).wanted


def test_recording_has_to_be_switched_on_as_a_whole() -> None:
    with pytest.raises(SettingsError, match=r"retention\.recording is false"):
        load_settings(telephony={"recording": {"tenants": {"default": "ask"}}})
    assert load_settings(telephony={"recording": {"mode": "ask"}}, retention={"recording": True})
