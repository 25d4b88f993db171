"""Usage events as plain dicts and JSON, checked in both directions. Pure.

Field names are CONTRACT section 5's and never change inside ``/v1``; the journal, the export and the API all use
them. A field this version does not know is refused rather than dropped: a fact is kept whole or not at all. Absent
optional fields take their defaults, so older journals stay readable.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from operator import attrgetter
from typing import Any, cast, get_args

import msgspec

from metering.errors import InvalidUsageEvent
from metering.identity import event_id
from metering.usage import Mode, ProviderShare, StageProvider, UsageEvent

COUNT_FIELDS = (
    "audio_ms_in",
    "audio_ms_out",
    "audio_ms_synthesized",
    "tts_characters",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "speculative_tokens",
    "tool_calls",
    "audio_ms_received",
    "audio_ms_speech",
    "audio_ms_sent",
    "reasoning_tokens",
    "tool_ms",
    "call_ms",
)
"""The quantities that are summed by day, in the order they are listed everywhere."""

PART_FIELDS = ("overtaken_tokens", "audio_ticks_received", "audio_ticks_sent")
"""Quantities that are part of others, or the same more finely, and in no sum: there they would be counted twice."""

JSON_FIELDS = ("providers", "latency_ms", "shares", "latency_start_ms", "breaches")
SHARED_FIELDS = {
    "stt": ("audio_ms_in",),
    "agent": ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens"),
    "tts": ("audio_ms_synthesized", "tts_characters"),
}
"""The quantities that are told by provider, by stage."""

FLAG_FIELDS = ("interrupted", "success", "estimated")
TIME_FIELDS = ("started_at", "ended_at")
ID_FIELDS = ("event_id", "request_id", "tenant_id", "user_id", "session_id", "agent_id")
OPTIONAL_TEXTS = ("error_code", "corrects", "transport")
FIELDS = tuple(f.name for f in fields(UsageEvent))

MAX_TEXT_CHARACTERS = 256
MAX_COUNT = 2**53 - 1  # what JSON readers everywhere take exactly (RFC 8259 section 6)
MAX_EPOCH_MS = 253_402_300_799_999  # the last millisecond of the year 9999

_REQUIRED = frozenset(f.name for f in fields(UsageEvent) if f.default is MISSING and f.default_factory is MISSING)
_KNOWN = frozenset(FIELDS)
_SHARE_FIELDS = frozenset(f.name for f in fields(ProviderShare))
_MODES = frozenset(get_args(Mode))
_ids = attrgetter(*ID_FIELDS)
_counts = attrgetter(*COUNT_FIELDS, *PART_FIELDS)
_flags = attrgetter(*FLAG_FIELDS)
_times = attrgetter(*TIME_FIELDS)
_optional_texts = attrgetter(*OPTIONAL_TEXTS)


def check(event: UsageEvent) -> None:
    """Raise InvalidUsageEvent unless every field holds what its name promises and the id is the derived one."""
    for name, value in zip(ID_FIELDS, _ids(event), strict=True):
        _check_text(name, value)
    for name, value in zip((*COUNT_FIELDS, *PART_FIELDS), _counts(event), strict=True):
        _check_whole(name, value, MAX_COUNT)
    for name, value in zip(TIME_FIELDS, _times(event), strict=True):
        _check_whole(name, value, MAX_EPOCH_MS)
    for name, value in zip(FLAG_FIELDS, _flags(event), strict=True):
        if type(value) is not bool:
            raise InvalidUsageEvent("not true or false", field=name)
    if event.mode not in _MODES:
        raise InvalidUsageEvent("not a lane", field="mode")
    _check_stages(event)
    for name, value in zip(OPTIONAL_TEXTS, _optional_texts(event), strict=True):
        if value is not None:
            _check_text(name, value)
    if event.event_id != event_id(event.tenant_id, event.request_id, event.corrects):
        raise InvalidUsageEvent("not derived from tenant_id, request_id and corrects", field="event_id")


def _check_stages(event: UsageEvent) -> None:
    for stage, who in event.providers.items():
        _check_text("providers", stage)
        _check_text("providers", who.provider)
        _check_text("providers", who.model)
    for name, by_stage in (("latency_ms", event.latency_ms), ("latency_start_ms", event.latency_start_ms)):
        for stage, value in by_stage.items():
            _check_text(name, stage)
            _check_whole(name, value, MAX_COUNT)
    for stage, action in event.breaches.items():
        _check_text("breaches", stage)
        _check_text("breaches", action)
    if event.overtaken_tokens > event.input_tokens + event.output_tokens:
        raise InvalidUsageEvent("more than all of its tokens", field="overtaken_tokens")
    if event.shares:
        _check_shares(event)


def _check_shares(event: UsageEvent) -> None:
    for share in event.shares:
        if share.stage not in SHARED_FIELDS:
            raise InvalidUsageEvent("not a stage that is shared", field="shares")
        _check_text("shares", share.provider)
        _check_text("shares", share.model)
        for names in SHARED_FIELDS.values():
            for name in names:
                _check_whole("shares", getattr(share, name), MAX_COUNT)
    for stage, names in SHARED_FIELDS.items():
        of_stage = [share for share in event.shares if share.stage == stage]
        for name in names:
            if of_stage and sum(getattr(share, name) for share in of_stage) != getattr(event, name):
                raise InvalidUsageEvent(f"the shares of {name} do not add up to it", field="shares")
            if any(getattr(share, name) for share in event.shares if share.stage != stage):
                raise InvalidUsageEvent(f"{name} belongs to {stage}", field="shares")


def _check_whole(name: str, value: object, most: int) -> None:
    if type(value) is not int or not 0 <= value <= most:
        raise InvalidUsageEvent(f"not a whole number from 0 to {most}", field=name)


def _check_text(name: str, value: object) -> None:
    if type(value) is not str or not 0 < len(value) <= MAX_TEXT_CHARACTERS:
        raise InvalidUsageEvent(f"not text of 1 to {MAX_TEXT_CHARACTERS} characters", field=name)
    if "\x00" in value:
        raise InvalidUsageEvent("holds a NUL character, which databases do not keep", field=name)
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidUsageEvent("holds half a surrogate pair, which no encoding can carry", field=name)


def to_dict(event: UsageEvent) -> dict[str, Any]:
    """The event with the contract's field names. Raises InvalidUsageEvent."""
    check(event)
    plain = {name: getattr(event, name) for name in FIELDS}
    plain["providers"] = {stage: {"provider": p.provider, "model": p.model} for stage, p in event.providers.items()}
    plain["latency_ms"] = dict(event.latency_ms)
    plain["shares"] = [asdict(share) for share in event.shares]
    plain["latency_start_ms"] = dict(event.latency_start_ms)
    plain["breaches"] = dict(event.breaches)
    return plain


