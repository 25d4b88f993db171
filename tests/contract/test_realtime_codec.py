"""The OpenAI Realtime codec: whole conversations, every message held strictly to the official SDK's own models."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from contract.realtime_talk import SESSION_ID, RealtimeTalk
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.core.item_ids import reply_item_id, spoken_item_id
from agents.core.spoken_items import Truncated
from agents.events import (
    Caption,
    Failed,
    InputCommitted,
    InputFailed,
    Interrupted,
    LongSilence,
    ReplyText,
    Resumed,
    SpeechDropped,
    SpeechStartedHeard,
    SpeechStoppedHeard,
    TranscriptUpdated,
    TurnStarted,
)
from agents.models.port import Message, ToolNamed
from audio.formats import AudioFormat, Encoding
from server.wire.client_events import AudioIn, Cancel, Commit
from server.wire.realtime.acts import AddItem, ClearInput, ClearOutput, Configure, RemoveItem, Truncate
from server.wire.realtime.faults import RealtimeFault

TRANSCRIBED = {"input": {"transcription": {"model": "whisper-1"}}}
TOOL = {"type": "function", "name": "lookup", "description": "Look up.", "parameters": {"type": "object"}}


def started(**how: Any) -> RealtimeTalk:
    return RealtimeTalk(**how).start()


# --- a conversation ---------------------------------------------------------------------------------------------------


def test_a_spoken_turn_is_told_in_the_order_clients_rely_on() -> None:
    talk = started()
    talk.update(audio=TRANSCRIBED)
    talk.user_says("Hello there.")
    talk.agent_says("Hi!")
    assert talk.kinds() == [
        "session.created",
        "conversation.created",
        "session.updated",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.completed",
        "response.created",
        "rate_limits.updated",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
    ]
    assert talk.one("input_audio_buffer.speech_stopped")["audio_end_ms"] == 1_500
    response = talk.one("response.done")["response"]
    assert response["status"] == "completed"
    assert response["output"][0]["content"] == [{"type": "output_audio", "transcript": "Hi!"}]
    assert response["usage"]["total_tokens"] == 15


def test_ids_tie_the_events_of_a_turn_together() -> None:
    talk = started()
    talk.user_says("Hello.")
    talk.agent_says("Hi!")
    item_id = spoken_item_id(SESSION_ID, 1)
    for kind in ("speech_started", "speech_stopped", "committed"):
        assert talk.one(f"input_audio_buffer.{kind}")["item_id"] == item_id
    answer = talk.one("response.output_item.added")["item"]["id"]
    assert answer == reply_item_id("turn_1") == talk.one("response.output_audio.delta")["item_id"]
    added = talk.all("conversation.item.added")
    assert [message["previous_item_id"] for message in added] == [None, item_id]
    assert len({message["event_id"] for message in talk.said}) == len(talk.said)


def test_words_are_not_told_unless_transcription_is_asked_for() -> None:
    talk = started()
    talk.user_says("Hello.")
    assert not [kind for kind in talk.kinds() if "transcription" in kind]


def test_a_response_in_writing_has_text_and_no_audio() -> None:
    talk = started()
    talk.update(output_modalities=["text"])
    talk.user_says("Hello.")
    talk.agent_says("Hi!", audio=False)
    assert talk.one("response.output_text.done")["text"] == "Hi!"
    assert talk.one("response.done")["response"]["output"][0]["content"] == [{"type": "output_text", "text": "Hi!"}]
    assert not [kind for kind in talk.kinds() if "audio.d" in kind or "audio_transcript" in kind]


def test_a_function_call_is_an_item_that_completes_after_its_arguments() -> None:
    talk = started()
    talk.update(tools=[TOOL])
    talk.user_says("What is a cat?")
    talk.agent_calls()
    talk.complete(end="tools")
    kinds = talk.kinds()
    at = kinds.index("response.function_call_arguments.done")
    assert kinds[at - 3 : at + 4] == [
        "response.output_item.added",
        "conversation.item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
    ]
    assert talk.one("response.output_item.added")["item"]["status"] == "in_progress"
    [call] = talk.one("response.done")["response"]["output"]
    assert (call["type"], call["call_id"], call["arguments"]) == ("function_call", "call_1", '{"word": "cat"}')


def test_a_model_that_writes_no_json_hands_over_an_empty_object() -> None:
    talk = started()
    talk.user_says("Hm.")
    talk.agent_calls(arguments='{"word": ')
    assert talk.one("response.function_call_arguments.done")["arguments"] == "{}"


def test_a_tools_result_and_the_next_response_reach_the_conversation() -> None:
    talk = started()
    talk.user_says("What is a cat?")
    talk.agent_calls()
    item = {"type": "function_call_output", "call_id": "call_1", "output": '{"kind": "animal"}'}
    [added] = talk.send("conversation.item.create", item=item)
    assert isinstance(added, AddItem)
    assert added.message == Message("tool", '{"kind": "animal"}', tool_call_id="call_1")
    act = talk.respond()  # while the response that called is still active: the session makes it wait
    talk.complete(end="tools")
    talk.hear(TurnStarted(act.turn_id, "", "request"))
    talk.agent_says("An animal.", act.turn_id)
    assert len(talk.all("response.done")) == 2


# --- interruptions ----------------------------------------------------------------------------------------------------


def interrupted_talk(**how: Any) -> RealtimeTalk:
    talk = started(**how)
    talk.user_says("Tell me a story.")
    talk.hear(ReplyText("turn_1", "Once upon a time."))
    if how.get("media"):
        talk.codec.begin_audio("turn_1")
    else:
        talk.hear_audio("turn_1")
    return talk


def test_an_interruption_is_told_as_speech_then_the_cancelled_response() -> None:
    talk = interrupted_talk()
    talk.hear(SpeechStartedHeard(2, 5_000), Interrupted("turn_1", 80, "Once", resumable=False))
    talk.complete(end="interrupted")
    kinds = talk.kinds()
    assert kinds.count("input_audio_buffer.speech_started") == 2
    assert kinds.index("response.done") > len(kinds) - 1 - kinds[::-1].index("input_audio_buffer.speech_started")
    done = talk.one("response.done")["response"]
    assert (done["status"], done["status_details"]["reason"]) == ("cancelled", "turn_detected")
    assert done["output"][0]["status"] == "incomplete"


def test_a_cough_over_the_answer_is_never_told() -> None:
    talk = interrupted_talk()
    before = len(talk.said)
    talk.hear(
        SpeechStartedHeard(2, 5_000),
        Interrupted("turn_1", 80, "Once", resumable=True),
        SpeechStoppedHeard(2, 5_300),
        SpeechDropped(2, 5_600),
        Resumed("turn_1", 80),
    )
    assert talk.said[before:] == []


def test_speech_that_runs_over_the_end_of_an_answer_is_told_then() -> None:
    talk = interrupted_talk()
    talk.hear(SpeechStartedHeard(2, 5_000))
    assert len(talk.all("input_audio_buffer.speech_started")) == 1
    talk.complete()
    assert talk.kinds()[-1] == "input_audio_buffer.speech_started"


def test_where_speech_does_not_interrupt_it_is_told_at_once() -> None:
    talk = started()
    talk.update(audio={"input": {"turn_detection": {"type": "server_vad", "interrupt_response": False}}})
    talk.user_says("One.")
    talk.hear_audio("turn_1")
    talk.hear(SpeechStartedHeard(2, 5_000))
    assert talk.kinds()[-1] == "input_audio_buffer.speech_started"


def test_speech_that_comes_to_nothing_is_ended_without_an_item() -> None:
    talk = started()
    talk.hear(SpeechStartedHeard(1, 500), SpeechStoppedHeard(1, 900), SpeechDropped(1, 1_200))
    assert talk.kinds()[-2:] == ["input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"]
    assert not talk.all("conversation.item.added")


def test_pauses_within_a_turn_are_one_stretch_of_speech() -> None:
    talk = started()
    talk.hear(SpeechStartedHeard(1, 100), SpeechStoppedHeard(1, 900), SpeechStartedHeard(1, 1_100))
    talk.hear(SpeechStoppedHeard(1, 2_000), TranscriptUpdated(1, "One, two.", True, 100, 2_000, "turn_1"))
    assert talk.one("input_audio_buffer.speech_started")["audio_start_ms"] == 100
    assert talk.one("input_audio_buffer.speech_stopped")["audio_end_ms"] == 2_000


def test_truncation_is_carried_out_and_confirmed() -> None:
    talk = interrupted_talk()
    talk.complete(end="interrupted")
    item_id = reply_item_id("turn_1")
    [act] = talk.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=40)
    assert act == Truncate(item_id, 40, 0)
    confirmed = talk.codec.truncated(item_id, Truncated(40, "Once"), 0)
    assert (confirmed["type"], confirmed["audio_end_ms"]) == ("conversation.item.truncated", 40)
    talk.send("conversation.item.retrieve", item_id=item_id)
    assert talk.one("conversation.item.retrieved")["item"]["content"][0]["transcript"] == "Once"


def test_over_webrtc_the_servers_own_playout_is_told_of() -> None:
    talk = interrupted_talk(media=True)
    assert not talk.all("response.output_audio.delta")
    talk.hear(SpeechStartedHeard(2, 5_000), Interrupted("turn_1", 80, "Once", resumable=False))
    assert "output_audio_buffer.cleared" in talk.kinds()
    talk.complete(end="interrupted")
    assert "output_audio_buffer.stopped" not in talk.kinds()


def test_over_webrtc_playout_begins_before_the_first_sound_and_stops_at_the_end() -> None:
    talk = started(media=True)
    talk.user_says("Hello.")
    told = [json.loads(frame)["type"] for frame in talk.codec.begin_audio("turn_1")]
    assert told[-1] == "output_audio_buffer.started"
    assert talk.codec.begin_audio("turn_1") == []
    talk.complete()
    assert talk.kinds()[-1] == "output_audio_buffer.stopped"


# --- the client directs -----------------------------------------------------------------------------------------------


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
    talk = interrupted_talk()
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
    assert added.audio == (audio,)
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
    talk = interrupted_talk()
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
    talk = interrupted_talk()
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
    talk = interrupted_talk()
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


# --- a transcription session ------------------------------------------------------------------------------------------


def test_a_transcription_session_tells_words_and_makes_no_responses() -> None:
    talk = started(transcription=True)
    assert talk.one("session.created")["session"]["type"] == "transcription"
    talk.user_says("Only write this down.", turn_id=None)
    assert talk.one("conversation.item.input_audio_transcription.completed")["transcript"] == "Only write this down."
    talk.send("response.create", event_id="mine_3")
    assert talk.error()["event_id"] == "mine_3"
    [configured] = talk.send("session.update", session={"type": "transcription", "audio": {"input": {}}})
    assert isinstance(configured, Configure)
    assert configured.settings.writes_only
    talk.send("session.update", session={"type": "transcription", "instructions": "Be brief."})
    assert talk.error()["code"] == "unknown_parameter"


# --- what was configured ----------------------------------------------------------------------------------------------


def configured(talk: RealtimeTalk, **session: Any) -> Any:
    [act] = talk.update(**session)
    assert isinstance(act, Configure), talk.said[-1]
    return act.settings


def test_a_whole_configuration_is_understood() -> None:
    made = configured(
        started(),
        model="ignored",
        instructions="Be a pirate.",
        output_modalities=["audio"],
        tools=[TOOL],
        tool_choice="required",
        max_output_tokens=100,
        tracing="auto",
        truncation={"type": "retention_ratio", "retention_ratio": 0.8},
        include=["item.input_audio_transcription.logprobs"],
        audio={
            "input": {
                "format": {"type": "audio/pcmu"},
                "noise_reduction": {"type": "near_field"},
                "transcription": {"model": "gpt-4o-transcribe", "language": "en", "prompt": "names"},
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.7,
                    "silence_duration_ms": 700,
                    "prefix_padding_ms": 200,
                    "idle_timeout_ms": 6_000,
                    "create_response": False,
                    "interrupt_response": False,
                },
            },
            "output": {"format": {"type": "audio/pcma"}, "voice": "marin", "speed": 1.2},
        },
    )
    assert made.input_format == AudioFormat(Encoding.G711_ULAW, 8_000)
    assert made.output_format == AudioFormat(Encoding.G711_ALAW, 8_000)
    assert (made.language, made.transcribes) == ("en", True)
    detection = made.detection
    assert (detection.threshold, detection.silence_ms, detection.idle_ms) == (0.7, 700, 6_000)
    assert (detection.replies, detection.interrupts) == (False, False)
    assert (made.reply.instructions, made.reply.voice, made.reply.speed) == ("Be a pirate.", "marin", 1.2)
    assert (made.reply.max_output_tokens, made.reply.tool_choice) == (100, "required")
    assert [tool.name for tool in made.reply.tools] == ["lookup"]


def test_updates_add_up_and_null_takes_back() -> None:
    talk = started()
    configured(talk, instructions="Be brief.", audio=TRANSCRIBED)
    made = configured(talk, audio={"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "low"}}})
    assert made.reply.instructions == "Be brief."
    assert made.transcribes
    assert (made.detection.kind, made.detection.eagerness) == ("semantic", "low")
    made = configured(talk, audio={"input": {"turn_detection": None, "transcription": None}})
    assert made.detection is None
    assert not made.transcribes


def test_detection_is_told_back_with_its_flags_spelled_out() -> None:
    talk = started()
    talk.update(audio={"input": {"turn_detection": {"type": "semantic_vad"}}})
    told = talk.one("session.updated")["session"]["audio"]["input"]["turn_detection"]
    assert told == {"type": "semantic_vad", "create_response": True, "interrupt_response": True}


@pytest.mark.parametrize(
    ("session", "code", "param"),
    [
        ({"colour": "red"}, "unknown_parameter", "session.colour"),
        ({"output_modalities": ["smell"]}, "invalid_value", "session.output_modalities[0]"),
        ({"instructions": 5}, "invalid_type", "session.instructions"),
        ({"audio": {"input": {"format": {"type": "audio/ogg"}}}}, "invalid_value", "session.audio.input.format"),
        (
            {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 44_100}}}},
            "invalid_value",
            "session.audio.input.format.rate",
        ),
        (
            {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 7}}}},
            "integer_above_max_value",
            "session.audio.input.turn_detection.threshold",
        ),
        ({"tools": [{"type": "function"}]}, "missing_required_parameter", "session.tools[0].name"),
        ({"tools": [TOOL, TOOL]}, "invalid_value", "session.tools"),
        ({"type": "transcription"}, "invalid_value", "session.type"),
        ({"max_output_tokens": 0}, "integer_below_min_value", "session.max_output_tokens"),
    ],
)  # fmt: skip
def test_a_bad_configuration_names_its_field_and_changes_nothing(
    session: dict[str, Any], code: str, param: str
) -> None:
    talk = started()
    before = talk.codec.state.config.rendered()
    talk.send("session.update", event_id="mine", session={"type": "realtime"} | session)
    error = talk.error()
    assert (error["code"], error["param"], error["event_id"]) == (code, param, "mine")
    assert error["type"] == "invalid_request_error"
    assert talk.codec.state.config.rendered() == before


# --- frames that cannot be taken --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", "invalid_json"),
        ("[]", "invalid_json"),
        ("{}", "missing_required_parameter"),
        ('{"type": 5}', "invalid_json"),
        ('{"type": "session.destroy"}', "invalid_value"),
        ('{"type": "input_audio_buffer.append"}', "invalid_value"),
        ('{"type": "input_audio_buffer.append", "audio": "%%%"}', "invalid_value"),
        ('{"type": "conversation.item.create"}', "missing_required_parameter"),
        ('{"type": "conversation.item.truncate", "item_id": "x", "audio_end_ms": -1}', "integer_below_min_value"),
        ('{"type": "conversation.item.delete", "item_id": "nobody"}', "item_delete_invalid_item_id"),
        ('{"type": "response.create", "response": {"conversation": "other"}}', "invalid_value"),
    ],
)
def test_a_bad_message_is_answered_and_the_next_one_counts(frame: str, code: str) -> None:
    talk = started()
    talk.send_text(frame)
    assert talk.error()["code"] == code
    assert talk.send("input_audio_buffer.commit") == [Commit()]


def test_garbage_in_a_row_ends_the_connection() -> None:
    talk = started()
    for _ in range(19):
        talk.send_text("garbage")
    with pytest.raises(RealtimeFault) as caught:
        talk.send_text("garbage")
    assert caught.value.fatal


def test_a_message_beyond_fifteen_mebibytes_ends_the_connection() -> None:
    with pytest.raises(RealtimeFault):
        started().send_text(json.dumps({"type": "session.update", "x": "y" * (15 * 1024 * 1024)}))


def test_audio_is_taken_whatever_else_the_message_holds() -> None:
    audio = base64.b64encode(b"\x01\x02").decode()
    assert started().send("input_audio_buffer.append", audio=audio, event_id="e") == [AudioIn(b"\x01\x02")]
    assert started().send_text(f'{{"event_id": "e", "audio": "{audio}", "type": "input_audio_buffer.append"}}') == [
        AudioIn(b"\x01\x02")
    ]


@settings(max_examples=300)
@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_no_text_at_all_breaks_the_codec(frame: str) -> None:
    talk = started()
    talk.send_text(frame)
    assert talk.send("input_audio_buffer.commit") == [Commit()]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
_KINDS = [
    "session.update", "conversation.item.create", "conversation.item.truncate", "response.create", "response.cancel",
    "conversation.item.retrieve", "input_audio_buffer.append",
]  # fmt: skip
_FIELD = st.sampled_from(["session", "item", "response", "item_id", "audio", "audio_end_ms", "previous_item_id"])


@settings(max_examples=300)
@given(st.sampled_from(_KINDS), st.dictionaries(_FIELD, _JSON, max_size=4))
def test_no_fields_at_all_break_the_codec(kind: str, fields: dict[str, Any]) -> None:
    talk = started()
    talk.send(kind, **fields)
    assert talk.send("input_audio_buffer.commit") == [Commit()]


# --- extras -----------------------------------------------------------------------------------------------------------


def test_what_the_protocol_has_no_word_for_goes_only_to_those_who_ask() -> None:
    caption = Caption("agent", "Hi!", 0, 400, True, "turn_1")
    assert started().hear(caption) == []
    talk = started(extras=("captions",))
    [told] = talk.hear(caption)
    assert (told["type"], told["text"], told["response_id"]) == ("convergio.caption", "Hi!", "resp_1")


def test_half_a_character_never_breaks_a_message() -> None:
    talk = started()
    talk.user_says("Hello.")
    [*_, told] = talk.hear(ReplyText("turn_1", "\ud83d"))
    assert told["delta"] == "�"
