"""The validator of OpenAI Realtime events refuses what the official SDK would let through."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from contract.openai_realtime_models import (
    event_models,
    validate,
    validate_client_secret,
    validate_item,
    validate_response,
    validate_session,
)

SESSION: dict[str, Any] = {
    "type": "realtime",
    "object": "realtime.session",
    "id": "sess_1",
    "model": "convergio",
    "output_modalities": ["audio"],
    "instructions": "Be brief.",
    "tools": [{"type": "function", "name": "light", "description": "", "parameters": {"type": "object"}}],
    "tool_choice": "auto",
    "max_output_tokens": "inf",
    "tracing": None,
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24_000},
            "transcription": {"model": "whisper-1"},
            "noise_reduction": None,
            "turn_detection": {"type": "server_vad", "threshold": 0.5, "silence_duration_ms": 500},
        },
        "output": {"format": {"type": "audio/pcmu"}, "voice": "joe", "speed": 1},
    },
}
USAGE = {"type": "duration", "seconds": 1.5}
MESSAGE = {
    "id": "item_1",
    "object": "realtime.item",
    "type": "message",
    "status": "completed",
    "role": "assistant",
    "content": [{"type": "output_audio", "transcript": "Hello."}],
}
RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "realtime.response",
    "status": "cancelled",
    "status_details": {"type": "cancelled", "reason": "turn_detected"},
    "output": [MESSAGE],
    "usage": {"total_tokens": 3, "input_tokens": 1, "output_tokens": 2, "input_token_details": {"audio_tokens": 1}},
}
GOOD: tuple[dict[str, Any], ...] = (
    {"type": "session.created", "event_id": "event_1", "session": SESSION},
    {"type": "session.updated", "event_id": "event_2", "session": {"type": "realtime"}},
    {"type": "session.updated", "event_id": "event_2", "session": {"type": "transcription"}},
    {"type": "input_audio_buffer.speech_started", "event_id": "e", "item_id": "i", "audio_start_ms": 20},
    {"type": "response.output_audio.delta", "event_id": "e", "item_id": "i", "response_id": "r", "delta": "AAA="}
    | {"output_index": 0, "content_index": 0},
    {"type": "conversation.item.input_audio_transcription.completed", "event_id": "e", "item_id": "i"}
    | {"content_index": 0, "transcript": "Hello.", "usage": USAGE},
    {"type": "conversation.item.added", "event_id": "e", "previous_item_id": None, "item": MESSAGE},
    {"type": "response.done", "event_id": "e", "response": RESPONSE},
    {"type": "rate_limits.updated", "event_id": "e", "rate_limits": [{"name": "tokens", "reset_seconds": 1}]},
    {"type": "error", "event_id": "e", "error": {"type": "invalid_request_error", "message": "No.", "code": None}},
)
SPEECH_STARTED, AUDIO_DELTA, DONE = GOOD[3], GOOD[4], GOOD[7]


def changed(event: dict[str, Any], *path: str | int, to: Any) -> dict[str, Any]:
    """A copy with one value replaced, or with one more."""
    copied = copy.deepcopy(event)
    inside: Any = copied
    for step in path[:-1]:
        inside = inside[step]
    inside[path[-1]] = to
    return copied


def without(event: dict[str, Any], name: str) -> dict[str, Any]:
    return {field: value for field, value in event.items() if field != name}


@pytest.mark.parametrize("event", GOOD, ids=lambda event: event["type"])
def test_an_event_as_the_service_sends_it_is_valid(event: dict[str, Any]) -> None:
    validate(event)


def test_every_event_of_the_protocol_is_known() -> None:
    assert len(event_models()) >= 46
    assert {event["type"] for event in GOOD} <= event_models().keys()


@pytest.mark.parametrize("field", ["event_id", "item_id", "audio_start_ms"])
def test_a_missing_field_is_named(field: str) -> None:
    with pytest.raises(AssertionError, match=rf"{field} is missing"):
        validate(without(SPEECH_STARTED, field))


def test_a_missing_field_deep_inside_is_named_with_its_path() -> None:
    tool_call = {"type": "function_call", "name": "light"}
    with pytest.raises(AssertionError, match=r"response\.output\[1\]\.arguments is missing"):
        validate(changed(DONE, "response", "output", to=[MESSAGE, tool_call]))


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("turn_id",), "t", "turn_id is not declared by ResponseDoneEvent"),
        (("response", "ms"), 1, r"response\.ms is not declared"),
        (("response", "output", 0, "text"), "", r"response\.output\[0\]\.text is not declared"),
        (
            ("response", "usage", "input_token_details", "words"),
            1,
            r"input_token_details\.words is not declared",
        ),
    ],
)
def test_a_field_nobody_declared_is_named(path: tuple[str | int, ...], value: Any, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        validate(changed(DONE, *path, to=value))


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("response", "status"), "canceled", r"response\.status is 'canceled'"),
        (("response", "object"), "response", r"response\.object is 'response'"),
        (("response", "output", 0, "role"), "agent", r"response\.output\[0\]"),
        (("response", "output", 0, "content", 0, "type"), "audio", r"content\[0\]\.type is 'audio'"),
        (("response", "status_details", "reason"), "barge_in", r"status_details\.reason is 'barge_in'"),
    ],
)
def test_a_wrong_literal_is_named(path: tuple[str | int, ...], value: Any, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        validate(changed(DONE, *path, to=value))


@pytest.mark.parametrize(
    ("field", "value"),
    [("output_index", "0"), ("output_index", 0.0), ("output_index", True), ("delta", 7), ("delta", None)],
)
def test_nothing_is_coerced(field: str, value: Any) -> None:
    with pytest.raises(AssertionError, match=rf"{field} is "):
        validate(changed(AUDIO_DELTA, field, to=value))


def test_an_object_where_a_list_belongs_is_wrong() -> None:
    with pytest.raises(AssertionError, match=r"response\.output is \{\}"):
        validate(changed(DONE, "response", "output", to={}))


def test_an_unknown_event_type_is_refused_with_what_was_probably_meant() -> None:
    with pytest.raises(AssertionError, match=r"did you mean .*response\.output_audio\.delta"):
        validate(changed(AUDIO_DELTA, "type", to="response.output_audio_delta"))
    with pytest.raises(AssertionError, match="no event type"):
        validate({"event_id": "e"})


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("convergio",), True, r"convergio is not declared"),
        (("audio", "input", "format", "rate"), 16_000, r"audio\.input\.format\.rate is 16000"),
        (("audio", "input", "turn_detection", "type"), "azure_semantic_vad", r"audio\.input\.turn_detection is "),
        (("audio", "output", "language"), "en", r"audio\.output\.language is not declared"),
    ],
)
def test_a_session_is_held_to_its_own_declaration(path: tuple[str, ...], value: Any, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        validate(GOOD[0] | {"session": changed(SESSION, *path, to=value)})


def test_parts_can_be_validated_by_themselves() -> None:
    validate_session(SESSION)
    validate_item(MESSAGE)
    validate_response(RESPONSE)
    validate_client_secret({"value": "ek_1", "expires_at": 1, "session": SESSION})
    with pytest.raises(AssertionError, match="expires_at is '1'"):
        validate_client_secret({"value": "ek_1", "expires_at": "1", "session": SESSION})
