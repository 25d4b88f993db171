"""Speech their client commits by hand: recognised, part of the conversation, answered when asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import numpy as np
from conversation import Script, Talk, conversation, dialogue

from agents.core.item_ids import spoken_item_id
from agents.core.policy import TurnPolicy
from agents.events import (
    AudioOut,
    Failed,
    InputCommitted,
    InputFailed,
    Interrupted,
    RecordingTranscribed,
    SpeechDropped,
    TranscriptUpdated,
    TurnCompleted,
    TurnStarted,
)
from agents.models.port import Message
from audio.errors import EngineUnavailable
from audio.formats import Samples
from metering.ledger import UsageQuery, read_all

LONG = "This is a rather long answer that goes on and on, so that it can be interrupted well before its end."
PATIENT = TurnPolicy(min_wait_ms=300, wait_ms=300, max_wait_ms=900)
SILENT = replace(PATIENT, auto_reply=False)
BY_HAND: dict[str, Any] = {"hands_free": False}


async def finals(talk: Talk) -> list[str]:
    return [event.text for event in talk.all(TranscriptUpdated) if event.final]


def by_hand(**changes: Any) -> Script:
    return Script(policy=replace(SILENT, auto_end=False), options=BY_HAND, **changes)


def recording(samples: int) -> Callable[[], Awaitable[Samples]]:
    async def read() -> Samples:
        return np.full(samples, 5_000, np.int16)

    return read


def hear_at_once(talk: Talk, ms: int) -> None:
    """Speech that comes faster than recognition can answer."""
    for _ in range(ms // 20):
        talk.session.hear(np.full(320, 8_000, np.int16))


@dialogue
async def test_speech_is_committed_by_hand_and_answered_when_asked() -> None:
    async with conversation(by_hand()) as talk:
        await talk.speak(800)
        talk.session.commit()
        talk.session.respond("resp_1")
        await talk.until(TurnCompleted)
        committed = talk.one(InputCommitted)
        assert committed.end_ms == 800
        assert await finals(talk) == ["What time is it?"]
        names = talk.kinds()
        assert names.index("InputCommitted") < names.index("TurnStarted")
        assert talk.model.requests[0].messages[-1].text == "What time is it?"


@dialogue
async def test_the_user_may_speak_over_a_reply_when_only_the_client_ends_turns() -> None:
    async with conversation(by_hand(hears=["One.", "Two."], replies=[LONG])) as talk:
        await talk.speak(600)
        talk.session.commit()
        talk.session.respond("resp_1")
        await talk.until(AudioOut)
        await talk.speak(1_000)
        talk.session.commit()
        await talk.until(TurnCompleted)
        assert talk.one(TurnCompleted).end == "finished"
        assert not talk.all(Interrupted)
        assert await finals(talk) == ["One.", "Two."]


@dialogue
async def test_what_is_said_while_a_commit_is_recognised_belongs_to_the_next() -> None:
    async with conversation(by_hand(hears=["One.", "Two."])) as talk:
        await talk.speak(600)
        talk.session.commit()
        await talk.speak(600)
        talk.session.commit()
        await talk.quiet(500)
        assert await finals(talk) == ["One.", "Two."]
        first, second = talk.all(InputCommitted)
        assert (first.start_ms, first.end_ms, second.start_ms, second.end_ms) == (0, 600, 600, 1_200)


@dialogue
async def test_committing_nothing_is_refused() -> None:
    async with conversation(by_hand()) as talk:
        talk.session.commit()
        await talk.until(Failed)
        assert talk.one(Failed).details == {"reason": "input_empty"}


@dialogue
async def test_committed_silence_is_an_item_without_words_and_recognition_is_not_asked() -> None:
    async with conversation(by_hand()) as talk:
        await talk.quiet(800)
        talk.session.commit()
        await talk.quiet(200)
        assert await finals(talk) == [""]
        assert talk.session.history.messages() == ()


@dialogue
async def test_cleared_audio_is_forgotten() -> None:
    async with conversation(by_hand(hears=["Kept."])) as talk:
        await talk.speak(600)
        talk.session.clear()
        await talk.speak(400)
        talk.session.commit()
        await talk.quiet(300)
        assert talk.one(InputCommitted).start_ms == 600
        assert await finals(talk) == ["Kept."]


@dialogue
async def test_clearing_takes_back_what_voice_activity_had_begun_to_hear() -> None:
    async with conversation(Script(policy=PATIENT)) as talk:
        await talk.speak(600)
        talk.session.clear()
        await talk.quiet(2_000)
        assert talk.all(SpeechDropped)
        assert not talk.all(TurnStarted)


@dialogue
async def test_recognition_that_fails_says_so_and_the_conversation_goes_on() -> None:
    script = by_hand(hears=[EngineUnavailable("gone", stage="stt", provider="scripted"), "Again."])
    async with conversation(script) as talk:
        await talk.speak(600)
        talk.session.commit()
        await talk.until(InputFailed)
        await talk.speak(600)
        talk.session.commit()
        await talk.quiet(300)
        assert (await finals(talk))[-1] == "Again."


@dialogue
async def test_a_recording_put_into_the_conversation_is_answered_by_its_words() -> None:
    async with conversation(Script(hears=["What is in the box?"], policy=SILENT)) as talk:
        talk.session.history.add(Message("user", ""), "item_1")
        talk.session.transcribe_item("item_1", recording(16_000))
        talk.session.respond("resp_1")
        await talk.until(TurnCompleted)
        assert talk.model.requests[0].messages[-1].text == "What is in the box?"
        found = talk.one(RecordingTranscribed)
        assert (found.item_id, found.text, found.audio_ms) == ("item_1", "What is in the box?", 1_000)


@dialogue
async def test_a_long_recording_is_read_in_stretches() -> None:
    async with conversation(Script(hears=["First part.", "Second part."], policy=SILENT)) as talk:
        talk.session.history.add(Message("user", ""), "item_1")
        talk.session.transcribe_item("item_1", recording(16_000 * 30))
        await talk.quiet(200)
        assert talk.one(RecordingTranscribed).text == "First part. Second part."


@dialogue
async def test_a_recording_that_cannot_be_read_says_so_and_holds_nobody_up() -> None:
    script = Script(hears=[EngineUnavailable("gone", stage="stt", provider="scripted")], policy=SILENT)
    async with conversation(script) as talk:
        talk.session.history.add(Message("user", ""), "item_1")
        talk.session.transcribe_item("item_1", recording(16_000))
        talk.session.respond("resp_1")
        await talk.until(TurnCompleted)
        assert talk.one(RecordingTranscribed).text is None


@dialogue
async def test_what_is_cleared_while_a_commit_is_recognised_is_in_no_item() -> None:
    async with conversation(by_hand(hears=["One.", "Three."])) as talk:
        hear_at_once(talk, 600)
        talk.session.commit()
        hear_at_once(talk, 400)
        talk.session.clear()
        hear_at_once(talk, 300)
        talk.session.commit()
        await talk.quiet(500)
        assert [(event.start_ms, event.end_ms) for event in talk.all(InputCommitted)] == [(0, 600), (1_000, 1_300)]
        assert await finals(talk) == ["One.", "Three."]


@dialogue
async def test_what_was_heard_while_a_commit_was_recognised_can_be_committed_when_nothing_more_comes() -> None:
    async with conversation(by_hand(hears=["One.", "Three."])) as talk:
        hear_at_once(talk, 600)
        talk.session.commit()
        hear_at_once(talk, 400)
        talk.session.clear()
        hear_at_once(talk, 300)
        await talk.mute(1_000)  # the first is recognised meanwhile
        talk.session.commit()
        await talk.mute(500)
        assert [(event.start_ms, event.end_ms) for event in talk.all(InputCommitted)] == [(0, 600), (1_000, 1_300)]
        assert await finals(talk) == ["One.", "Three."]
        assert not talk.all(Failed)


@dialogue
async def test_commits_in_a_row_stay_apart_however_slow_recognition_is() -> None:
    async with conversation(by_hand(hears=["One.", "Two.", "Three."])) as talk:
        for _ in range(3):
            hear_at_once(talk, 300)
            talk.session.commit()
        assert [event.end_ms for event in talk.all(InputCommitted)] == []  # nobody has read yet
        await talk.quiet(500)
        assert [(event.start_ms, event.end_ms) for event in talk.all(InputCommitted)] == [
            (0, 300),
            (300, 600),
            (600, 900),
        ]
        assert await finals(talk) == ["One.", "Two.", "Three."]


@dialogue
async def test_switching_to_push_to_talk_mid_utterance_keeps_what_was_said() -> None:
    async with conversation(Script(policy=PATIENT, hears=["All of it."])) as talk:
        await talk.speak(400)
        policy = replace(SILENT, auto_end=False)
        talk.session.update(replace(talk.options, policy=policy, hands_free=False))
        await talk.speak(600)
        await talk.quiet(1_500)
        assert not talk.all(TurnStarted)
        assert not talk.all(SpeechDropped)
        talk.session.commit()
        await talk.quiet(300)
        assert await finals(talk) == ["All of it."]
        assert talk.one(InputCommitted).start_ms == 0


@dialogue
async def test_switching_to_hands_free_mid_utterance_keeps_what_was_said() -> None:
    async with conversation(by_hand(hears=["All of it."])) as talk:
        await talk.speak(400)
        talk.session.update(replace(talk.options, policy=PATIENT, hands_free=True))
        await talk.speak(600)
        await talk.until(TurnCompleted)
        assert talk.one(TurnStarted).text == "All of it."
        final = [event for event in talk.all(TranscriptUpdated) if event.final]
        assert final[0].start_ms == 0


@dialogue
async def test_a_reply_that_waits_can_be_cancelled_and_is_told_so() -> None:
    async with conversation(Script(policy=SILENT)) as talk:
        await talk.speak(400)
        talk.session.respond("resp_1")
        talk.session.cancel("resp_1")
        await talk.quiet(2_000)
        assert (talk.one(TurnCompleted).turn_id, talk.one(TurnCompleted).end) == ("resp_1", "cancelled")
        assert talk.model.requests == []


@dialogue
async def test_where_nobody_answers_every_utterance_is_billed_by_itself() -> None:
    script = Script(hears=["One.", "Two."], policy=SILENT, options={"answers": False, "speak": False})
    async with conversation(script) as talk:
        for _ in range(2):
            await talk.speak(800)
            await talk.quiet(1_200)
        billed = list(read_all(talk.recorder.ledger, UsageQuery()))
        assert [event.request_id for event in billed] == [spoken_item_id("session-1", number) for number in (1, 2)]
        assert all(event.audio_ms_in >= 800 for event in billed)
        assert await finals(talk) == ["One.", "Two."]
