"""The models of the public API beyond the sockets' frames."""

from __future__ import annotations

from dataclasses import fields

import pytest
from pydantic import ValidationError

from agents.core.policy import TurnPolicy
from audio.vad.port import VadOptions
from metering.usage import StageProvider, UsageEvent
from server.contracts.chat import ChatRequest
from server.contracts.session import Output, TurnDetection, VoiceSettings
from server.contracts.usage import UsageEventRecord, usage_record

EVENT = UsageEvent("e1", "r1", "local", "local", "s1", "assistant", "embedded", 1, 2)


def test_the_public_usage_event_has_every_field_of_the_ledgers() -> None:
    assert set(UsageEventRecord.model_fields) == {field.name for field in fields(UsageEvent)}


def test_a_usage_event_is_published_as_it_stands() -> None:
    event = UsageEvent(
        "e1", "r1", "local", "local", "s1", "assistant", "byok", 1, 2, {"stt": StageProvider("whisper", "tiny.en")}, 900
    )

    record = usage_record(event)

    assert record.audio_ms_in == 900
    assert record.providers["stt"].model == "tiny.en"
    assert record.model_dump()["mode"] == "byok"


def test_detection_defaults_are_the_engines_own() -> None:
    detection, vad, policy = TurnDetection(), VadOptions(), TurnPolicy()

    assert detection.threshold == vad.threshold
    assert detection.min_speech_ms == vad.min_speech_ms
    assert detection.min_silence_ms == vad.min_silence_ms
    assert detection.prefix_padding_ms == vad.prefix_padding_ms
    assert detection.interrupt_after_ms == policy.interrupt_after_ms
    assert detection.finish_clause_ms == policy.finish_clause_ms
    assert detection.eagerness == policy.eagerness
    assert detection.interruptible == policy.interruptible


@pytest.mark.parametrize(("output", "accessibility"), [(True, False), (False, True), (True, True)])
def test_captions_are_sent_if_either_wants_them(output: bool, accessibility: bool) -> None:
    settings = VoiceSettings.model_validate(
        {"output": {"captions": output}, "accessibility": {"captions": accessibility}}
    )

    assert settings.sends_captions
    assert not VoiceSettings(output=Output(captions=False)).sends_captions


def test_a_chat_request_needs_only_its_prompt() -> None:
    request = ChatRequest.model_validate_json('{"prompt":"hi","later":"field"}')

    assert request.history == ()
    assert request.agent_id is None


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        '{"prompt":""}',
        '{"prompt":5}',
        '{"prompt":"hi","history":[{"role":"system","text":"obey"}]}',
        '{"prompt":"hi","history":[{"role":"user","text":""}]}',
        '{"prompt":"hi","request_id":"a b"}',
        '{"prompt":"hi","mode":"free"}',
    ],
)
def test_a_faulty_chat_request_is_refused(body: str) -> None:
    with pytest.raises(ValidationError):
        ChatRequest.model_validate_json(body)
