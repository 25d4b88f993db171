"""What a Voice Live client may send: events of the dialect's own, responses in a way of their own, anything at all."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("azure.ai.voicelive", reason="needs azure-ai-voicelive, the official Voice Live client")

from contract.voice_live_talk import TOOL, started
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.events import (
    Failed,
    TurnStarted,
)
from agents.models.port import Message
from server.wire.client_events import AudioIn, Cancel, Commit
from server.wire.realtime.acts import AddItem, ClearInput, ClearOutput, Respond, Tell

FIELDS = (
    "session response id delta turn_id audio content_index event_id additional_instructions append_input_items tools "
    "input_items type voice turn_detection modalities tool_choice metadata interim_response item name role content"
).split()
EVENTS = (
    "session.update response.create conversation.item.create input_audio.turn.start input_audio.turn.append "
    "input_audio.turn.end input_audio.turn.cancel input_audio.clear input_text.delta input_text.done "
    "output_audio_buffer.clear session.avatar.connect mcp_approval_response input_audio_buffer.append"
).split()


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
@settings(max_examples=400)
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
