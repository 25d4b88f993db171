"""The validator of Voice Live events refuses what the official SDK would let through."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("azure.ai.voicelive", reason="needs azure-ai-voicelive, the official Voice Live client")

from contract.voicelive_models import event_models, validate

SESSION: dict[str, Any] = {
    "id": "sess_1",
    "model": "convergio",
    "modalities": ["text", "audio"],
    "voice": {"type": "azure-standard", "name": "en-US-AvaNeural"},
    "input_audio_format": "pcm16",
    "input_audio_sampling_rate": 24_000,
    "turn_detection": {"type": "azure_semantic_vad", "threshold": 0.5, "silence_duration_ms": 500},
    "input_audio_transcription": {"model": "azure-speech", "language": "en"},
    "tools": [{"type": "function", "name": "light", "parameters": {"type": "object"}}],
    "tool_choice": "auto",
    "max_response_output_tokens": "inf",
    "expires_at": 1_800_000_000,
}
MESSAGE = {
    "id": "item_1",
    "object": "realtime.item",
    "type": "message",
    "status": "completed",
    "role": "assistant",
    "content": [{"type": "audio", "transcript": "Hello."}],
}
TOKENS = {"text_tokens": 1, "audio_tokens": 1}
INPUT = TOKENS | {"image_tokens": 0}
USAGE = {"total_tokens": 4, "input_tokens": 2, "output_tokens": 2, "output_token_details": TOKENS} | {
    "input_token_details": INPUT | {"cached_tokens": 0, "cached_tokens_details": INPUT}
}
DONE: dict[str, Any] = {
    "type": "response.done",
    "event_id": "e",
    "response": {"id": "r", "object": "realtime.response", "status": "completed", "output": [MESSAGE], "usage": USAGE},
}
DELTA = {"type": "response.audio.delta", "event_id": "e", "item_id": "i", "response_id": "r", "delta": "AAA="} | {
    "output_index": 0,
    "content_index": 0,
}
GOOD: tuple[dict[str, Any], ...] = (
    {"type": "session.created", "event_id": "e", "session": SESSION},
    {"type": "session.updated", "event_id": "e", "session": SESSION | {"voice": "alloy", "turn_detection": None}},
    {"type": "conversation.item.created", "event_id": "e", "item": MESSAGE},
    DELTA,
    DONE,
    {"type": "error", "event_id": "e", "error": {"type": "invalid_request_error", "message": "No."}},
)


@pytest.mark.parametrize("event", GOOD, ids=lambda event: event["type"])
def test_an_event_as_the_service_sends_it_is_valid(event: dict[str, Any]) -> None:
    validate(event)


def test_every_event_of_the_protocol_is_known() -> None:
    assert len(event_models()) >= 56


def test_every_event_of_the_protocol_can_be_walked() -> None:
    for kind in event_models():
        with pytest.raises(AssertionError, match=r"not_in_any_protocol is not declared"):
            validate({"type": kind, "not_in_any_protocol": 1})


@pytest.mark.parametrize("field", ["delta", "item_id", "content_index"])
def test_a_missing_field_is_named(field: str) -> None:
    with pytest.raises(AssertionError, match=rf"{field} is missing"):
        validate({name: value for name, value in DELTA.items() if name != field})


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"turn_id": "t"}, "turn_id is not declared"),
        ({"output_index": "0"}, "output_index is '0', not int"),
        ({"content_index": True}, "content_index is True"),
        ({"type": "response.output_audio.delta"}, r"no event type of Azure Voice Live; did you mean .*audio\.delta"),
    ],
)
def test_a_field_too_many_a_wrong_type_and_an_unknown_event_are_named(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        validate(DELTA | changes)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"status": "canceled"}, r"response\.status is 'canceled'"),
        ({"output": [MESSAGE | {"role": "agent"}]}, r"response\.output\[0\]\.role is 'agent'"),
        ({"output": [MESSAGE | {"type": "msg"}]}, r"response\.output\[0\] is "),
        ({"output": [MESSAGE | {"content": [{"type": "output_audio"}]}]}, r"output\[0\]\.content\[0\] is "),
        ({"usage": {"total_tokens": 4}}, r"response\.usage\.input_tokens is missing"),
    ],
)
def test_a_wrong_literal_and_a_gap_deep_inside_are_named_with_their_path(
    changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(AssertionError, match=complaint):
        validate(DONE | {"response": DONE["response"] | changes})


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"type": "realtime"}, r"session\.type is not declared"),
        ({"expires_at": "2030-01-01T00:00:00Z"}, r"session\.expires_at is '2030"),
        ({"input_audio_format": "pcm"}, r"session\.input_audio_format is 'pcm'"),
        ({"turn_detection": {"type": "semantic_vad"}}, r"session\.turn_detection is "),
        ({"voice": {"type": "azure-standard"}}, r"session\.voice\.name is missing"),
    ],
)
def test_a_session_is_held_to_its_own_declaration(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        validate({"type": "session.created", "event_id": "e", "session": SESSION | changes})
