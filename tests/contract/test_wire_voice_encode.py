"""What the voice codec makes of server events, held against the published models."""

from __future__ import annotations

import base64
import json
from types import MappingProxyType
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_events import JSON_EVENTS, events_of, whole

from agents import events
from server.contracts.errors import ErrorCode
from server.contracts.voice import SERVER_MESSAGE, SERVER_MESSAGES, type_of
from server.wire.values import EncodedAudio
from server.wire.voice_json import Frame, VoiceCodec

NOW_MS = 1_767_225_600_000
NOT_AGENT_EVENTS = {"voice.audio", "session.resumed", "budget.warning"}


def started(*, binary: bool = False) -> VoiceCodec:
    codec = VoiceCodec("req_1")
    codec.feed(json.dumps({"type": "voice.start", "request_id": "start-1", "binary": binary}))
    return codec


def said(frame: Frame) -> dict[str, Any]:
    assert isinstance(frame, str)
    SERVER_MESSAGE.validate_json(frame)
    return json.loads(frame)


def test_every_server_event_but_audio_travels_as_json() -> None:
    directed = get_args(events.DirectedEvent)
    assert {*JSON_EVENTS, events.AudioOut, *directed} == set(get_args(events.ServerEvent))


@pytest.mark.parametrize("kind", JSON_EVENTS, ids=lambda kind: kind.__name__)
@given(data=st.data(), event_id=st.integers(1, 2**53 - 1), timestamp_ms=whole)
def test_every_event_is_a_message_of_the_contract(kind: type, data: Any, event_id: int, timestamp_ms: int) -> None:
    event = data.draw(events_of(kind))

    message = said(started().encode(event, event_id, timestamp_ms))

    assert message["event_id"] == event_id
    assert message["timestamp_ms"] == timestamp_ms
    assert message["request_id"] == (getattr(event, "turn_id", None) or "start-1")


def test_every_message_of_the_contract_comes_from_an_event() -> None:
    codec = started()
    encoded = set()
    for event in EXAMPLES:
        encoded.add(said(codec.encode(event, 1, NOW_MS))["type"])

    assert encoded == {type_of(model) for model in SERVER_MESSAGES} - NOT_AGENT_EVENTS


EXAMPLES: tuple[Any, ...] = (
    events.SessionStarted("s1", "assistant", {"stt": "whisper"}),
    events.SessionDraining(30_000),
    events.SpeechStartedHeard(1, 640),
    events.SpeechStoppedHeard(1, 1_920),
    events.TranscriptUpdated(1, "go", False, 640, 1_400),
    events.TranscriptUpdated(1, "Go.", True, 640, 1_920, "t1", "en", 0.5),
    events.TurnStarted("t1", "Go.", "speech"),
    events.ReplyText("t1", "Going."),
    events.VisemesOut("t1", (events.MouthShape(19, 0), events.MouthShape(6, 85))),
    events.AudioOutEnded("t1", 1_840),
    events.Caption("agent", "Going.", 0, 500, True, "t1"),
    events.Interrupted("t1", 760, "Going", True),
    events.Resumed("t1", 760),
    events.ToolCalled("t1", "c1", "move", "{}"),
    events.ContentFiltered("t1", "prompt"),
    events.ToolReturned("t1", "c1", "move", "ok", False),
    events.TurnLatency("t1", (events.StageLatency("total", 0.0, 512.7, "whisper"),)),
    events.Degraded("silero", "push_to_talk", "It failed."),
    events.TurnCompleted("t1", "Going.", False, events.TurnUsage(1, 2, 3, 1_580, 1_841)),
    events.AudioQuality("clipping", "Too loud.", {"peak_dbfs": -0.1}),
    events.Failed("internal", "Oh.", True, "t1", {"a": 1}),
)


def test_the_session_starts_with_what_was_negotiated() -> None:
    codec = VoiceCodec("req_1")
    codec.feed('{"type":"voice.start","codec":"g711_ulaw","output":{"codec":"opus"},"binary":true}')

    message = said(codec.encode(events.SessionStarted("s1", "assistant", {}), 1, NOW_MS))

    assert message["request_id"] == "req_1"
    assert message["input"] == {"codec": "g711_ulaw", "sample_rate": 8_000}
    assert message["output"] == {"codec": "opus", "sample_rate": 48_000}
    assert message["binary"] is True


def test_a_chat_session_starts_without_audio_formats() -> None:
    message = said(VoiceCodec("req_1", voice=False).encode(events.SessionStarted("s1", "assistant", {}), 1, NOW_MS))

    assert "input" not in message
    assert "output" not in message


