"""What a realtime client directs: items, responses of its own, cancellation, in the OpenAI dialect."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from contract.realtime_talk import TOOL, speaking, started

from agents.core.item_ids import reply_item_id
from agents.events import (
    Failed,
    InputCommitted,
    InputFailed,
    LongSilence,
    SpeechStartedHeard,
    TranscriptUpdated,
    TurnStarted,
)
from agents.models.port import Message, ToolNamed
from server.wire.client_events import Cancel, Commit
from server.wire.realtime.acts import AddItem, ClearInput, ClearOutput, RemoveItem

# --- the client directs ----------------------------------------------------------------------------------------------


def test_audio_committed_by_hand_is_told_at_once_and_its_words_later() -> None:
    talk = started()
    talk.update(audio={"input": {"turn_detection": None, "transcription": {"model": "whisper-1"}}})
    told = talk.one("session.updated")["session"]["audio"]["input"]
    assert told["turn_detection"] is None
    assert isinstance(talk.send("input_audio_buffer.commit")[0], Commit)
    talk.hear(InputCommitted(1, 0, 900))
    assert talk.kinds()[-3:] == ["input_audio_buffer.committed", "conversation.item.added", "conversation.item.done"]
    assert talk.all("conversation.item.done")[-1]["item"]["content"][0]["transcript"] is None
    talk.hear(TranscriptUpdated(1, "Hello.", True, 0, 900))
    completed = talk.one("conversation.item.input_audio_transcription.completed")
    assert completed["usage"] == {"type": "duration", "seconds": 0.9}
    assert not talk.all("input_audio_buffer.speech_stopped")
    assert len(talk.all("conversation.item.added")) == 1


def test_speech_that_could_not_be_recognised_is_a_failed_transcription_and_nothing_more() -> None:
    talk = started()
    talk.update(audio={"input": {"turn_detection": None, "transcription": {"model": "whisper-1"}}})
    talk.hear(InputCommitted(1, 0, 900), InputFailed(1, "Not recognised."), TranscriptUpdated(1, "", True, 0, 0))
    assert talk.kinds()[-1] == "conversation.item.input_audio_transcription.failed"


def test_an_empty_commit_is_refused_with_the_clients_event_id() -> None:
    talk = started()
    talk.send("input_audio_buffer.commit", event_id="mine_4")
    talk.hear(Failed("request.invalid", "Nothing was said.", False, details={"reason": "input_empty"}))
    assert (talk.error()["code"], talk.error()["event_id"]) == ("input_audio_buffer_commit_empty", "mine_4")


def test_a_result_nobody_asked_for_is_refused() -> None:
    talk = started()
    item = {"type": "function_call_output", "call_id": "call_unknown", "output": "1"}
    assert talk.send("conversation.item.create", item=item) == []
    assert (talk.error()["code"], talk.error()["param"]) == ("invalid_tool_call_id", "item.call_id")


def test_a_part_that_is_not_there_cannot_be_truncated() -> None:
    talk = speaking()
    talk.send("conversation.item.truncate", item_id=reply_item_id("turn_1"), content_index=5, audio_end_ms=40)
    assert talk.error()["param"] == "content_index"


def test_clearing_is_carried_out_and_confirmed() -> None:
    talk = started()
    assert isinstance(talk.send("input_audio_buffer.clear")[0], ClearInput)
    assert talk.kinds()[-1] == "input_audio_buffer.cleared"
    assert isinstance(talk.send("output_audio_buffer.clear")[0], ClearOutput)


def test_items_are_created_read_and_deleted() -> None:
    talk = started()
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}], "id": "item_mine"}
    [added] = talk.send("conversation.item.create", item=item)
    assert added == AddItem("item_mine", Message("user", "Hi"), None)
    first = item | {"id": "item_first"}
    [added] = talk.send("conversation.item.create", item=first, previous_item_id="root")
    assert isinstance(added, AddItem)
    assert added.after == ""
    second = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello"}]}
    talk.send("conversation.item.create", item=second, previous_item_id="item_mine")
    assert [m["previous_item_id"] for m in talk.all("conversation.item.added")] == [None, None, "item_mine"]
    talk.send("conversation.item.retrieve", item_id="item_mine")
    assert talk.one("conversation.item.retrieved")["item"]["content"] == [{"type": "input_text", "text": "Hi"}]
    assert talk.send("conversation.item.delete", item_id="item_mine") == [RemoveItem("item_mine")]
    talk.send("conversation.item.retrieve", item_id="item_mine")
    assert talk.error()["code"] == "item_retrieve_invalid_item_id"


def test_speech_in_an_item_is_handed_on_to_be_recognised() -> None:
    talk = started()
    audio = base64.b64encode(bytes(4_800)).decode()
    item = {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": audio}]}
    [added] = talk.send("conversation.item.create", item=item)
    assert isinstance(added, AddItem)
    assert added.audio == bytes(4_800)
    assert "audio" not in talk.one("conversation.item.added")["item"]["content"][0]


def test_a_response_may_have_its_own_way_and_stay_out_of_the_conversation() -> None:
    talk = started()
    act = talk.respond(
        conversation="none",
        output_modalities=["text"],
        instructions="Classify.",
        metadata={"topic": "triage"},
        tools=[TOOL],
        tool_choice={"type": "function", "name": "lookup"},
        max_output_tokens=50,
        input=[{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "My bill!"}]}],
    )
    assert (act.remembered, act.messages) == (False, (Message("user", "My bill!"),))
    assert (act.reply.audible, act.reply.instructions, act.reply.max_output_tokens) == (False, "Classify.", 50)
    assert act.reply.tool_choice == ToolNamed("lookup")
    talk.hear(TurnStarted(act.turn_id, "", "request"))
    talk.agent_says("billing", act.turn_id, audio=False)
    assert talk.one("response.created")["response"]["metadata"] == {"topic": "triage"}
    assert not talk.all("conversation.item.added")
    assert talk.one("response.done")["response"]["output"][0]["content"][0]["text"] == "billing"


def test_responses_beside_the_conversation_run_while_another_speaks() -> None:
    talk = speaking()
    act = talk.respond(conversation="none", output_modalities=["text"])
    talk.hear(TurnStarted(act.turn_id, "", "request"))
    talk.agent_says("aside", act.turn_id, audio=False)
    talk.complete()
    assert [message["response"]["id"] for message in talk.all("response.done")] == [act.turn_id, "resp_1"]


def test_an_item_may_be_referred_to_as_input() -> None:
    talk = started()
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}], "id": "item_mine"}
    talk.send("conversation.item.create", item=item)
    act = talk.respond(conversation="none", input=[{"type": "item_reference", "id": "item_mine"}])
    assert act.messages == (Message("user", "Hi"),)


def test_a_second_response_at_once_is_refused_with_the_clients_event_id() -> None:
    talk = speaking()
    talk.send("response.create", event_id="mine_1")
    assert talk.error()["code"] == "conversation_already_has_active_response"
    assert talk.error()["event_id"] == "mine_1"


def test_a_response_the_session_refuses_is_answered_by_its_event_id_too() -> None:
    talk = started()
    [act] = talk.send("response.create", event_id="mine_2")
    talk.hear(Failed("request.invalid", "Busy.", True, act.turn_id, {"reason": "reply_active"}))
    assert talk.error() == {
        "type": "invalid_request_error",
        "code": "conversation_already_has_active_response",
        "message": "Busy.",
        "event_id": "mine_2",
    }


def test_a_response_asked_for_is_the_one_the_turn_made_by_itself() -> None:
    talk = started()
    talk.hear(SpeechStartedHeard(1, 100))
    talk.respond(metadata={"mine": "yes"})
    talk.user_says("Hello.")
    assert talk.one("response.created")["response"]["metadata"] == {"mine": "yes"}
    assert not talk.codec.state.requested


def test_cancelling_names_the_turn_and_without_one_says_so() -> None:
    talk = speaking()
    assert talk.send("response.cancel") == [Cancel("turn_1")]
    talk.complete(end="cancelled")
    assert talk.one("response.done")["response"]["status_details"]["reason"] == "client_cancelled"
    talk.send("response.cancel")
    assert talk.error()["code"] == "response_cancel_not_active"


@pytest.mark.parametrize(
    ("end", "status", "reason"),
    [
        ("length", "incomplete", "max_output_tokens"),
        ("filtered", "incomplete", "content_filter"),
        ("failed", "failed", None),
    ],
)
def test_a_response_says_how_it_ended(end: Any, status: str, reason: str | None) -> None:
    talk = started()
    talk.user_says("Hello.")
    talk.hear(Failed("provider.timeout", "Too slow.", True, "turn_1"))
    talk.agent_says("Well", end=end)
    details = talk.one("response.done")["response"]["status_details"]
    assert (details["type"], details.get("reason")) == (status, reason)
    assert not talk.all("error")
    if end == "failed":
        assert details["error"]["code"] == "provider.timeout"


def test_a_long_silence_is_told_before_the_agent_speaks_up() -> None:
    talk = started()
    talk.hear(LongSilence("turn_5", 1_000, 6_000), TurnStarted("turn_5", "", "idle"))
    triggered = talk.one("input_audio_buffer.timeout_triggered")
    assert (triggered["audio_start_ms"], triggered["audio_end_ms"]) == (1_000, 6_000)
    assert talk.one("response.created")["response"]["id"] == "resp_5"


@pytest.mark.parametrize("audio", ["%%%", base64.b64encode(b"odd").decode()])
def test_a_recording_that_cannot_be_read_is_refused_and_nothing_is_added(audio: str) -> None:
    talk = started()
    item = {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": audio}]}
    assert talk.send("conversation.item.create", item=item, event_id="mine_6") == []
    assert (talk.error()["event_id"], talk.error()["param"]) == ("mine_6", "item.content")
    assert not talk.all("conversation.item.added")


def test_a_response_that_waits_is_cancelled() -> None:
    talk = started()
    act = talk.respond()
    assert talk.send("response.cancel") == [Cancel(act.turn_id)]
    talk.hear(TurnStarted(act.turn_id, "", "request"))
    talk.complete(act.turn_id, end="cancelled")
    assert talk.one("response.done")["response"]["status"] == "cancelled"


def test_stop_and_say_this_instead_is_taken() -> None:
    talk = speaking()
    talk.send("response.cancel")
    act = talk.respond(instructions="Say sorry.")
    assert act.reply.instructions == "Say sorry."


@pytest.mark.parametrize(
    ("role", "part"), [("user", "output_text"), ("system", "input_audio"), ("assistant", "input_text")]
)
def test_a_message_has_the_parts_of_its_role(role: str, part: str) -> None:
    talk = started()
    item = {"type": "message", "role": role, "content": [{"type": part, "text": "Hi"}]}
    assert talk.send("conversation.item.create", item=item) == []
    assert part in talk.error()["message"]


def test_without_a_voice_responses_are_in_writing_and_say_so() -> None:
    talk = started()
    talk.codec.state.voiceless = True
    talk.user_says("Hello.")
    talk.agent_says("Hi!", audio=False)
    assert talk.one("response.created")["response"]["output_modalities"] == ["text"]
    assert talk.one("response.output_text.done")["text"] == "Hi!"
