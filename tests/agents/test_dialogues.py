"""Conversations in virtual time, through everything but the wire and the models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace

import pytest
from conversation import Script, Talk, conversation
from virtual_time import run_virtual

from agents.core.policy import TurnPolicy
from agents.errors import ModelRateLimited, ModelTimeout
from agents.events import (
    AudioOut,
    AudioOutEnded,
    AudioQuality,
    Caption,
    Degraded,
    Failed,
    Interrupted,
    ReplyText,
    Resumed,
    SessionStarted,
    SpeechStartedHeard,
    SpeechStoppedHeard,
    TranscriptUpdated,
    TurnCompleted,
    TurnStarted,
)
from agents.latency_events import TurnLatency
from agents.models.port import Finished, ModelEvent, ModelRequest
from agents.models.scripted import ScriptedModel, ScriptedReply
from audio.errors import EngineTimeout
from audio.tts.port import SpeechRequest
from metering.ledger import UsageQuery, is_unclaimed, read_all
from metering.usage import UsageEvent

Body = Callable[[Talk], Awaitable[None]]


def play(body: Body, script: Script | None = None) -> Talk:
    """Run a conversation; returns it, closed, for what it left behind."""

    async def main() -> Talk:
        async with conversation(script) as talk:
            await body(talk)
        return talk

    return run_virtual(main())


def ledger(talk: Talk) -> list[UsageEvent]:
    return list(read_all(talk.recorder.ledger, UsageQuery()))


def stages_ms(talk: Talk) -> dict[str, float]:
    return {stage.stage: stage.duration_ms for stage in talk.one(TurnLatency).stages}


async def ask(talk: Talk) -> None:
    await talk.speak(1_000)
    await talk.until(TurnCompleted)


def test_a_question_is_heard_answered_and_accounted_for() -> None:
    talk = play(ask)
    turn = talk.one(TurnStarted)
    assert turn.text == "What time is it?"
    assert "".join(event.text for event in talk.all(ReplyText)) == "It is ten past four in the afternoon."
    finals = [event for event in talk.all(TranscriptUpdated) if event.final]
    assert [event.text for event in finals] == ["What time is it?"]
    ended = talk.one(AudioOutEnded)
    assert talk.audio_ms(turn.turn_id) == ended.audio_ms > 1_000
    completed = talk.one(TurnCompleted)
    assert not completed.interrupted
    assert completed.usage.audio_ms_out == ended.audio_ms
    [event] = ledger(talk)
    assert (event.request_id, event.success, event.interrupted) == (turn.turn_id, True, False)
    assert event.audio_ms_out == event.audio_ms_synthesized == ended.audio_ms
    assert {"stt", "agent", "tts"} <= set(event.providers)


def test_with_engines_that_cost_nothing_the_answer_starts_when_the_turn_is_certain() -> None:
    talk = play(ask)
    assert stages_ms(talk)["endpoint"] == pytest.approx(300, abs=21)
    assert stages_ms(talk)["total"] - stages_ms(talk)["endpoint"] == pytest.approx(0, abs=1)


def test_audio_in_counts_what_recognition_was_given_to_the_sample() -> None:
    talk = play(ask)
    [event] = ledger(talk)
    started, stopped = talk.one(SpeechStartedHeard), talk.one(SpeechStoppedHeard)
    assert stopped.at_ms - started.at_ms == 1_000
    assert event.audio_ms_in == pytest.approx(1_000 + 300, abs=21)  # what was said, and the wait


def test_a_slow_model_is_hidden_by_the_pause() -> None:
    async def slow(number: int) -> None:
        if number == 0:
            await asyncio.sleep(0.15)

    talk = play(ask, Script(before_event=slow))
    assert stages_ms(talk)["agent"] == pytest.approx(150, abs=1)
    assert stages_ms(talk)["total"] == pytest.approx(300, abs=21)


def test_without_speculation_the_waits_add_up() -> None:
    async def slow(number: int) -> None:
        if number == 0:
            await asyncio.sleep(0.15)

    policy = TurnPolicy(min_wait_ms=300, wait_ms=300, max_wait_ms=300, speculate=False)
    talk = play(ask, Script(before_event=slow, policy=policy))
    assert stages_ms(talk)["total"] == pytest.approx(450, abs=21)


def test_a_speaker_who_goes_on_gets_one_answer_and_the_draft_leaves_no_trace_but_its_cost() -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(1_000)
        await talk.quiet(220)
        await talk.speak(600)
        await talk.until(TurnCompleted)

    talk = play(body, Script(replies=("A draft nobody hears.", "The answer.")))
    assert len(talk.model.requests) == 2
    assert talk.one(TurnStarted)
    assert "".join(event.text for event in talk.all(ReplyText)) == "The answer."
    assert [message.role for message in talk.model.requests[1].messages] == ["system", "user"]
    [event] = ledger(talk)
    assert event.speculative_tokens > 0
    assert event.audio_ms_synthesized > event.audio_ms_out


def test_audio_is_sent_only_a_little_ahead_of_real_time() -> None:
    talk = play(ask)
    began = talk.when_ms(AudioOut)
    for at, event in talk.events:
        if isinstance(event, AudioOut):
            assert event.start_ms <= at * 1_000 - began + 310


def test_a_real_interruption_stops_the_voice_and_is_answered() -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(1_000)
        await talk.until(AudioOut)
        await talk.quiet(600)
        await talk.speak(1_500)
        await talk.until(TurnCompleted, count=2)

    talk = play(body, Script(hears=("Tell me a story.", "Stop, please."), replies=("Once upon a time " * 10, "Fine.")))
    held, ended = talk.all(Interrupted)
    assert held.resumable
    assert not ended.resumable
    first, second = talk.all(TurnStarted)
    assert (first.turn_id, second.text) == (ended.turn_id, "Stop, please.")
    stop_ms = talk.when_ms(Interrupted)
    assert not [
        at for at, e in talk.events if isinstance(e, AudioOut) and e.turn_id == first.turn_id and at * 1_000 > stop_ms
    ]
    onset_ms = talk.when_ms(SpeechStartedHeard, 1)
    assert stop_ms - onset_ms <= 150
    interrupted = next(event for event in ledger(talk) if event.request_id == first.turn_id)
    assert interrupted.interrupted
    assert interrupted.audio_ms_out == ended.heard_ms < interrupted.audio_ms_synthesized


def test_history_keeps_what_was_heard_not_what_was_generated() -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(1_000)
        await talk.until(AudioOut)
        await talk.quiet(600)
        await talk.speak(1_500)
        await talk.until(TurnCompleted, count=2)

    story = "one two three four five six seven eight nine ten eleven twelve."
    talk = play(body, Script(hears=("Count.", "Stop, please."), replies=(story, "Fine.")))
    said = next(m.text for m in talk.model.requests[-1].messages if m.role == "assistant")
    assert said.startswith("one two")
    assert "twelve" not in said


@pytest.mark.parametrize("word", ["", "Mhm."])
def test_a_cough_or_a_short_mhm_does_not_stop_the_voice(word: str) -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(1_000)
        await talk.until(AudioOut)
        await talk.quiet(400)
        await talk.speak(120)
        await talk.until(TurnCompleted)

    talk = play(body, Script(hears=("Tell me.", word), replies=("This is a rather long answer, you see.",)))
    assert not talk.all(Interrupted)
    assert not talk.one(TurnCompleted).interrupted


def test_a_false_interruption_resumes_where_the_voice_stopped() -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(1_000)
        await talk.until(AudioOut)
        await talk.quiet(800)
        await talk.speak(400)
        await talk.until(TurnCompleted)

    talk = play(body, Script(hears=("Tell me.", "Okay, yeah."), replies=("This is a rather long answer, you see.",)))
    held, resumed = talk.one(Interrupted), talk.one(Resumed)
    assert held.resumable
    assert 0 < resumed.from_ms <= held.heard_ms
    completed = talk.one(TurnCompleted)
    assert not completed.interrupted
    assert talk.when_ms(Resumed) - talk.when_ms(Interrupted) < 700
    again = [
        event.start_ms
        for at, event in talk.events
        if isinstance(event, AudioOut) and at >= talk.when_ms(Resumed) / 1_000
    ]
    assert again[0] == resumed.from_ms
    event = next(event for event in ledger(talk) if event.request_id == completed.turn_id)
    assert event.audio_ms_out == event.audio_ms_synthesized, "what was said twice is counted once"


def test_cancel_silences_the_agent_at_once() -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(1_000)
        await talk.until(AudioOut)
        await talk.quiet(500)
        talk.session.cancel()
        await talk.until(TurnCompleted)

    talk = play(body)
    assert not talk.one(Interrupted).resumable
    assert talk.one(TurnCompleted).interrupted


def test_what_the_client_says_it_played_counts_as_heard() -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(1_000)
        await talk.until(AudioOut)
        turn_id = talk.one(TurnStarted).turn_id
        await talk.quiet(500)
        talk.session.played(turn_id, 200)
        talk.session.cancel()
        await talk.until(TurnCompleted)

    assert play(body).one(Interrupted).heard_ms == 200


def test_typed_text_is_answered_like_speech() -> None:
    async def body(talk: Talk) -> None:
        talk.session.prompt("Hello?", "chat-7")
        await talk.until(TurnCompleted)

    talk = play(body)
    assert talk.one(TurnStarted).source == "text"
    assert list(stages_ms(talk)) == ["agent", "tts", "egress", "total"], "nobody waited for its end or recognised it"
    [event] = ledger(talk)
    assert (event.request_id, event.audio_ms_in) == ("chat-7", 0)


def test_a_prompt_sent_again_is_not_answered_again() -> None:
    async def body(talk: Talk) -> None:
        talk.session.prompt("Hello?", "chat-7")
        await talk.until(TurnCompleted)
        talk.session.prompt("Hello?", "chat-7")
        await talk.quiet(2_000)

    talk = play(body)
    assert talk.one(Failed).turn_id == "chat-7"
    assert talk.one(TurnCompleted)
    assert [event.request_id for event in ledger(talk) if not is_unclaimed(event)] == ["chat-7"]


def test_a_conversation_without_a_voice_says_so() -> None:
    async def body(talk: Talk) -> None:
        await talk.until(Degraded)

    talk = play(body, Script(tts=False))
    assert talk.kinds()[:2] == [SessionStarted.__name__, Degraded.__name__]


def test_a_text_only_session_never_synthesizes() -> None:
    talk = play(ask, Script(speak=False))
    assert talk.one(SessionStarted).capabilities == {"stt": "scripted script", "llm": "scripted"}
    assert not talk.all(AudioOut)
    assert ledger(talk)[0].audio_ms_synthesized == 0
    assert talk.one(TurnCompleted).text == "It is ten past four in the afternoon."
    assert stages_ms(talk)["total"] == pytest.approx(300, abs=21)


def test_a_phrase_cut_by_the_token_limit_is_not_said() -> None:
    class Limited(ScriptedModel):
        async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
            async for event in super().stream(request):
                yield replace(event, reason="length") if isinstance(event, Finished) else event

    reply = "Here is a whole sentence for you to hear. And here is one that was cut in the"
    talk = play(ask, Script(replies=(reply,), model=Limited))
    assert talk.one(TurnCompleted).text.strip() == "Here is a whole sentence for you to hear."
    assert talk.all(Caption)[-1].text.strip() == "Here is a whole sentence for you to hear."


def test_a_greeting_is_spoken_first_and_can_be_interrupted() -> None:
    async def body(talk: Talk) -> None:
        await talk.until(AudioOut)
        await talk.speak(1_500)
        await talk.until(TurnCompleted, count=2)

    talk = play(body, Script(greeting="Hello, I am your assistant, and I talk a lot.", hears=("What time is it?",)))
    greeting, answer = talk.all(TurnStarted)
    assert (greeting.source, answer.source) == ("announcement", "speech")
    assert talk.kinds()[0] == SessionStarted.__name__


def test_a_model_that_fails_is_reported_and_apologised_for() -> None:
    failing = ScriptedReply(failure=ModelTimeout("no answer within 12 s", provider="scripted"))
    talk = play(ask, Script(replies=(failing,)))
    assert talk.one(Failed).code == "provider.timeout"
    assert talk.all(AudioOut), "the apology is heard"
    [event] = ledger(talk)
    assert (event.success, event.error_code) == (False, "provider.timeout")


def test_a_question_that_failed_is_not_asked_again_with_the_next() -> None:
    async def body(talk: Talk) -> None:
        talk.session.prompt("First?")
        await talk.until(TurnCompleted)
        talk.session.prompt("Second?")
        await talk.until(TurnCompleted, count=2)

    failing = ScriptedReply(failure=ModelTimeout("too slow", provider="scripted"))
    talk = play(body, Script(replies=(failing, "Here I am.")))
    assert [message.role for message in talk.model.requests[1].messages] == ["system", "user", "assistant", "user"]
    assert talk.model.requests[1].messages[-1].text == "Second?"


def test_a_provider_that_refuses_at_once_costs_no_tokens() -> None:
    failing = ScriptedReply(failure=ModelRateLimited("not now", provider="scripted"))
    [event] = ledger(play(ask, Script(replies=(failing,))))
    assert (event.input_tokens, event.error_code) == (0, "provider.rate_limited")


def test_a_draft_that_fails_is_answered_anew_once_the_turn_is_certain() -> None:
    failing = ScriptedReply(failure=ModelTimeout("too slow", provider="scripted"))
    talk = play(ask, Script(replies=(failing, "Here I am.")))
    assert not talk.all(Failed)
    assert talk.one(TurnCompleted).text == "Here I am."


def test_a_voice_that_fails_leaves_the_text() -> None:
    async def broken(_: object, __: int) -> None:
        raise EngineTimeout("stalled", stage="tts", provider="scripted")

    talk = play(ask, Script(before_chunk=broken))
    assert talk.one(Degraded).to == "text"
    assert talk.one(TurnCompleted).text == "It is ten past four in the afternoon."
    assert ledger(talk)[0].success


def test_a_voice_that_fails_later_is_still_heard_as_far_as_it_came() -> None:
    async def breaks_in_the_second_phrase(request: SpeechRequest, _: int) -> None:
        if "Second" in request.text:
            raise EngineTimeout("stalled", stage="tts", provider="scripted")

    reply = "First there is a sentence that can be spoken. Second comes one that can not be spoken."
    talk = play(ask, Script(before_chunk=breaks_in_the_second_phrase, replies=(reply,)))
    turn_id = talk.one(TurnStarted).turn_id
    assert talk.audio_ms(turn_id) == talk.one(AudioOutEnded).audio_ms > 2_000
    assert ledger(talk)[0].audio_ms_out == talk.audio_ms(turn_id)


def test_a_voice_that_stalls_is_given_up_within_its_limit() -> None:
    async def stalled(_: object, __: int) -> None:
        await asyncio.sleep(3_000)

    talk = play(ask, Script(before_chunk=stalled))
    assert talk.one(Degraded).from_ == "speech"
    assert talk.when_ms(TurnCompleted) - talk.when_ms(TurnStarted) < 7_000


def test_recognition_that_fails_is_reported_not_hung() -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(1_000)
        await talk.until(Failed)

    talk = play(body, Script(hears=(EngineTimeout("stalled", stage="stt", provider="scripted"),)))
    assert talk.one(Failed).code == "provider.unavailable"
    [event] = ledger(talk)
    assert event.request_id == "session-1:unclaimed"
    assert event.audio_ms_in > 1_000


def test_a_microphone_that_stops_sending_does_not_stop_the_conversation() -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(1_000)
        await talk.quiet(120)
        await talk.mute(5_000)

    talk = play(body)
    assert talk.one(TurnCompleted)


def test_push_to_talk_ends_the_turn_at_the_commit_and_not_before() -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(500)
        await talk.quiet(3_000)
        assert not talk.all(TurnStarted)
        talk.session.commit()
        await talk.until(TurnCompleted)

    talk = play(body, Script(policy=TurnPolicy(auto_end=False)))
    assert talk.one(TurnStarted).text == "What time is it?"


def test_push_to_talk_works_without_voice_activity_detection() -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(800)
        talk.session.commit()
        await talk.until(TurnCompleted)

    assert play(body, Script(policy=TurnPolicy(auto_end=False), detector=None)).one(TurnStarted)


def test_a_commit_after_silence_says_that_nothing_was_said() -> None:
    async def body(talk: Talk) -> None:
        await talk.quiet(800)
        talk.session.commit()
        await talk.quiet(100)

    talk = play(body, Script(policy=TurnPolicy(auto_end=False)))
    assert talk.one(Failed).code == "request.invalid"


def test_a_detector_that_breaks_leaves_push_to_talk() -> None:
    class Broken:
        def __init__(self, _: object) -> None: ...
        def process(self, _: object) -> tuple[()]:
            raise RuntimeError("native fault")

    async def body(talk: Talk) -> None:
        await talk.speak(600)
        talk.session.commit()
        await talk.until(TurnCompleted)

    talk = play(body, Script(detector=Broken))
    assert talk.one(Degraded).to == "push_to_talk"


def test_a_dead_microphone_is_noticed_once() -> None:
    async def body(talk: Talk) -> None:
        await talk.quiet(12_000)

    talk = play(body)
    assert [event.issue for event in talk.all(AudioQuality)] == ["silence"]


def test_captions_show_both_sides() -> None:
    talk = play(ask)
    user = [event for event in talk.all(Caption) if event.speaker == "user" and event.final]
    agent = [event for event in talk.all(Caption) if event.speaker == "agent"]
    assert [event.text for event in user] == ["What time is it?"]
    assert "".join(event.text for event in agent) == "It is ten past four in the afternoon."
    assert agent[-1].end_ms == talk.one(AudioOutEnded).audio_ms


def test_a_session_closed_mid_reply_still_accounts_for_it() -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(1_000)
        await talk.until(AudioOut)
        await talk.quiet(300)

    talk = play(body)
    [event] = ledger(talk)
    assert event.interrupted
    assert 0 < event.audio_ms_out < event.audio_ms_synthesized


def test_nothing_is_left_open_in_the_ledger() -> None:
    assert not play(ask).recorder.opened


def test_a_late_answer_is_bridged_with_a_filler_that_nobody_remembers() -> None:
    async def slow(number: int) -> None:
        if number == 0:
            await asyncio.sleep(3)

    policy = TurnPolicy(min_wait_ms=300, wait_ms=300, max_wait_ms=300, filler_after_ms=700)
    talk = play(ask, Script(before_event=slow, policy=policy))
    assert talk.when_ms(AudioOut) - talk.when_ms(TurnStarted) == pytest.approx(700, abs=50)
    assert talk.one(TurnCompleted).text == "It is ten past four in the afternoon."


def test_ten_minutes_of_monologue_are_one_turn() -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(600_000)
        await talk.until(TurnCompleted)

    talk = play(body)
    assert ledger(talk)[0].audio_ms_in >= 600_000
