"""Manners, keypad, closing, phrases and the positions of what was heard: the pure parts of a telephone conversation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.events import AudioOut, Interrupted, ToolReturned, TurnCompleted, TurnStarted
from server.telephony.closing import PATIENCE_MS, UNSAID_MS, Closing
from server.telephony.delivery import PhoneDelivery
from server.telephony.keypad import KEYS, Expected, Keypad
from server.telephony.manners import LAST_WORDS_MS, Manners, MannersOptions
from server.telephony.numbers import masked
from server.telephony.phrases import LANGUAGES, load, parse, phrases_for

OPTIONS = MannersOptions(500, 8_000, 2, 600_000, 60_000)


# --- manners ---


def test_it_greets_once_after_the_delay() -> None:
    manners = Manners(OPTIONS, 0)
    assert [manners.due(at) for at in (0, 499, 500, 600)] == [None, None, "greet", None]


def test_a_caller_who_speaks_first_is_not_greeted_over() -> None:
    manners = Manners(OPTIONS, 0)
    manners.user_speaks(True, 100)
    assert manners.due(1_000) is None
    manners.answered(1_200)
    manners.user_speaks(False, 1_200)
    assert manners.due(1_300) is None


def test_silence_is_asked_about_twice_and_then_it_is_goodbye() -> None:
    manners = Manners(OPTIONS, 0)
    assert manners.due(500) == "greet"
    asked = [manners.due(at) for at in (8_499, 8_500, 8_600, 16_500, 24_500)]
    assert asked == [None, "ask", None, "ask", "silence_goodbye"]


def test_an_answer_begins_the_count_anew() -> None:
    manners = Manners(OPTIONS, 0)
    manners.due(500)
    assert manners.due(8_500) == "ask"
    manners.answered(9_000)
    assert [manners.due(at) for at in (17_000, 25_000, 33_000)] == ["ask", "ask", "silence_goodbye"]


def test_nobody_is_asked_while_somebody_speaks_or_the_call_is_held() -> None:
    manners = Manners(OPTIONS, 0)
    manners.due(500)
    manners.turn("t1", True, 1_000)
    assert manners.due(60_000) is None
    manners.turn("t1", False, 60_000)
    manners.held(True, 61_000)
    assert manners.due(120_000) is None
    manners.held(False, 120_000)
    assert manners.due(127_999) is None
    assert manners.due(128_000) == "ask"


def test_the_limit_warns_says_goodbye_and_ends_anyway() -> None:
    manners = Manners(OPTIONS, 0)
    manners.answered(0)
    assert manners.due(540_000) == "warn"
    manners.turn("t1", True, 590_000)
    assert manners.due(600_000) is None  # somebody speaks: they may finish
    assert manners.due(600_000 + LAST_WORDS_MS) == "limit"
    manners.turn("t1", False, 601_000)
    assert manners.due(601_000) == "limit_goodbye"


# --- keys ---


def test_an_entry_ends_at_its_terminator_its_length_or_a_pause() -> None:
    keypad = Keypad()
    assert [keypad.press(key, 0) for key in "12"] == [None, None]
    assert keypad.press("#", 0) == "[The caller entered 1 2 on the keypad]"
    keypad.expect(Expected(max_digits=2))
    assert keypad.press("4", 0) is None
    assert keypad.press("#", 0) == "[The caller entered 4 on the keypad]"
    keypad.expect(Expected(max_digits=2))
    assert [keypad.press("7", 0), keypad.press("8", 0)] == [None, "[The caller entered 7 8 on the keypad]"]
    keypad.press("5", 1_000)
    assert keypad.due(3_499) is None
    assert keypad.due(3_500) == "[The caller entered 5 on the keypad]"
    assert keypad.due(9_000) is None


def test_a_menu_says_what_was_chosen() -> None:
    keypad = Keypad()
    menu = Expected(max_digits=1, meanings={"1": "sales"})
    keypad.expect(menu)
    assert keypad.press("1", 0) == "[The caller pressed 1 on the keypad: sales]"
    keypad.expect(menu)
    assert keypad.press("9", 0) == "[The caller pressed 9 on the keypad, which is none of the choices]"


@given(st.text(max_size=80))
def test_what_is_no_key_is_never_told(pressed: str) -> None:
    keypad = Keypad()
    told = "".join(filter(None, (keypad.press(char, 0) for char in pressed))) + (keypad.due(10**9) or "")
    assert sum(told.count(key) for key in "0123456789") == sum(char in "0123456789" for char in pressed if char in KEYS)


# --- closing ---


def completed(turn_id: str, *, interrupted: bool = False) -> TurnCompleted:
    return TurnCompleted(turn_id, "", interrupted)


def test_a_call_ends_when_the_turn_that_asked_for_it_is_over() -> None:
    closing = Closing()
    closing.plan("end", 0)
    closing.tool_returned(ToolReturned("t1", "c1", "end_call", "{}", False))
    closing.turn_completed(completed("t0"))
    assert closing.due(100) is None
    closing.turn_completed(completed("t1"))
    assert closing.due(100) == ("end", None)
    assert closing.due(200) is None


def test_a_caller_who_speaks_into_the_goodbye_stays() -> None:
    closing = Closing()
    closing.plan("end", 0)
    closing.tool_returned(ToolReturned("t1", "c1", "end_call", "{}", False))
    closing.turn_completed(completed("t1", interrupted=True))
    assert closing.due(10 * PATIENCE_MS) is None


def test_at_the_limit_nobody_stays() -> None:
    closing = Closing()
    closing.plan("end", 0, said="Goodbye.", firm=True)
    closing.turn_started(TurnStarted("t1", "Goodbye.", "announcement"), 50)
    closing.forget()
    closing.turn_completed(completed("t1", interrupted=True))
    assert closing.due(100) == ("end", None)


def test_words_that_never_come_do_not_keep_the_line() -> None:
    closing = Closing()
    closing.plan("transfer", 0, ("+15550100777", None), said="Goodbye.")
    assert closing.due(UNSAID_MS - 1) is None
    assert closing.due(UNSAID_MS) == ("transfer", ("+15550100777", None))


# --- what was heard ---


class Nowhere:
    def play(self, samples: object, rate_hz: int) -> None: ...

    def finish(self) -> None: ...

    def clear(self) -> None: ...


def audio(turn: str, start_ms: int, ms: int) -> AudioOut:
    return AudioOut(turn, np.zeros(ms * 8, np.int16), 8_000, start_ms)


def test_what_the_carrier_played_is_found_in_its_turn() -> None:
    delivery = PhoneDelivery(Nowhere(), lambda _: None)
    assert delivery.heard(100) is None
    for event in (audio("t1", 0, 100), audio("t1", 100, 60), audio("t2", 0, 60)):
        delivery.frames(event)
    assert [delivery.heard(at) for at in (50, 130, 180, 999)] == [("t1", 50), ("t1", 130), ("t2", 20), ("t2", 60)]


def test_after_a_clear_positions_count_anew() -> None:
    delivery = PhoneDelivery(Nowhere(), lambda _: None)
    delivery.frames(audio("t1", 0, 500))
    delivery.frames(Interrupted("t1", 120, "", True))
    assert delivery.heard(300) is None
    delivery.frames(audio("t1", 120, 60))
    assert delivery.heard(30) == ("t1", 150)


# --- words and numbers ---


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_all_its_sentences(language: str) -> None:
    phrases = load(language)
    assert len(phrases.still_there) >= 2
    assert phrases.greeting.format(name="Ada") != phrases.greeting


def test_another_language_gets_english() -> None:
    assert phrases_for("xx-YY") is load("en")
    assert phrases_for("de_CH") is load("de")


@pytest.mark.parametrize("text", ["x", "greeting = 'x'", "still_there = []", "limit = ["])
def test_a_file_that_is_not_whole_says_so(text: str) -> None:
    with pytest.raises(ValueError, match=r"xx\.toml"):
        parse(text, "xx.toml")


@pytest.mark.parametrize(
    ("number", "shown"),
    [("+15550100123", "…23"), ("", ""), ("anonymous", "…"), ("911", "…"), ("sip:ann@example.org", "…")],
)
def test_a_log_knows_no_numbers(number: str, shown: str) -> None:
    assert masked(number) == shown
