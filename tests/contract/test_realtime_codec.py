"""The OpenAI Realtime codec: whole conversations, every message held strictly to the official SDK's own models."""

from __future__ import annotations

import json

from contract.realtime_talk import SESSION_ID, TOOL, TRANSCRIBED, speaking, started

from agents.core.item_ids import reply_item_id, spoken_item_id
from agents.core.spoken_items import Truncated
from agents.events import (
    Interrupted,
    Resumed,
    SpeechDropped,
    SpeechStartedHeard,
    SpeechStoppedHeard,
    TranscriptUpdated,
    TurnStarted,
)
from agents.models.port import Message
from server.wire.realtime.acts import AddItem, Configure, Truncate

# --- a conversation --------------------------------------------------------------------------------------------------


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


def test_a_correction_completes_the_transcription_again_and_brings_back_no_item() -> None:
    talk = started()
    talk.update(audio=TRANSCRIBED)
    talk.user_says("Turn on the light.")
    better = TranscriptUpdated(1, "Turn off the light.", True, 0, 1_500, "turn_1", corrected=True)
    [told] = talk.hear(better)
    assert told["type"] == "conversation.item.input_audio_transcription.completed"
    assert told["item_id"] == spoken_item_id(SESSION_ID, 1)
    assert told["transcript"] == "Turn off the light."
    assert told["usage"]["seconds"] == 0, "what was heard is paid once"
    talk.send("conversation.item.delete", item_id=told["item_id"])
    assert talk.hear(better) == []


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


# --- interruptions ---------------------------------------------------------------------------------------------------


def test_an_interruption_is_told_as_speech_then_the_cancelled_response() -> None:
    talk = speaking()
    talk.hear(SpeechStartedHeard(2, 5_000), Interrupted("turn_1", 80, "Once", resumable=False))
    talk.complete(end="interrupted")
    kinds = talk.kinds()
    assert kinds.count("input_audio_buffer.speech_started") == 2
    assert kinds.index("response.done") > len(kinds) - 1 - kinds[::-1].index("input_audio_buffer.speech_started")
    done = talk.one("response.done")["response"]
    assert (done["status"], done["status_details"]["reason"]) == ("cancelled", "turn_detected")
    assert done["output"][0]["status"] == "incomplete"


def test_a_cough_over_the_answer_is_never_told() -> None:
    talk = speaking()
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
    talk = speaking()
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
    talk = speaking()
    talk.complete(end="interrupted")
    item_id = reply_item_id("turn_1")
    [act] = talk.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=40)
    assert act == Truncate(item_id, 40, 0)
    confirmed = talk.codec.truncated(item_id, Truncated(40, "Once"), 0)
    assert (confirmed["type"], confirmed["audio_end_ms"]) == ("conversation.item.truncated", 40)
    talk.send("conversation.item.retrieve", item_id=item_id)
    assert talk.one("conversation.item.retrieved")["item"]["content"][0]["transcript"] == "Once"


def test_over_webrtc_the_servers_own_playout_is_told_of() -> None:
    talk = speaking(media=True)
    assert not talk.all("response.output_audio.delta")
    talk.hear(SpeechStartedHeard(2, 5_000), Interrupted("turn_1", 80, "Once", resumable=False))
    assert "output_audio_buffer.cleared" in talk.kinds()
    assert talk.one("conversation.item.truncated")["audio_end_ms"] == 80
    talk.complete(end="interrupted")
    assert "output_audio_buffer.stopped" not in talk.kinds()
    assert talk.one("response.done")["response"]["output"][0]["content"][0]["transcript"] == "Once"


def test_over_webrtc_playout_begins_before_the_first_sound_and_stops_at_the_end() -> None:
    talk = started(media=True)
    talk.user_says("Hello.")
    told = [json.loads(frame)["type"] for frame in talk.codec.begin_audio("turn_1")]
    assert told[-1] == "output_audio_buffer.started"
    assert talk.codec.begin_audio("turn_1") == []
    talk.complete()
    assert talk.kinds()[-1] == "output_audio_buffer.stopped"


# --- a transcription session -----------------------------------------------------------------------------------------


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