def from_dict(plain: Mapping[str, Any]) -> UsageEvent:
    """The event a dict describes. Raises InvalidUsageEvent for anything missing, unknown or out of range."""
    names = plain.keys()
    if missing := _REQUIRED - names:
        raise InvalidUsageEvent("missing", field=min(missing))
    if unknown := names - _KNOWN:
        raise InvalidUsageEvent("not a field of a usage event", field=str(min(unknown, key=str)))
    values = dict(plain)
    values["providers"] = {stage: _provider(who) for stage, who in _mapping(plain, "providers").items()}
    values["latency_ms"] = dict(_mapping(plain, "latency_ms"))
    values["shares"] = _shares(plain.get("shares", ()))
    values["latency_start_ms"] = dict(_mapping(plain, "latency_start_ms"))
    values["breaches"] = dict(_mapping(plain, "breaches"))
    event = UsageEvent(**values)
    check(event)
    return event


def _mapping(plain: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = plain.get(name, {})
    if not isinstance(value, Mapping):
        raise InvalidUsageEvent("not an object", field=name)
    return cast("Mapping[str, Any]", value)


def _provider(value: Any) -> StageProvider:
    match value:
        case {"provider": str(provider), "model": str(model), **rest} if not rest:
            return StageProvider(provider, model)
        case _:
            raise InvalidUsageEvent("not an object of provider and model", field="providers")


def _shares(value: Any) -> tuple[ProviderShare, ...]:
    if not isinstance(value, list | tuple):
        raise InvalidUsageEvent("not a list", field="shares")
    shares: list[ProviderShare] = []
    for share in cast("list[Any]", value):
        if not isinstance(share, Mapping):
            raise InvalidUsageEvent("not a list of objects", field="shares")
        named = cast("Mapping[str, Any]", share)
        if named.keys() - _SHARE_FIELDS or not {"stage", "provider", "model"} <= named.keys():
            raise InvalidUsageEvent("not what a provider did of a stage", field="shares")
        shares.append(ProviderShare(**named))
    return tuple(shares)


def dumps(value: object) -> str:
    """Compact JSON text, as the journal, the ledger and the export write it."""
    return msgspec.json.encode(value).decode()


def to_json(event: UsageEvent) -> bytes:
    """One line of JSON (UTF-8, no newline). Raises InvalidUsageEvent."""
    return msgspec.json.encode(to_dict(event))


def from_json(text: bytes) -> UsageEvent:
    """The event a JSON object describes. Raises InvalidUsageEvent."""
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidUsageEvent("not JSON", field="event") from error
    if not isinstance(plain, dict):
        raise InvalidUsageEvent("not a JSON object", field="event")
    return from_dict(cast("dict[str, Any]", plain))
