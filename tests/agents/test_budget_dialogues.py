"""Latency budgets in conversations: each stage late in turn, and what the user gets within the total."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import anyio
import pytest
from budget_talk import (
    AZURE,
    FILLERS,
    STOPPED_MS,
    after_speech_ms,
    ask,
    breaches,
    deaf_ears,
    play,
    script,
    slow_mind,
    thinking_ms,
)
from conversation import Talk
from faulty_engines import Faulty, FaultyEars, FaultyVoice, always, never

from agents.core.budget import StageChange, within
from agents.core.language import rules_for
from agents.core.policy import TurnPolicy
from agents.events import AudioOut, Caption, Degraded, Failed, ReplyText, TurnCompleted, TurnStarted
from agents.latency_events import BudgetBreached, TurnLatency
from audio.fallback import Guarded
from audio.stt.fallback import FallbackSpeechToText
from audio.stt.port import SpeechToText, SttProfile
from audio.stt.scripted import Misheard, ScriptedSpeechToText
from audio.tts.fallback import FallbackTextToSpeech
from audio.tts.scripted import ScriptedTextToSpeech
from metering.ledger import UsageQuery, read_all

# --- nothing is late ---


def test_a_turn_in_time_breaches_nothing_and_shows_its_limits() -> None:
    talk = play(script())
    told = talk.one(TurnLatency)
    assert (breaches(talk), told.breaches) == ([], ())
    total = next(stage for stage in told.stages if stage.stage == "total")
    assert (total.target_ms, total.deadline_ms) == (1_500, 2_500)


# --- recognition ---


def test_where_recognition_is_late_the_words_so_far_are_answered() -> None:
    talk = play(script(hears=("What time is it now?",), partial_every_ms=200, ears=deaf_ears(always("stall"))))
    assert talk.one(TurnStarted).text.startswith("What time is")
    assert breaches(talk) == [("stt", "use_partial")]
    # Certain after 300 ms of silence (and its detection), late 400 ms after that.
    assert after_speech_ms(talk, AudioOut) < 1_000


def test_where_recognition_has_no_words_another_engine_hears_the_utterance_again_in_time() -> None:
    def ears(stt: SpeechToText) -> SpeechToText:
        other = ScriptedSpeechToText(["What time is it?"], SttProfile("other", "script", frozenset({"en"})))
        deaf = FaultyEars(stt, Faulty(always("stall")), partials=False)
        return FallbackSpeechToText([Guarded(deaf), Guarded(other)])

    talk = play(script(ears=ears))
    assert talk.one(TurnStarted).text == "What time is it?"
    assert talk.one(Degraded).to == "other"
    assert after_speech_ms(talk, AudioOut) < AZURE.stages["total"].target_ms


def test_an_engine_whose_words_suffice_is_not_given_up_for_being_late() -> None:
    def ears(stt: SpeechToText) -> SpeechToText:
        deaf = FaultyEars(stt, Faulty(always("stall")))
        other = ScriptedSpeechToText(["Another text"])
        return FallbackSpeechToText([Guarded(deaf), Guarded(other)])

    talk = play(script(hears=("What time is it now?",), partial_every_ms=200, ears=ears))
    assert talk.one(TurnStarted).text.startswith("What time is")
    assert not talk.all(Degraded)


def test_interim_words_that_recognition_itself_gives_in_the_end_are_told_as_such() -> None:
    def ears(stt: SpeechToText) -> SpeechToText:
        return FaultyEars(stt, Faulty(always("slow"), slow_s=0.8), partials=False)

    budget = AZURE.changed({"stt": StageChange(on_breach=("fallback",))})
    talk = play(script(hears=(Misheard("What time is it?", "What time is it now?", 30),), ears=ears, budget=budget))
    assert breaches(talk)[0] == ("stt", "use_partial")


def test_where_nothing_was_understood_the_agent_says_so() -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(STOPPED_MS)
        await talk.until(TurnCompleted)

    talk = play(script(ears=deaf_ears(always("fail"), partials=False)), body)
    assert talk.one(Failed).code == "provider.unavailable"
    assert talk.one(TurnStarted).source == "announcement"
    assert talk.one(TurnCompleted).text == rules_for("en-US").apology
    assert after_speech_ms(talk, AudioOut) < AZURE.stages["total"].deadline_ms


def test_who_goes_on_after_a_pause_that_was_not_recognised_is_heard_out() -> None:
    faults = iter(["fail", None, None])
    ears = deaf_ears(lambda: next(faults), partials=False)

    async def body(talk: Talk) -> None:
        await talk.speak(STOPPED_MS)
        await talk.quiet(150)
        await talk.speak(STOPPED_MS)
        await talk.until(TurnCompleted)

    talk = play(script(hears=("What time is it?",), ears=ears), body)
    assert talk.one(TurnStarted).text == "What time is it?"
    assert not talk.all(Failed)


@pytest.mark.parametrize("has_voice", [True, False])
def test_where_recognition_never_answers_that_is_said_while_the_total_lasts(has_voice: bool) -> None:
    voice = FaultyVoice(ScriptedTextToSpeech(), Faulty(never if has_voice else always("stall")))
    usual = within(TurnPolicy(rules=rules_for("en-US")), AZURE)  # the turn is over after 700 ms without words
    talk = play(replace(script(ears=deaf_ears(always("stall"), partials=False), voice=voice), policy=usual))
    assert talk.one(TurnCompleted).text == rules_for("en-US").apology
    got = after_speech_ms(talk, AudioOut if has_voice else ReplyText)
    assert got <= AZURE.stages["total"].deadline_ms


# --- the model ---


def test_a_late_answer_is_bridged_by_words_that_were_prepared() -> None:
    voice = FaultyVoice(ScriptedTextToSpeech(), Faulty())
    talk = play(script(mind=slow_mind(always("slow"), 3.0), voice=voice))
    assert breaches(talk) == [("agent", "filler")]
    assert thinking_ms(talk) == pytest.approx(AZURE.stages["agent"].deadline_ms, abs=40)
    assert voice.asked[0] == FILLERS[0], "spoken ahead"
    assert voice.asked.count(FILLERS[0]) == 1, "and not again"
    captions = [caption.text for caption in talk.all(Caption) if caption.speaker == "agent"]
    assert captions[0] == FILLERS[0]
    assert talk.one(TurnCompleted).text == "It is ten past four in the afternoon."


def test_what_was_prepared_is_paid_once_and_the_next_filler_is_another() -> None:
    voice = FaultyVoice(ScriptedTextToSpeech(), Faulty())

    async def twice(talk: Talk) -> None:
        for number in range(1, len(FILLERS) + 2):
            await talk.speak(1_000)
            await talk.until(TurnCompleted, count=number)

    talk = play(script(mind=slow_mind(always("slow"), 3.0), voice=voice), twice)
    said = [caption.text for caption in talk.all(Caption) if caption.text in FILLERS]
    assert said == [*FILLERS, FILLERS[0]]
    assert all(voice.asked.count(filler) == 1 for filler in FILLERS)
    events = sorted(read_all(talk.recorder.ledger, UsageQuery()), key=lambda event: event.started_at)
    answer = "It is ten past four in the afternoon."
    assert [event.tts_characters for event in events] == [
        *(len(answer) + len(filler) for filler in FILLERS),
        len(answer),
    ]
    assert events[-1].audio_ms_synthesized == len(answer) * 60
    assert events[0].audio_ms_synthesized == (len(answer) + len(FILLERS[0])) * 60
    assert all(event.audio_ms_out >= event.audio_ms_synthesized for event in events)


def test_a_filler_that_was_made_for_another_turn_costs_nothing_where_it_is_cancelled_before_it_sounds() -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(1_000)
        await talk.quiet(1_000)  # by now the filler is prepared, and the turn comes to nothing
        talk.session.cancel()
        await talk.until(TurnCompleted)
        emit = talk.session.outbox.emit

        def cancelled_at_once(event: Any) -> None:
            emit(event)
            if isinstance(event, BudgetBreached):
                asyncio.get_running_loop().call_soon(talk.session.cancel)

        talk.session.outbox.emit = cancelled_at_once  # type: ignore[method-assign]
        await talk.speak(1_000)
        await talk.until(TurnCompleted, count=2)

    talk = play(script(mind=slow_mind(always("slow"), 8.0)), body)
    assert breaches(talk) == [("agent", "filler")]
    assert not talk.all(AudioOut)
    first, second = sorted(read_all(talk.recorder.ledger, UsageQuery()), key=lambda event: event.started_at)
    assert first.audio_ms_synthesized == len(FILLERS[0]) * 60
    assert (second.audio_ms_synthesized, second.interrupted) == (0, True)


def test_nothing_is_prepared_for_an_answer_that_is_in_time() -> None:
    voice = FaultyVoice(ScriptedTextToSpeech(), Faulty())
    play(script(voice=voice))
    assert not set(voice.asked) & set(FILLERS)


def test_a_model_that_dribbles_is_spoken_as_far_as_it_has_come() -> None:
    async def dribble(number: int) -> None:
        if number == 4:
            await anyio.sleep(2)

    talk = play(script(before_event=dribble))
    assert breaches(talk) == [("agent", "shorten")]
    assert thinking_ms(talk) == pytest.approx(AZURE.stages["agent"].deadline_ms, abs=40)
    captions = [caption.text for caption in talk.all(Caption) if caption.speaker == "agent"]
    assert captions[0].strip() == "It is ten"
    assert "".join(captions).split() == "It is ten past four in the afternoon.".split()


def test_a_model_that_fails_is_apologised_for_at_once() -> None:
    talk = play(script(mind=slow_mind(always("fail"))))
    assert talk.one(Failed).code == "provider.unavailable"
    assert talk.audio_ms(talk.one(TurnStarted).turn_id) > 500
    assert after_speech_ms(talk, AudioOut) < AZURE.stages["total"].target_ms


def test_a_budget_without_apologies_has_none() -> None:
    budget = AZURE.changed({"agent": StageChange(on_breach=("filler",))})
    talk = play(script(mind=slow_mind(always("fail")), budget=budget))
    assert talk.one(Failed).code == "provider.unavailable"
    assert not talk.all(AudioOut)


def test_in_writing_a_late_answer_is_bridged_by_a_line() -> None:
    talk = play(script(mind=slow_mind(always("slow"), 3.0), speak=False))
    assert [caption.text for caption in talk.all(Caption) if caption.speaker == "agent"] == [FILLERS[0]]
    assert breaches(talk) == [("agent", "filler")]


def test_a_model_that_stalls_in_the_middle_is_not_waited_for_in_silence() -> None:
    async def stall(number: int) -> None:
        if number == 4:
            await anyio.sleep_forever()

    talk = play(script(replies=("It is ten. Past four.",), before_event=stall))
    captions = [caption.text.strip() for caption in talk.all(Caption) if caption.speaker == "agent"]
    assert captions[0] == "It is ten."
    assert captions.count(rules_for("en-US").apology) == 1
    assert talk.one(Failed).code == "provider.timeout"
    gap_ms = 3 * AZURE.stages["agent"].deadline_ms
    assert talk.when_ms(Failed) - talk.when_ms(ReplyText) <= gap_ms + 50


def test_an_answer_that_never_comes_is_given_up_and_told_though_nothing_can_be_done() -> None:
    changes = {"agent": StageChange(on_breach=("fail",)), "total": StageChange(on_breach=())}
    talk = play(script(mind=slow_mind(always("stall")), budget=AZURE.changed(changes)))  # type: ignore[arg-type]
    assert talk.one(Failed).code == "provider.timeout"
    assert ("agent", "fail") in breaches(talk)
    assert after_speech_ms(talk, Failed) <= AZURE.stages["total"].deadline_ms + 50


def test_who_holds_the_button_is_not_waiting_yet() -> None:
    async def hold(talk: Talk) -> None:
        await talk.speak(STOPPED_MS)
        await talk.quiet(3_000)
        talk.session.commit()
        await talk.until(TurnCompleted)

    pressed = script()
    pressed.policy = replace(pressed.policy, auto_end=False)
    talk = play(pressed, hold)
    assert breaches(talk) == []
    total = next(stage for stage in talk.one(TurnLatency).stages if stage.stage == "total")
    assert total.duration_ms < 500
    assert talk.audio_ms(talk.one(TurnStarted).turn_id) > 1_000


# --- the voice ---


def test_a_late_voice_gives_way_to_another_while_there_is_time() -> None:
    late = FaultyVoice(ScriptedTextToSpeech(), Faulty(always("stall")))
    voice = FallbackTextToSpeech([Guarded(late), Guarded(ScriptedTextToSpeech())])
    talk = play(script(voice=voice))
    told = talk.one(TurnLatency)
    total = next(stage for stage in told.stages if stage.stage == "total")
    assert total.duration_ms <= AZURE.stages["total"].target_ms
    assert talk.one(Degraded).to == "scripted"


def test_where_no_voice_comes_the_answer_is_text_within_the_total() -> None:
    talk = play(script(voice=FaultyVoice(ScriptedTextToSpeech(), Faulty(always("stall")))))
    assert breaches(talk) == [("tts", "text_only")]
    assert after_speech_ms(talk, Degraded) <= AZURE.stages["total"].deadline_ms + 50
    assert after_speech_ms(talk, ReplyText) < AZURE.stages["total"].target_ms
    assert not talk.all(AudioOut)
    assert talk.one(TurnCompleted).text == "It is ten past four in the afternoon."


@pytest.mark.parametrize("fault", ["stall", "fail"])
def test_an_apology_that_no_voice_says_can_be_read(fault: Any) -> None:
    voice = FaultyVoice(ScriptedTextToSpeech(), Faulty(always(fault)))
    talk = play(script(mind=slow_mind(always("fail")), voice=voice))
    assert not talk.all(AudioOut)
    shown = [(at, event) for at, event in talk.events if isinstance(event, Caption) and event.speaker == "agent"]
    assert [event.text for _, event in shown] == [rules_for("en-US").apology]
    assert shown[0][0] * 1_000 - STOPPED_MS <= AZURE.stages["total"].target_ms, "before the voice is given up"


def test_a_voice_that_failed_for_one_turn_speaks_in_the_next() -> None:
    faults = iter(["stall"])
    voice = FaultyVoice(ScriptedTextToSpeech(), Faulty(lambda: next(faults, None)))  # type: ignore[arg-type]

    async def twice(talk: Talk) -> None:
        await ask(talk)
        await talk.speak(1_000)
        await talk.until(TurnCompleted, count=2)

    talk = play(script(voice=voice), twice)
    first, second = talk.all(TurnStarted)
    assert (talk.audio_ms(first.turn_id), talk.audio_ms(second.turn_id) > 1_000) == (0, True)