def test_usage_is_told_in_seconds_of_three_decimals() -> None:
    event = events.TurnCompleted("t1", "", True, events.TurnUsage(1, 2, 3, 1_580, 1_841))

    usage = said(started().encode(event, 1, NOW_MS))["usage"]

    assert usage == {"in_tokens": 1, "out_tokens": 2, "tool_calls": 3, "audio_in_s": 1.58, "audio_out_s": 1.841}


def test_fields_without_a_value_are_left_out() -> None:
    message = said(started().encode(events.TranscriptUpdated(1, "go", False, 0, 20), 1, NOW_MS))

    assert {"language", "confidence"}.isdisjoint(message)


def test_an_unpublished_error_code_becomes_internal() -> None:
    assert said(started().encode(events.Failed("tts.exploded", "Oh.", False), 1, NOW_MS))["code"] == "internal"


@pytest.mark.parametrize("code", ErrorCode)
def test_every_published_error_code_is_told(code: ErrorCode) -> None:
    assert said(started().encode(events.Failed(code.value, "Oh.", False), 1, NOW_MS))["code"] == code.value


def test_a_measure_json_cannot_say_is_left_out() -> None:
    event = events.AudioQuality("silence", "Nothing.", {"rms_dbfs": float("-inf"), "seconds": 5.0})

    assert said(started().encode(event, 1, NOW_MS))["measures"] == {"seconds": 5.0}


def test_half_of_a_surrogate_pair_becomes_a_replacement_character() -> None:
    assert said(started().encode(events.ReplyText("t1", "a\ud83d"), 1, NOW_MS))["text"] == "a\ufffd"


def test_details_of_any_kind_are_told() -> None:
    details = MappingProxyType({"inner": MappingProxyType({"x": 1}), "set": {1}, "code": ErrorCode.INTERNAL, "o": 1j})

    message = said(started().encode(events.Failed("internal", "Oh.", False, None, details), 1, NOW_MS))

    assert message["details"] == {"inner": {"x": 1}, "set": [1], "code": "internal", "o": "1j"}


# --- audio -------------------------------------------------------------------------------------------------------


@given(payload=st.binary(max_size=300), start_ms=whole, audio_ms=whole)
def test_audio_travels_whole_as_base64(payload: bytes, start_ms: int, audio_ms: int) -> None:
    (frame,) = started().encode_audio(EncodedAudio("t1", payload, start_ms, audio_ms), 9, NOW_MS)

    message = said(frame)
    assert message["type"] == "voice.audio"
    assert message["request_id"] == "t1"
    assert base64.b64decode(message["bytes_base64"], validate=True) == payload
    assert (message["start_ms"], message["audio_ms"], message["event_id"]) == (start_ms, audio_ms, 9)


def test_binary_audio_is_announced_once_and_then_travels_bare() -> None:
    codec = started(binary=True)

    announcement, first = codec.encode_audio(EncodedAudio("t1", b"ab", 0, 20), 5, NOW_MS)
    rest = [codec.encode_audio(EncodedAudio("t1", b"cd", at, 20), 7, NOW_MS) for at in (20, 40, 60)]

    assert said(announcement) == {
        "type": "voice.audio",
        "event_id": 5,
        "request_id": "t1",
        "timestamp_ms": NOW_MS,
        "audio_ms": 0,
        "start_ms": 0,
    }
    assert first == b"ab"
    assert rest == [(b"cd",)] * 3


@pytest.mark.parametrize(
    ("follows", "frames"),
    [
        (EncodedAudio("t1", b"x", 20, 20), 1),
        (EncodedAudio("t1", b"x", 21, 20), 1),  # whole milliseconds of 22050 Hz stretches are off by one at most
        (EncodedAudio("t1", b"x", 0, 20), 2),
        (EncodedAudio("t1", b"x", 60, 20), 2),
        (EncodedAudio("t2", b"x", 20, 20), 2),
    ],
)
def test_binary_audio_is_announced_again_where_turn_or_position_jumps(follows: EncodedAudio, frames: int) -> None:
    codec = started(binary=True)
    codec.encode_audio(EncodedAudio("t1", b"ab", 0, 20), 1, NOW_MS)

    assert len(codec.encode_audio(follows, 3, NOW_MS)) == frames


def test_a_resumed_session_says_where_it_goes_on_and_announces_binary_audio_afresh() -> None:
    codec = started(binary=True)
    codec.encode_audio(EncodedAudio("t1", b"ab", 0, 20), 1, NOW_MS)

    message = said(codec.encode_resumed("s1", 2, 43, NOW_MS))

    assert (message["event_id"], message["missed_events"], message["session_id"]) == (43, 2, "s1")
    assert len(codec.encode_audio(EncodedAudio("t1", b"cd", 20, 20), 44, NOW_MS)) == 2
