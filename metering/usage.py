"""The usage event: the billing authority's one fact per turn (and per chat request).

A value, built by whoever ran the turn and never changed afterwards; a correction is a new event that names the old
one. Quantities are integers: milliseconds derived from sample counts, tokens, characters, calls.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Mode = Literal["byok", "managed", "embedded"]


@dataclass(frozen=True, slots=True)
class StageProvider:
    """Who did a stage's work."""

    provider: str
    model: str


@dataclass(frozen=True, slots=True)
class ProviderShare:
    """What one provider did of a stage; over all shares each quantity adds up to the event's."""

    stage: str
    provider: str
    model: str
    audio_ms_in: int = 0
    audio_ms_synthesized: int = 0
    tts_characters: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """What one turn consumed (CONTRACT section 5).

    ``request_id`` is unique for ever: recording the same one again changes nothing. ``started_at`` and ``ended_at``
    are epoch milliseconds, for people to read; no quantity is derived from them. ``audio_ms_out`` is audio the user
    was sent and did not interrupt, ``audio_ms_synthesized`` all that was made. ``providers`` names who did most of
    each stage, ``shares`` what each did of ``stt``, ``agent`` and ``tts`` (events of older versions have none, or none
    of ``agent``). Tokens are those of every model that was asked, its answer used or not. ``speculative`` marks work
    discarded before the turn was certain. ``corrects`` names the ``event_id`` this event corrects.
    ``transport`` is how the conversation came, where that was known; ``latency_start_ms`` when each stage of
    ``latency_ms`` began, from the last speech sample (or the text's arrival). ``breaches`` names the stages that took
    longer than the turn's budget, each with what was done about it (``none`` where nothing was). ``overtaken_tokens``
    are those of the input and output tokens that went to models whose answer was not used.

    Audio by stage: ``audio_ms_received`` came from the client, ``audio_ms_speech`` of it was speech to voice activity
    detection, ``audio_ms_in`` was sent to speech-to-text; ``audio_ms_synthesized`` was made, ``audio_ms_sent`` left for
    the client (what is said again after an interruption twice), ``audio_ms_out`` was heard. What came while no turn ran
    is in the next event of the session, its closing one at the latest: so the ``audio_ticks_received`` and
    ``audio_ticks_sent`` of a session (1/48,000 s, a whole number of any sample) add up to what its transport counted;
    an event's milliseconds are those that became whole, and add up likewise. ``reasoning_tokens`` are part of the
    output tokens. ``tool_ms`` is how long tools and plugins ran. ``call_ms`` is telephone time; ``providers["call"]``
    then names the carrier and the leg (``inbound``, ``outbound``).
    """

    event_id: str
    request_id: str
    tenant_id: str
    user_id: str
    session_id: str
    agent_id: str
    mode: Mode
    started_at: int
    ended_at: int
    providers: dict[str, StageProvider] = field(default_factory=dict[str, StageProvider])
    audio_ms_in: int = 0
    audio_ms_out: int = 0
    audio_ms_synthesized: int = 0
    tts_characters: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    speculative_tokens: int = 0
    tool_calls: int = 0
    latency_ms: dict[str, int] = field(default_factory=dict[str, int])
    interrupted: bool = False
    success: bool = True
    error_code: str | None = None
    estimated: bool = False
    corrects: str | None = None
    shares: tuple[ProviderShare, ...] = ()
    transport: str | None = None
    latency_start_ms: dict[str, int] = field(default_factory=dict[str, int])
    breaches: dict[str, str] = field(default_factory=dict[str, str])
    overtaken_tokens: int = 0
    audio_ms_received: int = 0
    audio_ms_speech: int = 0
    audio_ms_sent: int = 0
    reasoning_tokens: int = 0
    tool_ms: int = 0
    call_ms: int = 0
    audio_ticks_received: int = 0
    audio_ticks_sent: int = 0
