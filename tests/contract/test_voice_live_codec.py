"""The Voice Live dialect: whole conversations, every message held strictly to the official SDK's own models."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("azure.ai.voicelive", reason="needs azure-ai-voicelive, the official Voice Live client")

from contract.realtime_talk import SESSION_ID
from contract.voice_live_talk import ABILITIES, TOOL, TRANSCRIBED, VoiceLiveTalk, started
from contract.voicelive_models import validate

from agents.core.item_ids import reply_item_id, spoken_item_id
from agents.core.spoken_items import Truncated
from agents.events import (
    AudioOutEnded,
    Caption,
    ClientToolCalled,
    Degraded,
    Failed,
    InputCommitted,
    InputFailed,
    Interrupted,
    LongSilence,
    ReplyText,
    SpeechStartedHeard,
    SpeechStoppedHeard,
    TranscriptUpdated,
    TurnStarted,
)
from server.wire.realtime.acts import AddItem, Configure, Truncate

GOLDEN = Path(__file__).parent / "golden" / "voice_live_frames.jsonl"


# --- a conversation ---------------------------------------------------------------------------------------------------


def test_a_session_begins_with_everything_spelled_out() -> None:
    talk = started()
    assert talk.kinds() == ["session.created"]
    assert talk.said[0]["session"] == {
        "id": SESSION_ID,
        "model": "gpt-realtime",
        "expires_at": 1_800_000_000,
        "modalities": ["text", "audio"],
        "voice": "joe",
        "input_audio_format": "pcm16",
        "input_audio_sampling_rate": 24_000,
        "output_audio_format": "pcm16",
        "turn_detection": {
            "type": "server_vad",
            "threshold": 0.5,
            "prefix_padding_ms": 300,
            "create_response": True,
            "interrupt_response": True,
            "auto_truncate": True,
        },
        "output_audio_timestamp_types": [],
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "max_response_output_tokens": "inf",
        "include": [],
    }


def test_a_session_with_an_agent_tells_which_and_warns_where_it_is_another() -> None:
    agent = {"type": "agent", "name": "Assistant", "agent_id": "assistant", "thread_id": "conv_1"}
    talk = started(agent=agent, warned=(("agent-name", "There is no agent 'x' here."),))
    assert talk.one("session.created")["session"]["agent"] == agent
    assert talk.one("warning")["warning"] == {
        "code": "not_available",
        "message": "There is no agent 'x' here.",
        "param": "agent-name",
    }


def test_a_spoken_turn_is_told_in_the_order_clients_rely_on() -> None:
    talk = started()
    talk.update(input_audio_transcription=TRANSCRIBED)
    talk.user_says("Hello there.")
    talk.agent_says("Hi!")
    assert talk.kinds() == [
        "session.created",
        "session.updated",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.created",
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.completed",
        "response.created",
        "response.output_item.added",
        "conversation.item.created",
        "response.content_part.added",
        "response.audio_transcript.delta",
        "response.audio.delta",
        "response.audio.done",
        "response.audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.done",
    ]
    created = talk.one("response.created")["response"]
    assert (created["modalities"], created["voice"], created["output_audio_format"]) == (
        ["text", "audio"],
        "joe",
        "pcm16",
    )
    done = talk.one("response.done")["response"]
    assert done["status"] == "completed"
    assert "status_details" not in done
    assert done["output"][0]["content"] == [{"type": "audio", "transcript": "Hi!"}]
    assert done["usage"]["total_tokens"] == 15


def test_items_come_one_after_the_other() -> None:
    talk = started()
    talk.user_says("Hello.")
    talk.agent_says("Hi!")
    spoken = spoken_item_id(SESSION_ID, 1)
    created = talk.all("conversation.item.created")
    assert [message["previous_item_id"] for message in created] == [None, spoken]
    assert [message["item"]["id"] for message in created] == [spoken, reply_item_id("turn_1")]
    assert created[0]["item"]["content"] == [{"type": "input_audio", "audio": "", "transcript": None}]


def test_phrases_of_a_transcription_are_told_where_they_are_wanted() -> None:
    talk = started()
    name = "item.input_audio_transcription.phrases"
    talk.update(input_audio_transcription=TRANSCRIBED, include=[name, "file_search_call.results"])
    talk.hear(TranscriptUpdated(1, "Hello.", True, 100, 1_500, None, "en", 0.9))
    phrase = {"text": "Hello.", "offset_milliseconds": 100, "duration_milliseconds": 1_400}
    told = talk.one("conversation.item.input_audio_transcription.completed")
    assert told["phrases"] == [phrase | {"locale": "en", "confidence": 0.9}]
    assert talk.one("session.updated")["session"]["include"] == [name]
    assert talk.one("warning")["warning"]["param"] == "session.include"


def test_a_response_in_writing_has_text_and_no_audio() -> None:
    talk = started()
    talk.update(modalities=["text"])
    talk.user_says("Hello.")
    talk.agent_says("Hi!", audio=False)
    assert talk.one("response.text.done")["text"] == "Hi!"
    assert "voice" not in talk.one("response.created")["response"]
    assert talk.one("response.done")["response"]["output"][0]["content"] == [{"type": "text", "text": "Hi!"}]


def test_a_function_call_its_result_and_the_answer() -> None:
    talk = started()
    talk.update(tools=[TOOL], tool_choice="required")
    talk.user_says("What is a cat?")
    talk.agent_calls()
    [added] = talk.send(
        "conversation.item.create", item={"type": "function_call_output", "call_id": "call_1", "output": "An animal."}
    )
    assert isinstance(added, AddItem)
    asked = talk.respond()
    talk.complete(end="tools")
    talk.hear(TurnStarted(asked.turn_id, "", "request"))
    talk.agent_says("A cat is an animal.", asked.turn_id)
    call = talk.all("response.done")[0]["response"]["output"][0]
    assert (call["type"], call["status"], call["arguments"]) == ("function_call", "completed", '{"word": "cat"}')
    talk.send("conversation.item.retrieve", item_id=added.item_id)
    assert "status" not in talk.one("conversation.item.retrieved")["item"]


def test_speech_over_an_answer_ends_it_and_what_was_heard_stays() -> None:
    talk = started()
    talk.user_says("Tell me a story.")
    talk.hear(ReplyText("turn_1", "Once upon a time there was"))
    talk.hear_audio("turn_1", 0, 400)
    talk.hear(SpeechStartedHeard(2, 3_000), Interrupted("turn_1", 300, "Once upon", False))
    talk.complete("turn_1", "Once upon", "interrupted")
    assert talk.kinds()[-6:] == [
        "input_audio_buffer.speech_started",
        "response.audio.done",
        "response.audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.done",
    ]
    done = talk.one("response.done")["response"]
    assert done["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert done["output"][0]["status"] == "incomplete"
    item_id = reply_item_id("turn_1")
    [cut] = talk.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=300)
    assert cut == Truncate(item_id, 300, 0)
    validate(talk.codec.truncated(item_id, Truncated(300, "Once upon"), 0))


@pytest.mark.parametrize(
    ("end", "status", "reason"),
    [("length", "incomplete", "max_output_tokens"), ("filtered", "incomplete", "content_filter"),
     ("cancelled", "cancelled", "client_cancelled")],
)  # fmt: skip
def test_how_a_response_ended_is_told(end: Any, status: str, reason: str) -> None:
    talk = started()
    talk.user_says("Hello.")
    talk.agent_says("Hi", end=end)
    response = talk.one("response.done")["response"]
    assert (response["status"], response["status_details"]["reason"]) == (status, reason)


def test_a_failed_response_tells_why() -> None:
    talk = started()
    talk.user_says("Hello.")
    talk.hear(Failed("provider.timeout", "The model did not answer.", True, "turn_1"))
    talk.complete(end="failed")
    details = talk.one("response.done")["response"]["status_details"]
    assert (details["type"], details["error"]["message"]) == ("failed", "The model did not answer.")


def test_failures_outside_a_response_and_what_gives_way() -> None:
    talk = started()
    talk.update(input_audio_transcription=TRANSCRIBED)
    talk.hear(
        InputCommitted(1, 0, 900),
        InputFailed(1, "Not understood."),
        Failed("provider.unavailable", "What you said could not be recognised.", True),
        Degraded("speech", "text", "The voice failed."),
        LongSilence("turn_9", 0, 9_000),
    )
    assert talk.one("conversation.item.input_audio_transcription.failed")["error"]["code"] == "transcription_failed"
    assert talk.error()["code"] == "provider_unavailable"
    assert talk.one("warning")["warning"] == {"code": "degraded", "message": "The voice failed."}
    assert "input_audio_buffer.timeout_triggered" not in talk.kinds()


# --- word times -------------------------------------------------------------------------------------------------------


def test_words_are_timed_within_their_phrase_where_that_is_wanted() -> None:
    talk = started()
    talk.update(output_audio_timestamp_types=["word"])
    talk.user_says("Hello.")
    talk.hear(ReplyText("turn_1", "Hi there. I am here."))
    talk.hear_audio("turn_1")
    talk.hear(
        Caption("agent", "Hi there.", 0, 900, True, "turn_1"),
        Caption("agent", "I am here.", 900, 1_900, True, "turn_1"),
        Caption("user", "Hello.", 0, 900, True),
        AudioOutEnded("turn_1", 1_900),
    )
    talk.complete("turn_1", "Hi there. I am here.")
    words = [
        (one["text"], one["audio_offset_ms"], one["audio_duration_ms"])
        for one in talk.all("response.audio_timestamp.delta")
    ]
    assert words == [("Hi", 0, 300), ("there.", 300, 600), ("I", 900, 200), ("am", 1_100, 300), ("here.", 1_400, 500)]
    kinds = talk.kinds()
    assert kinds.index("response.audio_timestamp.done") == kinds.index("response.audio.done") + 1
    assert len(talk.all("response.audio_timestamp.done")) == 1


def test_words_are_not_timed_unasked() -> None:
    talk = started()
    talk.user_says("Hello.")
    talk.hear(Caption("agent", "Hi there.", 0, 900, True, "turn_1"))
    talk.agent_says("Hi there.")
    assert not [kind for kind in talk.kinds() if "timestamp" in kind]


# --- mouth shapes -----------------------------------------------------------------------------------------------------

SHOWN = {"animation": {"outputs": ["viseme_id"]}}


def test_mouth_shapes_are_told_before_their_audio_where_they_are_wanted_and_to_be_had() -> None:
    talk = started(abilities=replace(ABILITIES, visemes=True))
    talk.update(**SHOWN)
    assert talk.one("session.updated")["session"]["animation"] == {"outputs": ["viseme_id"]}
    assert not talk.all("warning")
    talk.user_says("Hello.")
    talk.see((19, 0), (6, 85))
    talk.hear_audio("turn_1")
    talk.hear(ReplyText("turn_1", "Hi there."), AudioOutEnded("turn_1", 900))
    talk.complete("turn_1", "Hi there.")
    shapes = [(one["viseme_id"], one["audio_offset_ms"]) for one in talk.all("response.animation_viseme.delta")]
    assert shapes == [(19, 0), (6, 85)]
    kinds = talk.kinds()
    assert kinds.index("response.animation_viseme.delta") < kinds.index("response.audio.delta")
    assert kinds.index("response.animation_viseme.done") == kinds.index("response.audio.done") + 1


@pytest.mark.parametrize(("visemes", "patch"), [(True, {}), (False, SHOWN)])
def test_mouth_shapes_are_not_told_unasked_nor_by_a_voice_that_has_none(visemes: bool, patch: dict[str, Any]) -> None:
    talk = started(abilities=replace(ABILITIES, visemes=visemes))
    talk.update(**patch)
    assert "animation" not in talk.one("session.updated")["session"]
    assert [one["warning"]["param"] for one in talk.all("warning")] == ["session.animation.outputs"] * bool(patch)
    talk.user_says("Hello.")
    talk.see((19, 0))
    talk.agent_says("Hi there.")
    assert not [kind for kind in talk.kinds() if "animation" in kind]


# --- frozen -----------------------------------------------------------------------------------------------------------


def golden_talk() -> VoiceLiveTalk:
    """A conversation with a bit of everything."""
    talk = started()
    talk.update(
        voice={"type": "azure-standard", "name": "joe", "rate": "1.2"},
        turn_detection={"type": "azure_semantic_vad", "silence_duration_ms": 500},
        input_audio_transcription=TRANSCRIBED,
        input_audio_noise_reduction={"type": "azure_deep_noise_suppression"},
        output_audio_timestamp_types=["word"],
        tools=[TOOL],
    )
    talk.user_says("What is a cat?")
    talk.hear(ClientToolCalled("turn_1", "call_1", "lookup", '{"word": "cat"}'))
    talk.complete("turn_1", end="tools")
    talk.send(
        "conversation.item.create", item={"type": "function_call_output", "call_id": "call_1", "output": "An animal."}
    )
    respond = talk.respond()
    talk.hear(TurnStarted(respond.turn_id, "", "request"), ReplyText(respond.turn_id, "An animal."))
    talk.hear_audio(respond.turn_id, 0, 1)
    talk.hear(Caption("agent", "An animal.", 0, 1_000, True, respond.turn_id))
    talk.hear(SpeechStartedHeard(2, 3_000), Interrupted(respond.turn_id, 400, "An", False))
    talk.complete(respond.turn_id, "An", "interrupted")
    talk.hear(SpeechStoppedHeard(2, 3_600))
    talk.send("session.update", session={"modalities": ["video"]}, event_id="bad_1")
    return talk


def test_server_events_look_as_they_looked() -> None:
    frames = [json.dumps(message, separators=(",", ":")) for message in golden_talk().said]
    assert frames == GOLDEN.read_text(encoding="utf-8").splitlines()


def test_a_configuration_reaches_the_session() -> None:
    talk = started()
    [configure] = talk.update(instructions="Be kind.")
    assert isinstance(configure, Configure)
    assert configure.settings.reply.instructions == "Be kind."
