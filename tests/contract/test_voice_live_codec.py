"""The Voice Live dialect: whole conversations, every message held strictly to the official SDK's own models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("azure.ai.voicelive", reason="needs azure-ai-voicelive, the official Voice Live client")

from contract.realtime_talk import SESSION_ID, RealtimeTalk
from contract.voicelive_models import validate
from hypothesis import given, settings
from hypothesis import strategies as st

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
from agents.models.port import Message
from server.wire.client_events import AudioIn, Cancel, Commit
from server.wire.realtime.acts import AddItem, ClearInput, ClearOutput, Configure, Respond, Tell, Truncate
from server.wire.realtime.voice_live import VOICE_LIVE
from server.wire.realtime.voice_live_config import VoiceLiveConfig
from server.wire.realtime.voice_live_warnings import Abilities, Warned

GOLDEN = Path(__file__).parent / "golden" / "voice_live_frames.jsonl"
ABILITIES = Abilities(("joe", "amy"), frozenset({"en-US"}), frozenset({"en"}))
TRANSCRIBED = {"model": "azure-speech", "language": "en-US"}
FIELDS = (
    "session response id delta turn_id audio content_index event_id additional_instructions append_input_items tools "
    "input_items type voice turn_detection modalities tool_choice metadata interim_response item name role content"
).split()
EVENTS = (
    "session.update response.create conversation.item.create input_audio.turn.start input_audio.turn.append "
    "input_audio.turn.end input_audio.turn.cancel input_audio.clear input_text.delta input_text.done "
    "output_audio_buffer.clear session.avatar.connect mcp_approval_response input_audio_buffer.append"
).split()
TOOL = {"type": "function", "name": "lookup", "description": "Look up.", "parameters": {"type": "object"}}


class VoiceLiveTalk(RealtimeTalk):
    """A session in this dialect."""

    def __init__(self, *, agent: dict[str, Any] | None = None, warned: tuple[Warned, ...] = ()) -> None:
        config = VoiceLiveConfig.opened(
            "gpt-realtime", SESSION_ID, 1_800_000_000, ABILITIES, agent=agent, warned=warned
        )
        super().__init__(dialect=VOICE_LIVE, config=config, check=validate)

    def update(self, **session: Any) -> list[Any]:
        return self.send("session.update", session=session)


def started(**how: Any) -> VoiceLiveTalk:
    talk = VoiceLiveTalk(**how)
    talk.start()
    return talk


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


# --- client events of its own -----------------------------------------------------------------------------------------


def test_a_turn_of_audio_is_appended_committed_and_cancelled_by_its_id() -> None:
    talk = started()
    talk.update(turn_detection=None)
    assert talk.send("input_audio.turn.start", turn_id="t1") == []
    assert talk.send("input_audio.turn.append", turn_id="t1", audio="AAAA") == [AudioIn(b"\0\0\0")]
    assert talk.send("input_audio.turn.end", turn_id="t1") == [Commit()]
    talk.send("input_audio.turn.start", turn_id="t2")
    assert talk.send("input_audio.turn.cancel", turn_id="t2") == [ClearInput()]
    assert talk.send("input_audio.clear") == [ClearInput()]
    assert len(talk.all("input_audio_buffer.cleared")) == 2
    assert not talk.all("error")


@pytest.mark.parametrize(
    ("kind", "fields", "code", "param"),
    [
        ("input_audio.turn.start", {"turn_id": "t2"}, "input_audio_turn_in_progress", "turn_id"),
        ("input_audio.turn.end", {"turn_id": "t2"}, "input_audio_turn_not_found", "turn_id"),
        ("input_audio.turn.append", {"turn_id": "t1"}, "missing_required_parameter", "audio"),
        ("input_audio.turn.append", {"turn_id": "t1", "audio": "?"}, "invalid_value", "audio"),
        ("input_audio.turn.end", {}, "missing_required_parameter", "turn_id"),
        ("input_text.done", {"id": "none"}, "item_not_found", "id"),
        ("input_text.delta", {"id": "x", "delta": 3}, "invalid_type", "delta"),
        ("session.avatar.connect", {"client_sdp": "v=0"}, "not_available", "type"),
        ("mcp_approval_response", {}, "not_available", "type"),
        ("no.such.event", {}, "invalid_value", "type"),
    ],
)
def test_an_event_that_cannot_be_is_named(kind: str, fields: dict[str, Any], code: str, param: str) -> None:
    talk = started()
    talk.send("input_audio.turn.start", turn_id="t1")
    assert talk.send(kind, event_id="mine", **fields) == []
    error = talk.error()
    assert (error["code"], error["param"], error["event_id"]) == (code, param, "mine")


def test_an_empty_turn_is_answered_under_its_own_event() -> None:
    talk = started()
    talk.update(turn_detection=None)
    talk.send("input_audio.turn.start", turn_id="t1")
    talk.send("input_audio.turn.end", turn_id="t1", event_id="mine")
    talk.hear(Failed("request.invalid", "There was nothing to commit.", True, None, {"reason": "input_empty"}))
    assert (talk.error()["code"], talk.error()["event_id"]) == ("input_audio_buffer_commit_empty", "mine")


def test_streamed_text_becomes_a_message_of_the_users() -> None:
    talk = started()
    talk.send("input_text.delta", id="item_1", delta="What time ")
    talk.send("input_text.delta", id="item_1", delta="is it?")
    [added] = talk.send("input_text.done", id="item_1")
    assert isinstance(added, AddItem)
    assert (added.item_id, added.message) == ("item_1", Message("user", "What time is it?"))
    item = talk.one("conversation.item.created")["item"]
    assert item["content"] == [{"type": "input_text", "text": "What time is it?"}]


def test_clearing_the_output_stops_the_answer() -> None:
    talk = started()
    assert talk.send("output_audio_buffer.clear") == [ClearOutput()]
    assert talk.one("output_audio_buffer.cleared").keys() == {"type", "event_id"}


def test_a_conversation_so_far_is_given_and_told_back_in_its_own_words() -> None:
    talk = started()
    items = [
        {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Be brief."}]},
        {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "AAAAAA=="}]},
        {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "Yes?"}]},
        {"type": "function_call", "name": "lookup", "call_id": "c1", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "cat"},
    ]
    for item in items:
        talk.send("conversation.item.create", item=item)
    told = [message["item"] for message in talk.all("conversation.item.created")]
    assert told[2]["content"] == [{"type": "text", "text": "Yes?"}]
    for item in told:
        talk.send("conversation.item.retrieve", item_id=item["id"])
        talk.send("conversation.item.delete", item_id=item["id"])
    assert not talk.all("error")


def test_items_of_azures_own_services_are_refused() -> None:
    talk = started()
    talk.send("conversation.item.create", item={"type": "mcp_approval_response", "approve": True})
    assert (talk.error()["code"], talk.error()["param"]) == ("not_available", "item.type")


@pytest.mark.parametrize("audio", ["AAAA", "A" * 4_000])
def test_audio_is_read_wherever_its_type_stands(audio: str) -> None:
    talk = started()
    [heard] = talk.send_text(json.dumps({"audio": audio, "type": "input_audio_buffer.append"}))
    assert isinstance(heard, AudioIn)
    middle = {"event_id": "e" * 200, "audio": audio, "type": "input_audio_buffer.append", "more": "m" * 200}
    assert talk.send_text(json.dumps(middle)) == [heard]


# --- responses on request ---------------------------------------------------------------------------------------------


def test_a_response_has_its_own_way() -> None:
    talk = started()
    talk.update(instructions="Be kind.")
    respond = talk.respond(
        instructions="Be brief.",
        voice={"type": "azure-standard", "name": "amy", "rate": "+50%"},
        temperature=0.9,
        max_output_tokens=64,
        tools=[TOOL],
        tool_choice={"type": "function", "function": {"name": "lookup"}},
        metadata={"k": "v"},
    )
    reply = respond.reply
    assert (reply.instructions, reply.voice, reply.speed, reply.temperature) == ("Be brief.", "amy", 1.5, 0.9)
    assert (reply.max_output_tokens, [tool.name for tool in reply.tools], respond.remembered) == (64, ["lookup"], True)
    talk.hear(TurnStarted(respond.turn_id, "", "request"))
    response = talk.one("response.created")["response"]
    assert (response["voice"], response["max_output_tokens"], response["metadata"]) == ("amy", 64, {"k": "v"})
    assert response["temperature"] == 0.9


def test_additional_instructions_come_on_top() -> None:
    talk = started()
    talk.update(instructions="Be kind.")
    [respond] = talk.send("response.create", additional_instructions="Say hello.")
    assert isinstance(respond, Respond)
    assert respond.reply.instructions == "Be kind.\n\nSay hello."


def test_a_response_beside_the_conversation_in_writing() -> None:
    talk = started()
    items = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Classify: hello"}]}]
    respond = talk.respond(commit=False, modalities=["text"], input_items=items)
    assert (respond.messages, respond.remembered) == ((Message("user", "Classify: hello"),), False)
    talk.hear(TurnStarted(respond.turn_id, "", "request"))
    talk.agent_says("greeting", respond.turn_id, audio=False)
    assert talk.one("response.done")["response"]["output"][0]["content"] == [{"type": "text", "text": "greeting"}]
    assert not talk.all("conversation.item.created")


def test_items_are_appended_before_a_response() -> None:
    talk = started()
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}
    [added, respond] = talk.send("response.create", response={"append_input_items": [item]})
    assert isinstance(added, AddItem)
    assert isinstance(respond, Respond)
    assert respond.messages is None
    bad = {"type": "message", "role": "user", "content": []}
    assert talk.send("response.create", response={"append_input_items": [item, bad]}) == []
    assert talk.error()["param"] == "response.append_input_items[1].content"


def test_what_comes_before_a_part_that_fails_is_done() -> None:
    talk = started()
    item = {"type": "message", "role": "user", "id": "mine", "content": [{"type": "input_text", "text": "Hello"}]}
    [added] = talk.send("response.create", event_id="e1", response={"append_input_items": [item, item]})
    assert isinstance(added, AddItem)
    assert (talk.error()["code"], talk.error()["event_id"]) == ("item_already_exists", "e1")


def test_a_new_response_takes_the_place_of_the_one_under_way() -> None:
    talk = started()
    talk.user_says("Hello.")
    [cancel, respond] = talk.send("response.create")
    assert cancel == Cancel("turn_1")
    assert isinstance(respond, Respond)
    talk.complete("turn_1", end="cancelled")
    talk.hear(TurnStarted(respond.turn_id, "", "request"))
    talk.agent_says("Hi!", respond.turn_id)
    assert [one["response"]["status"] for one in talk.all("response.done")] == ["cancelled", "completed"]


def test_a_new_response_waits_its_turn_where_the_client_says_so() -> None:
    talk = started()
    talk.user_says("Hello.")
    assert talk.send("response.create", response={"cancel_previous": False}) == []
    assert talk.error()["code"] == "conversation_already_has_active_response"


@pytest.mark.parametrize(
    ("response", "param"),
    [
        ({"output_audio_format": "g711_ulaw"}, "response.output_audio_format"),
        ({"pre_generated_assistant_message": {"type": "message"}}, "response.pre_generated_assistant_message"),
        ({"invoke_input": {}}, "response.invoke_input"),
        ({"append_input_items": "x"}, "response.append_input_items"),
        ({"tools": [{"type": "mcp", "server_label": "x"}]}, "response.tools[0]"),
        ({"commit": 1}, "response.commit"),
        ({"voice": {"type": "azure-custom", "name": "x"}}, "response.voice.endpoint_id"),
        ({"conversation": "none"}, "response.conversation"),
    ],
)
def test_a_response_that_cannot_be_made_so_is_refused(response: dict[str, Any], param: str) -> None:
    talk = started()
    assert talk.send("response.create", response=response) == []
    assert talk.error()["param"] == param


def test_what_a_response_does_not_get_is_said() -> None:
    talk = started()
    asked = {"voice": "alloy", "reasoning_effort": "low", "modalities": ["text", "audio", "animation"]}
    talk.respond(**asked, interim_response={"type": "llm_interim_response"})
    assert [one["warning"]["param"] for one in talk.all("warning")] == [
        "response.modalities",
        "response.voice",
        "response.reasoning_effort",
        "response.interim_response",
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.sampled_from(FIELDS), inner),
    max_leaves=8,
)


@given(kind=st.sampled_from(EVENTS), fields=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5))
@settings(max_examples=400, deadline=None)
def test_whatever_a_client_sends_is_taken_or_answered(kind: str, fields: dict[str, Any]) -> None:
    started().send_text(json.dumps(fields | {"type": kind}))


@pytest.mark.parametrize(
    "frame",
    [
        b'{"type":"input_text.delta","id":"x","delta":"\xff"}',
        b'{"type":"response.create","response":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b'{"type":"input_text.delta","id":"\\ud800","delta":"x"}',
        b'{"type":"response.create","response":{"a":1e999}}',
    ],
)
def test_what_is_no_json_is_answered(frame: bytes) -> None:
    [told] = started().codec.feed(frame)
    assert isinstance(told, Tell)
    assert told.body["type"] == "error"


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
