from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from usage_events import events, numbered

from metering.codec import FIELDS, from_dict, from_json, to_dict, to_json
from metering.errors import InvalidUsageEvent
from metering.identity import as_abandoned, as_correction, event_id
from metering.usage import StageProvider, UsageEvent

CONTRACT_FIELDS = {
    "event_id", "request_id", "tenant_id", "user_id", "session_id", "agent_id", "mode", "started_at", "ended_at",
    "audio_ms_in", "audio_ms_out", "audio_ms_synthesized", "tts_characters", "input_tokens", "cached_input_tokens",
    "output_tokens", "tool_calls", "latency_ms", "interrupted", "success", "error_code", "estimated",
}  # fmt: skip


@given(events())
def test_every_event_survives_the_round_trip_through_json(event: UsageEvent) -> None:
    assert from_json(to_json(event)) == event


@given(events())
def test_json_is_one_line_whatever_the_event_holds(event: UsageEvent) -> None:
    assert b"\n" not in to_json(event)


def test_the_dict_has_the_contracts_field_names() -> None:
    assert set(to_dict(numbered(1))) >= CONTRACT_FIELDS
    assert list(to_dict(numbered(1))) == list(FIELDS)
    assert to_dict(numbered(1))["providers"]["stt"] == {"provider": "whisper", "model": "base.en"}


def test_absent_optional_fields_take_their_defaults() -> None:
    plain = {k: v for k, v in to_dict(numbered(1)).items() if k not in ("speculative_tokens", "corrects", "providers")}
    assert from_dict(plain) == replace(numbered(1), providers={})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("request_id", ""),
        ("request_id", "x" * 257),
        ("user_id", None),
        ("agent_id", "half \ud800 pair"),
        ("mode", "free"),
        ("audio_ms_in", -1),
        ("audio_ms_in", 1.0),
        ("audio_ms_in", True),
        ("audio_ms_in", 2**53),
        ("started_at", 253_402_300_800_000),
        ("success", 1),
        ("breaches", {"stt": 1}),
        ("breaches", ["stt"]),
        ("overtaken_tokens", -1),
        ("overtaken_tokens", 2),
        ("latency_ms", {"stt": 1.5}),
        ("latency_ms", [1]),
        ("providers", {"stt": "whisper"}),
        ("providers", {"stt": {"provider": "whisper", "model": "base", "region": "west"}}),
        ("error_code", ""),
        ("event_id", "evt_of_somebody_else"),
        ("corrects", "evt_that_does_not_match_the_id"),
    ],
)
def test_a_value_out_of_range_is_refused(field: str, value: Any) -> None:
    plain = to_dict(numbered(1)) | {field: value}
    with pytest.raises(InvalidUsageEvent):
        from_dict(plain)


@pytest.mark.parametrize("field", ["event_id", "tenant_id", "started_at"])
def test_a_missing_required_field_is_refused_by_name(field: str) -> None:
    plain = to_dict(numbered(1))
    del plain[field]
    with pytest.raises(InvalidUsageEvent) as caught:
        from_dict(plain)
    assert caught.value.field == field


def test_an_unknown_field_is_refused_rather_than_dropped() -> None:
    with pytest.raises(InvalidUsageEvent) as caught:
        from_dict(to_dict(numbered(1)) | {"thinking_tokens": 3})
    assert caught.value.field == "thinking_tokens"


@given(
    st.binary()
    | st.text().map(str.encode)
    | st.recursive(st.none() | st.integers(), st.lists).map(json.dumps).map(str.encode)
)
def test_garbage_is_refused_and_nothing_else_happens(garbage: bytes) -> None:
    with pytest.raises(InvalidUsageEvent):
        from_json(garbage)


@given(st.dictionaries(st.sampled_from(FIELDS), st.none() | st.integers() | st.text() | st.lists(st.integers())))
def test_any_wrong_fields_are_refused_as_invalid_and_not_as_something_else(plain: dict[str, Any]) -> None:
    with pytest.raises(InvalidUsageEvent):
        from_dict(to_dict(numbered(1)) | plain | {"tenant_id": ""})


def test_the_id_depends_on_tenant_request_and_corrected_event_and_on_nothing_else() -> None:
    triples = [("a", "b", None), ("ab", "", None), ("", "ab", None), ("a", "b", "c"), ("a", "bc", None)]
    assert len({event_id(*triple) for triple in triples}) == len(triples)
    assert replace(numbered(1), audio_ms_in=5).event_id == event_id("tenant_a", "req_000001")


def test_the_id_never_changes_between_versions() -> None:
    assert event_id("tenant", "request") == "evt_7c6bcea26c84a7a3949998f57515ffaf"


def test_a_correction_keeps_who_and_when_and_names_what_it_replaces() -> None:
    original = numbered(4)
    restated = replace(numbered(9), audio_ms_in=77, providers={"stt": StageProvider("azure", "default")})
    correction = as_correction(original, restated)
    assert correction.corrects == original.event_id
    assert correction.event_id != original.event_id
    assert (correction.request_id, correction.session_id, correction.started_at) == (
        original.request_id,
        original.session_id,
        original.started_at,
    )
    assert correction.audio_ms_in == 77
    assert from_json(to_json(correction)) == correction


def test_correcting_a_correction_is_a_further_event() -> None:
    first = as_correction(numbered(4), numbered(4))
    second = as_correction(first, first)
    assert second.corrects == first.event_id
    assert len({numbered(4).event_id, first.event_id, second.event_id}) == 3


def test_an_abandoned_turn_is_failed_interrupted_and_estimated() -> None:
    event = as_abandoned(numbered(3))
    assert (event.success, event.error_code, event.estimated, event.interrupted) == (False, "internal", True, True)
    assert event.event_id == numbered(3).event_id
