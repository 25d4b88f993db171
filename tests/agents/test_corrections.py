"""Better transcripts that come late: what they change, move by move and in whole conversations."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from conversation import Script, Talk, conversation
from test_turn_machine import Dialogue
from virtual_time import run_virtual

from agents.core.language import rules_for
from agents.core.meaning import means_other
from agents.core.phases import GoneOn, Overlap, Replying
from agents.core.policy import TurnPolicy
from agents.core.turn_types import (
    AbandonTurn,
    BeginTurn,
    CommitTurn,
    CorrectText,
    Effect,
    EndUtterance,
    ReplyBound,
    ReplyReady,
    ReplyStarted,
    RewordTurn,
    SpeechStarted,
    SpeechStopped,
    TranscriptArrived,
    TranscriptCorrected,
)
from agents.events import AudioOut, Caption, Interrupted, TranscriptUpdated, TurnCompleted, TurnStarted
from agents.models.port import ContentFilter, ToolRequest
from agents.models.scripted import ScriptedReply
from agents.tools.tool import tool
from audio.stt.scripted import Misheard
from audio.tts.port import SpeechRequest
from metering.ledger import UsageQuery, is_unclaimed, read_all
from metering.usage import UsageEvent

POLICY = TurnPolicy(min_wait_ms=300, wait_ms=500, max_wait_ms=1_200)
ENGLISH = rules_for("en").spelling


# --- what words mean ---


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("go forward ten meters", "Go forward 10 meters."),
        ("um go uh forward", "Go forward!"),
        ("it's four thirty", "It is 4:30."),
        ("don’t stop", "do not stop"),
        ("call five five seven", "Call 557."),
        ("two hundred and five people", "205 people"),
        ("one thousand dollars", "1,000 dollars"),
        ("the twenty first of may", "The 21st of May"),
        ("twenty twenty four", "2024"),
        ("ok lets go", "Okay, lets go"),
    ],
)
def test_writing_is_not_meaning(one: str, other: str) -> None:
    assert not means_other(one, other, ENGLISH)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Go forward ten meters.", "Go forward two meters."),
        ("Stop.", "Don't stop."),
        ("fifteen", "50"),
        ("five twenty", "twenty five"),
        ("the first one", "the one"),
        ("I can", "I can't"),
        ("bread and butter", "bread butter"),
    ],
)
def test_another_word_is_another_meaning(one: str, other: str) -> None:
    assert means_other(one, other, ENGLISH)


def test_a_language_without_rules_of_its_own_still_has_case_and_punctuation() -> None:
    spelling = rules_for("de-DE").spelling
    assert not means_other("zürich um sieben", "Zürich um sieben.", spelling)
    assert means_other("um sieben", "sieben", spelling)


# --- the machine ---


class Machine(Dialogue):
    """A dialogue whose one question was answered, and may have been misheard."""

    def __init__(self, policy: TurnPolicy = POLICY) -> None:
        super().__init__(policy)

    def asked(self, text: str = "What time is it?") -> Machine:
        self.on(SpeechStarted(1, 100))
        self.on(SpeechStopped(1, 1_000))
        self.on(TranscriptArrived(1, text, True, 1_100, 1_200))
        if not self.policy.auto_reply:
            self.fire("endpoint")
            return self
        self.on(ReplyReady(1, 1_250))
        self.fire("endpoint")
        return self

    def corrected(self, text: str, utterance: int = 1, now_ms: int = 1_800) -> list[Effect]:
        return self.on(TranscriptCorrected(utterance, text, now_ms))


ANEW = BeginTurn(2, "What day is it?", "speech", False, 1, 1_000, instead_of=1)


def test_other_words_plan_the_turn_anew_while_nothing_of_the_reply_was_heard() -> None:
    talk = Machine().asked()
    assert talk.corrected("What day is it?") == [AbandonTurn(1, "corrected"), ANEW]
    assert talk.state.phase == Replying(2)
    assert talk.corrected("What day is it?") == []
    assert talk.corrected("What day was it?") == [
        AbandonTurn(2, "corrected"),
        replace(ANEW, turn=3, text="What day was it?", instead_of=2),
    ]


def test_other_words_after_the_first_sound_are_remembered_and_the_reply_goes_on() -> None:
    talk = Machine().asked()
    talk.on(ReplyStarted(1))
    assert talk.corrected("What day is it?") == [CorrectText(1, "What day is it?")]
    assert talk.state.phase == Replying(1, started=True)


def test_a_reply_that_did_what_lasts_is_not_planned_anew() -> None:
    talk = Machine().asked()
    talk.on(ReplyBound(1))
    assert talk.corrected("What day is it?") == [CorrectText(1, "What day is it?")]


def test_an_older_turns_bond_binds_no_other() -> None:
    talk = Machine().asked()
    talk.on(ReplyBound(7))
    assert talk.corrected("What day is it?") == [AbandonTurn(1, "corrected"), ANEW]


def test_the_same_words_written_better_change_no_plan() -> None:
    talk = Machine().asked("what time is it")
    assert talk.corrected("What time is it?") == [CorrectText(1, "What time is it?")]
    assert talk.state.phase == Replying(1)


@pytest.mark.parametrize(
    ("text", "utterance", "now_ms"),
    [("What day is it?", 2, 1_800), ("What day is it?", 1, 7_001), ("", 1, 1_800), ("...", 1, 1_800)],
)
def test_what_is_foreign_late_or_empty_changes_nothing(text: str, utterance: int, now_ms: int) -> None:
    talk = Machine().asked()
    before = talk.state
    assert talk.corrected(text, utterance, now_ms) == []
    assert talk.state == before


def test_a_user_who_goes_on_meanwhile_keeps_the_floor_they_are_about_to_take() -> None:
    talk = Machine().asked()
    talk.on(SpeechStarted(2, 1_700))
    assert talk.corrected("What day is it?") == [AbandonTurn(1, "corrected"), ANEW]
    assert isinstance(talk.state.phase, Overlap)
    assert talk.state.phase.reply == Replying(2)
    assert talk.fire("interrupt") == [AbandonTurn(2, "went_on")]
    assert talk.state.gone_on == GoneOn(2, "What day is it?")
    assert EndUtterance(2, used=False) not in talk.on(SpeechStopped(2, 2_500))


def test_where_nobody_answers_by_itself_only_the_words_are_put_right() -> None:
    talk = Machine(replace(POLICY, auto_reply=False)).asked()
    assert talk.corrected("What day is it?") == [CorrectText(1, "What day is it?")]


def test_a_draft_whose_words_are_only_written_better_is_kept() -> None:
    talk = Machine()
    talk.on(SpeechStarted(1, 100))
    talk.on(SpeechStopped(1, 1_000))
    talk.on(TranscriptArrived(1, "what time is it", True, 1_100, 1_150))
    unsure_ms = talk.timers["endpoint"].due_ms
    assert talk.on(TranscriptArrived(1, "What time is it?", True, 1_100, 1_250)) == [RewordTurn(1, "What time is it?")]
    assert talk.timers["endpoint"].due_ms < unsure_ms, "punctuation tells that the sentence is whole"
    talk.on(ReplyReady(1, 1_260))
    assert talk.fire("endpoint") == [CommitTurn(1), EndUtterance(1, used=True)]
    assert talk.state.understood is not None
    assert talk.state.understood.text == "What time is it?"


# --- conversations ---


class Slow:
    """A model that thinks long before its first word: the turn is certain before there is anything to be heard."""

    def __init__(self, thinks_s: float = 2.5) -> None:
        self._thinks_s = thinks_s

    async def __call__(self, number: int) -> None:
        if number == 0:
            await asyncio.sleep(self._thinks_s)


def play(body: Callable[[Talk], Awaitable[None]], script: Script) -> Talk:
    talks: list[Talk] = []

    async def held() -> None:
        async with conversation(script) as talk:
            talks.append(talk)
            await body(talk)

    run_virtual(held())
    return talks[0]


def ledger(talk: Talk) -> list[UsageEvent]:
    """Of the turns; what closes the session is not looked at."""
    return [event for event in read_all(talk.recorder.ledger, UsageQuery()) if not is_unclaimed(event)]


async def ask(talk: Talk) -> None:
    await talk.speak(1_000)
    await talk.until(AudioOut)
    await talk.quiet(2_000)


def finals(talk: Talk) -> list[tuple[str, bool, str | None]]:
    return [(event.text, event.corrected, event.turn_id) for event in talk.all(TranscriptUpdated) if event.final]


def said_to_model(talk: Talk, request: int) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in talk.model.requests[request].messages][1:]


MISHEARD = Misheard("Turn on the light.", "Turn off the light.", 1.6)
REFUSED = ScriptedReply(verdict=ContentFilter("prompt"))


def test_a_misheard_question_is_answered_anew_and_only_the_right_answer_is_heard() -> None:
    talk = play(ask, Script(hears=(MISHEARD,), replies=("It is on.", "It is off."), before_event=Slow()))
    first, second = talk.all(TurnStarted)
    assert (first.text, second.text) == ("Turn on the light.", "Turn off the light.")
    assert finals(talk) == [
        ("Turn on the light.", False, first.turn_id),
        ("Turn off the light.", True, second.turn_id),
    ]
    assert {event.turn_id for event in talk.all(AudioOut)} == {second.turn_id}
    assert said_to_model(talk, 1) == [("user", "Turn off the light.")], "remembered once, as it was said"
    interrupted = talk.one(Interrupted)
    assert (interrupted.turn_id, interrupted.heard_ms, interrupted.heard_text) == (first.turn_id, 0, "")


def test_a_question_that_is_corrected_before_its_answer_could_be_heard_was_asked_once() -> None:
    misheard = Misheard("Turn on the light.", "Turn off the light.", 0.6)
    talk = play(ask, Script(hears=(misheard,), replies=("It is on.", "It is off."), before_event=Slow(0.9)))
    assert talk.one(TurnStarted).text == "Turn off the light."
    assert not talk.all(Interrupted)
    assert [text for text, _, _ in finals(talk)] == ["Turn off the light."]
    (turn,) = ledger(talk)
    assert turn.speculative_tokens > 0


def test_one_reply_ends_before_the_next_begins_and_both_are_billed_once() -> None:
    talk = play(ask, Script(hears=(MISHEARD,), replies=("It is on.", "It is off."), before_event=Slow()))
    first, second = talk.all(TurnStarted)
    order = [event for _, event in talk.events if isinstance(event, TurnStarted | TurnCompleted)]
    assert [event.turn_id for event in order][:3] == [first.turn_id, first.turn_id, second.turn_id]
    wasted, answered = ledger(talk)
    assert (wasted.request_id, wasted.interrupted, wasted.audio_ms_out) == (first.turn_id, True, 0)
    assert (answered.request_id, answered.interrupted) == (second.turn_id, False)
    assert wasted.audio_ms_in > 0 == answered.audio_ms_in, "what was heard is billed once"


def test_a_correction_after_the_first_sound_lets_the_reply_go_on_and_the_next_turn_knows_better() -> None:
    async def body(talk: Talk) -> None:
        await ask(talk)
        await talk.speak(1_000)
        await talk.until(TurnCompleted, count=2)

    misheard = Misheard("Turn on the light.", "Turn off the light.", 1.0)
    talk = play(body, Script(hears=(misheard, "Thank you."), replies=("Done, as you asked me to.", "Welcome.")))
    first, second = talk.all(TurnStarted)
    assert not talk.all(Interrupted)
    assert finals(talk)[1] == ("Turn off the light.", True, first.turn_id)
    assert ("user", "Turn off the light.") in said_to_model(talk, 1)
    assert ("user", "Turn on the light.") not in said_to_model(talk, 1)
    captions = [event.text for event in talk.all(Caption) if event.speaker == "user" and event.final]
    assert captions == ["Turn on the light.", "Turn off the light.", "Thank you."]
    assert second.text == "Thank you."


def test_a_correction_of_form_plans_nothing_anew() -> None:
    misheard = Misheard("turn on 2 lights", "Turn on two lights.", 1.6)
    talk = play(ask, Script(hears=(misheard,), replies=("Done.",), before_event=Slow()))
    turn = talk.one(TurnStarted)
    assert len(talk.model.requests) == 1
    assert finals(talk)[-1] == ("Turn on two lights.", True, turn.turn_id)


def test_a_correction_in_the_pause_is_what_the_turn_begins_with() -> None:
    misheard = Misheard("turn on 2 lights", "Turn on two lights.", 0.1)
    talk = play(ask, Script(hears=(misheard,), replies=("Done.",)))
    assert talk.one(TurnStarted).text == "Turn on two lights."
    assert len(talk.model.requests) == 1, "the draft stands"
    assert finals(talk) == [("Turn on two lights.", False, talk.one(TurnStarted).turn_id)]


def test_what_a_tool_has_done_is_not_done_again() -> None:
    done: list[str] = []

    @tool(effects=True)
    async def switch(state: str) -> str:
        """Switch the light.

        Args:
            state: On or off.
        """
        done.append(state)
        await asyncio.sleep(1.0)
        return "done"

    request = ScriptedReply(tools=(ToolRequest("call_1", "switch", '{"state": "on"}'),))
    talk = play(ask, Script(hears=(MISHEARD,), replies=(request, "It is on.", "It is off."), tools=(switch,)))
    assert done == ["on"]
    assert talk.one(TurnStarted).text == "Turn on the light."
    assert finals(talk)[-1][:2] == ("Turn off the light.", True)


def test_a_session_that_ends_while_a_turn_is_planned_anew_accounts_for_everything() -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(1_000)
        await talk.until(Interrupted)

    talk = play(body, Script(hears=(MISHEARD,), replies=("It is on.", "It is off."), before_event=Slow()))
    started = {event.turn_id for event in talk.all(TurnStarted)}
    assert {event.turn_id for event in talk.all(TurnCompleted)} == started
    assert {event.request_id for event in ledger(talk)} >= started


async def slow_first_sound(request: SpeechRequest, number: int) -> None:
    if number == 0:
        await asyncio.sleep(2.5)


async def ask_then_go_on(talk: Talk) -> None:
    await talk.speak(1_000)
    await talk.quiet(5_000)
    before = len(talk.all(TurnCompleted))
    talk.session.prompt("And now?", "again")
    await talk.until(TurnCompleted, count=before + 1)


def test_refused_words_that_are_written_better_later_are_not_told_after_all() -> None:
    misheard = Misheard("turn on 2 lights", "Turn on two lights.", 2.7)
    talk = play(ask_then_go_on, Script(hears=(misheard,), replies=(REFUSED, "It is four.")))
    assert finals(talk)[-1][:2] == ("Turn on two lights.", True), "the user sees what they said"
    assert [text for role, text in said_to_model(talk, 1) if role == "user"] == ["…", "And now?"]


def test_a_refusal_of_misheard_words_that_nobody_heard_is_forgotten_with_them() -> None:
    script = Script(hears=(MISHEARD,), replies=(REFUSED, "It is off.", "It is four."), before_chunk=slow_first_sound)
    talk = play(ask_then_go_on, script)
    assert said_to_model(talk, 1) == [("user", "Turn off the light.")]
    assert said_to_model(talk, 2) == [
        ("user", "Turn off the light."),
        ("assistant", "It is off."),
        ("user", "And now?"),
    ]
