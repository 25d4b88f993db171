"""Usage events for the tests of this room: by number, and as Hypothesis strategies."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from metering.codec import MAX_COUNT, MAX_EPOCH_MS
from metering.identity import as_correction, event_id
from metering.usage import ProviderShare, StageProvider, UsageEvent

DAY_MS = 86_400_000
FIRST_MS = 1_790_000_000_000


def numbered(number: int, *, tenant: str = "tenant_a", prefix: str = "req") -> UsageEvent:
    """A complete event whose every quantity follows from its number."""
    request = f"{prefix}_{number:06d}"
    return UsageEvent(
        event_id=event_id(tenant, request),
        request_id=request,
        tenant_id=tenant,
        user_id=f"user_{number % 3}",
        session_id=f"session_{number % 5}",
        agent_id=f"agent_{number % 2}",
        mode="embedded",
        started_at=FIRST_MS + number * 1000,
        ended_at=FIRST_MS + number * 1000 + 800,
        providers={"stt": StageProvider("whisper", "base.en"), "tts": StageProvider("piper", "joe")},
        audio_ms_in=number + 1,
        audio_ms_out=number * 2,
        audio_ms_synthesized=number * 3,
        output_tokens=number % 7,
        reasoning_tokens=number % 3,
        tool_ms=number % 11,
        audio_ms_received=number * 4,
        audio_ms_speech=number + 1,
        audio_ms_sent=number * 3,
        audio_ticks_received=number * 4 * 48 + 3,
        audio_ticks_sent=number * 3 * 48,
        latency_ms={"stt": 110, "total": 540},
        interrupted=number % 4 == 0,
    )


WHOLE = ("audio_ms_received", "audio_ms_speech", "audio_ms_sent", "reasoning_tokens", "tool_ms", "call_ms")
TICKS = ("audio_ticks_received", "audio_ticks_sent")
"""The quantities that came last."""


def older(event: UsageEvent) -> UsageEvent:
    """As a version before recorded it that knew none of them."""
    nothing: dict[str, int] = dict.fromkeys((*WHOLE, *TICKS), 0)
    return replace(event, **nothing)


def opened(event: UsageEvent) -> UsageEvent:
    """What is known of the turn when it is committed."""
    nothing = {"audio_ms_out": 0, "audio_ms_synthesized": 0, "audio_ms_sent": 0, "audio_ticks_sent": 0, "tool_ms": 0}
    return replace(event, ended_at=event.started_at, latency_ms={}, **nothing)


_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=40)
_counts = st.integers(0, MAX_COUNT)
_stages = st.sampled_from(["stt", "agent", "tts"])


@st.composite
def events(draw: st.DrawFn) -> UsageEvent:
    """Any valid event, corrections included."""
    tenant, request = draw(_texts), draw(_texts)
    heard = draw(st.lists(st.builds(ProviderShare, st.just("stt"), _texts, _texts, st.integers(0, 10**9)), max_size=3))
    heard_ms = sum(share.audio_ms_in for share in heard) if heard else draw(_counts)
    event = UsageEvent(
        event_id=event_id(tenant, request),
        request_id=request,
        tenant_id=tenant,
        user_id=draw(_texts),
        session_id=draw(_texts),
        agent_id=draw(_texts),
        mode=draw(st.sampled_from(["byok", "managed", "embedded"])),
        started_at=draw(st.integers(0, MAX_EPOCH_MS)),
        ended_at=draw(st.integers(0, MAX_EPOCH_MS)),
        providers=draw(st.dictionaries(_stages, st.builds(StageProvider, _texts, _texts))),
        audio_ms_in=heard_ms,
        shares=tuple(heard),
        audio_ms_out=draw(_counts),
        input_tokens=(tokens_in := draw(_counts)),
        tool_calls=draw(_counts),
        latency_ms=draw(st.dictionaries(_stages, _counts)),
        interrupted=draw(st.booleans()),
        success=draw(st.booleans()),
        error_code=draw(st.none() | _texts),
        estimated=draw(st.booleans()),
        transport=draw(st.none() | _texts),
        latency_start_ms=draw(st.dictionaries(_stages, _counts)),
        breaches=draw(st.dictionaries(_stages, st.sampled_from(["none", "hedge", "filler"]))),
        overtaken_tokens=draw(st.integers(0, tokens_in)),
        audio_ms_received=draw(_counts),
        audio_ms_speech=draw(_counts),
        audio_ms_sent=draw(_counts),
        reasoning_tokens=draw(_counts),
        tool_ms=draw(_counts),
        call_ms=draw(_counts),
        audio_ticks_received=draw(_counts),
        audio_ticks_sent=draw(_counts),
    )
    return as_correction(event, event) if draw(st.booleans()) else event
