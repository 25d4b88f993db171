"""Faults of the edge and of the engines, met by a whole conversation in virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from conversation import LevelDetector, Script, Talk
from test_dialogues import ask, ledger, play

from agents.core.policy import TurnPolicy
from agents.errors import ModelTimeout
from agents.events import (
    AudioOut,
    AudioOutEnded,
    Degraded,
    Failed,
    Resumed,
    SpeechStoppedHeard,
    TranscriptUpdated,
    TurnCompleted,
    TurnStarted,
)
from agents.models.scripted import ScriptedReply
from audio.errors import EngineTimeout
from audio.formats import PcmChunk, samples_to_ms
from audio.tts.port import SpeechRequest
from audio.tts.scripted_stream import ScriptedTextStreaming

LONG = "This is a rather long answer, you see, and it goes on and on and on and on and on for a while."


def finals(talk: Talk) -> list[str]:
    return [event.text for event in talk.all(TranscriptUpdated) if event.final]


def test_a_microphone_muted_in_the_middle_of_speech_ends_the_turn() -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(1_000)
        await talk.mute(5_000)

    assert play(body).one(TurnStarted)


def test_a_slow_client_gets_the_whole_reply() -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(1_000)
        await talk.until(AudioOut)
        await talk.quiet(1_800)
        take, reads = talk.session.outbox.get, asyncio.Event()

        async def blocked() -> object:
            await reads.wait()
            return await take()

        talk.session.outbox.get = blocked  # type: ignore[method-assign, assignment]
        await talk.quiet(4_000)
        reads.set()
        await talk.until(TurnCompleted)

    talk = play(body)
    assert talk.audio_ms(talk.one(TurnStarted).turn_id) == talk.one(AudioOutEnded).audio_ms


def test_what_was_mumbled_before_is_no_transcript_of_a_typed_turn() -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(1_000)
        await talk.until(AudioOut)
        await talk.quiet(400)
        await talk.speak(160)
        await talk.until(TurnCompleted)
        talk.session.prompt("Typed question", "chat-1")
        await talk.until(TurnCompleted, count=2)

    assert finals(play(body, Script(hears=("Tell me.", "Mhm."), replies=(LONG,)))) == ["Tell me."]


def test_half_a_sentence_is_no_transcript_of_a_typed_turn() -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(1_000)
        talk.session.prompt("Typed question", "chat-1")
        await talk.until(TurnCompleted)

    assert finals(play(body, Script(partial_every_ms=200))) == []


def test_a_reply_resumed_near_its_end_still_says_that_it_is_over() -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(1_000)
        await talk.until(AudioOutEnded)
        await talk.speak(400)
        await talk.until(TurnCompleted)

    policy = TurnPolicy(min_wait_ms=300, wait_ms=300, max_wait_ms=900, interrupt_after_ms=100)
    talk = play(body, Script(hears=("Tell me.", "Okay, yeah."), policy=policy))
    assert talk.one(Resumed)
    said = [type(event) for _, event in talk.events if isinstance(event, AudioOut | AudioOutEnded)]
    assert said[-1] is AudioOutEnded


def test_a_draft_that_fails_midway_is_reported_once_it_is_certain() -> None:
    async def slow(_: object, __: int) -> None:
        await asyncio.sleep(0.4)

    failure = ModelTimeout("it stalled", provider="scripted")
    failing = ScriptedReply("Here is the first sentence of it. And the second", failure=failure)
    talk = play(ask, Script(replies=(failing, "Here I am, the answer."), before_chunk=slow))
    assert talk.one(TurnCompleted).error_code is None or talk.all(Failed)


def test_a_stall_does_not_make_later_waits_shorter() -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(600)
        await talk.quiet(120)
        await talk.mute(12_000)
        await talk.speak(600)
        await talk.until(TurnCompleted, count=2)

    policy = TurnPolicy(min_wait_ms=2_000, wait_ms=3_000, max_wait_ms=5_000)
    talk = play(body, Script(policy=policy, hears=("I would like to", "Yes please."), replies=("Fine.",)))
    assert talk.when_ms(TurnStarted, 1) - talk.when_ms(SpeechStoppedHeard, 1) >= 1_500


def test_characters_of_an_interrupted_phrase_are_counted() -> None:
    async def slow(_: object, __: int) -> None:
        await asyncio.sleep(0.09)

    async def body(talk: Talk) -> None:
        await talk.speak(1_000)
        await talk.until(AudioOut)
        await talk.quiet(1_000)
        talk.session.cancel()
        await talk.until(TurnCompleted)

    [event] = ledger(play(body, Script(before_chunk=slow)))
    assert event.audio_ms_synthesized > 0
    assert event.tts_characters > 0


def test_a_client_that_plays_late_resumes_without_losing_audio() -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(1_000)
        await talk.until(AudioOut)
        await talk.quiet(4_000)
        talk.session.played(None, 100)  # its loudspeaker was blocked until now
        await talk.speak(400)
        await talk.until(TurnCompleted)

    talk = play(body, Script(hears=("Tell me.", "Okay, yeah."), replies=(LONG,)))
    resumed, at_s = talk.one(Resumed), talk.when_ms(Resumed) / 1_000
    again = [event for at, event in talk.events if isinstance(event, AudioOut) and at >= at_s]
    assert all(len(event.samples) for event in again)
    total_ms = sum(samples_to_ms(len(event.samples), event.sample_rate_hz) for event in again)
    assert total_ms == pytest.approx(talk.all(AudioOutEnded)[-1].audio_ms - resumed.from_ms, abs=2)


def test_text_read_after_the_voice_was_lost_is_remembered() -> None:
    async def broken(_: object, __: int) -> None:
        raise EngineTimeout("stalled", stage="tts", provider="scripted")

    async def slow(number: int) -> None:
        if number > 12:
            await asyncio.sleep(0.5)

    async def body(talk: Talk) -> None:
        await talk.speak(1_000)
        await talk.until(Degraded)
        await talk.quiet(800)
        talk.session.prompt("And then?")
        await talk.until(TurnCompleted, count=2)

    reply = "One two three four five. Six seven eight nine ten. Eleven twelve thirteen fourteen fifteen."
    talk = play(body, Script(before_chunk=broken, before_event=slow, replies=(reply,)))
    said = [message.text for message in talk.model.requests[-1].messages if message.role == "assistant"]
    assert said
    assert said[0].startswith("One two three")


def test_settings_changed_after_a_detector_broke_leave_push_to_talk() -> None:
    class Breaks(LevelDetector):
        def process(self, chunk: PcmChunk) -> tuple[()]:
            raise RuntimeError("native fault")

    async def body(talk: Talk) -> None:
        await talk.speak(100)
        talk.session.update(talk.options)
        await talk.speak(600)
        talk.session.commit()
        await talk.until(TurnCompleted)

    talk = play(body, Script(detector=Breaks))
    assert talk.one(Degraded).to == "push_to_talk"


@pytest.mark.parametrize(("named", "stopped"), [(True, True), (False, False)])
def test_a_cancel_that_names_a_turn_stops_that_turn_alone(*, named: bool, stopped: bool) -> None:
    async def body(talk: Talk) -> None:
        talk.session.prompt("Go on.", "chat-2")
        talk.session.cancel("chat-2" if named else "chat-1")
        await talk.until(TurnCompleted)

    assert play(body).one(TurnCompleted).interrupted is stopped


def test_yes_said_over_the_replys_tail_counts_in_push_to_talk() -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(600)
        talk.session.commit()
        await talk.until(AudioOutEnded)
        await talk.speak(160)
        await talk.quiet(600)
        talk.session.commit()
        await talk.until(TurnCompleted, count=2)

    talk = play(body, Script(hears=("Shall we?", "Yes."), policy=TurnPolicy(auto_end=False)))
    assert [event.text for event in talk.all(TurnStarted)] == ["Shall we?", "Yes."]


@pytest.mark.parametrize(("voice", "asked"), [(None, None), ("tone", "tone"), ("en-US-NobodyNeural", None)])
def test_a_voice_that_is_not_there_is_not_asked_of_the_engine(voice: str | None, asked: str | None) -> None:
    requests: list[SpeechRequest] = []

    async def note(request: SpeechRequest, number: int) -> None:
        requests.append(request)

    for script in (Script(before_chunk=note), Script(voice=ScriptedTextStreaming(before_chunk=note))):
        requests.clear()
        talk = play(ask, replace(script, options={"voice": voice}))
        told = [event.to for event in talk.all(Degraded)]
        assert told == ([] if voice == asked else ["default voice"])
        assert {request.voice for request in requests} == {asked}
