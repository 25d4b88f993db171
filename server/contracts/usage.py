"""The usage event as the public API shows it (contract section 5).

Mirrors ``metering.usage.UsageEvent``, the billing authority's fact; a test holds the two together. Read-only:
nothing is billed from here.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

from metering.usage import Mode, UsageEvent
from server.contracts.base import Contract, Count, Milliseconds


class StageProviderRecord(Contract):
    """Who did a stage's work."""

    provider: str
    model: str


class ProviderShareRecord(Contract):
    """What one provider did of a stage. Over the shares of a stage each quantity adds up to the event's, exactly."""

    stage: Literal["stt", "agent", "tts"]
    provider: str
    model: str
    audio_ms_in: Count
    audio_ms_synthesized: Count
    tts_characters: Count
    input_tokens: Count
    cached_input_tokens: Count
    output_tokens: Count
    reasoning_tokens: Count


class UsageEventRecord(Contract):
    """What one turn (or chat request) consumed. Quantities are whole; milliseconds come from sample counts."""

    event_id: str
    request_id: str
    """Unique for ever: a retry never counts twice."""
    tenant_id: str
    user_id: str
    session_id: str
    agent_id: str
    mode: Mode
    started_at: Milliseconds
    """Epoch milliseconds, for people to read."""
    ended_at: Milliseconds
    providers: dict[str, StageProviderRecord]
    """By stage: who did most of it."""
    audio_ms_in: Count
    """Audio handed to speech-to-text."""
    audio_ms_out: Count
    """Audio the user was sent and did not interrupt: heard."""
    audio_ms_synthesized: Count
    tts_characters: Count
    input_tokens: Count
    """Of every model that was asked, its answer used or not; so are the two below."""
    cached_input_tokens: Count
    output_tokens: Count
    speculative_tokens: Count
    """Tokens of drafts discarded before the turn was certain."""
    tool_calls: Count
    latency_ms: dict[str, int]
    """By stage."""
    interrupted: bool
    success: bool
    error_code: str | None
    estimated: bool
    """A provider did not report tokens."""
    corrects: str | None
    """The `event_id` this event corrects."""
    shares: tuple[ProviderShareRecord, ...] = ()
    """By provider, where engines may stand in for each other; empty in events of older versions."""
    transport: str | None
    """How the conversation came: `http`, `websocket`, `chat`, `webrtc`, `realtime`, `realtime_webrtc`, `voice_live`."""
    latency_start_ms: dict[str, int]
    """When each stage began, from the last speech sample (or the text's arrival)."""
    breaches: dict[str, str]
    """Stages that took longer than the turn's latency budget, each with what was done about it; `none`: nothing."""
    overtaken_tokens: Count
    """Of the input and output tokens, those of models whose answer was not used: hedged, too late, broken off."""
    audio_ms_received: Count
    """Audio that came from the client since the session's event before, whether anybody spoke or not."""
    audio_ms_speech: Count
    """Of that, what was speech to voice activity detection (0 where the client ends turns itself)."""
    audio_ms_sent: Count
    """Audio that left for the client; what is said again after an interruption counts again."""
    reasoning_tokens: Count
    """Part of `output_tokens`."""
    tool_ms: Count
    """How long tools and plugins ran."""
    call_ms: Count
    """Telephone time; `providers.call` then names the carrier and the leg (`inbound`, `outbound`)."""
    audio_ticks_received: Count
    """`audio_ms_received` in 1/48,000 s, exactly: over a session they add up to the samples its transport counted."""
    audio_ticks_sent: Count
    """Likewise of `audio_ms_sent`."""


def usage_record(event: UsageEvent) -> UsageEventRecord:
    """The public form of a usage event."""
    return UsageEventRecord.model_validate(asdict(event))
