"""How a realtime session is configured, and messages that cannot be taken."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from contract.realtime_talk import TOOL, TRANSCRIBED, RealtimeTalk, started
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.events import (
    Caption,
    ReplyText,
)
from audio.formats import AudioFormat, Encoding
from server.wire.client_events import AudioIn, Commit
from server.wire.realtime.acts import Configure
from server.wire.realtime.faults import RealtimeFault

# --- what was configured ---------------------------------------------------------------------------------------------


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


def test_a_pace_beyond_the_voices_is_told_as_it_is_spoken() -> None:
    talk = started()
    talk.update(audio={"output": {"speed": 0.25}})
    assert talk.one("session.updated")["session"]["audio"]["output"]["speed"] == 0.5


@pytest.mark.parametrize("audio", [None, {"input": None}, {"output": None}, {}, {"input": {}}])
def test_null_for_a_whole_direction_changes_nothing_in_it(audio: Any) -> None:
    talk = started()
    before = talk.codec.state.config.rendered()
    talk.update(audio=audio)
    assert talk.one("session.updated")["session"] == before


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
        ({"output_modalities": ["audio", "text"]}, "invalid_value", "session.output_modalities"),
        ({"truncation": "bogus"}, "invalid_value", "session.truncation"),
        ({"tracing": 5}, "invalid_value", "session.tracing"),
        ({"include": ["zzz"]}, "invalid_value", "session.include[0]"),
        ({"reasoning": "x"}, "invalid_type", "session.reasoning"),
        ({"max_output_tokens": 5_000}, "integer_above_max_value", "session.max_output_tokens"),
        ({"audio": 5}, "invalid_type", "session.audio"),
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
        ({"tool_choice": {"type": "function", "name": "nobody"}}, "invalid_value", "session.tool_choice"),
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


# --- frames that cannot be taken -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", "invalid_json"),
        ("[]", "invalid_json"),
        ("{}", "missing_required_parameter"),
        ('{"type": 5}', "invalid_json"),
        ('{"type": "session.destroy"}', "invalid_value"),
        ('{"type": "input_audio_buffer.append"}', "missing_required_parameter"),
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


def test_refusals_of_what_could_be_read_are_no_garbage() -> None:
    talk = started()
    for _ in range(50):
        talk.send("response.cancel")
    assert talk.send("input_audio_buffer.commit") == [Commit()]


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


# --- extras ----------------------------------------------------------------------------------------------------------


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
