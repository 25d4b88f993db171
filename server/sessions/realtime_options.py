"""What a realtime client asked for, as the options a conversation runs with. Pure.

The protocols' words (silence, eagerness, responses) become our turn-taking here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from agents.core.language import rules_for
from agents.core.options import Identity, ReplyRequest, SessionOptions
from agents.core.policy import TurnPolicy
from agents.loop.brief import Brief
from audio.vad.port import VadOptions
from server.sessions.speech_out import session_rate_hz
from server.sessions.voice_options import WAITS, Waits
from server.wire.realtime.acts import Respond
from server.wire.realtime.settings import Detection, RealtimeSettings, ReplySettings

DEFAULT_LOCALE = "en-US"
_NORMAL = TurnPolicy()
_RELAXED = Waits(900, 1_400, 4_000)
"""Semantic detection of low eagerness: people who take their time."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the options depend on beside the client's wishes: who it is, and how its audio travels."""

    identity: Identity
    voices: tuple[str, ...] = ()
    media: bool = False


def realtime_options(settings: RealtimeSettings, around: Surroundings) -> SessionOptions:
    """The options of a realtime session."""
    locale = locale_of(settings)
    options = SessionOptions(
        identity=around.identity,
        locale=locale,
        policy=replace(_policy(settings), rules=rules_for(locale)),
        vad=_vad(settings.detection),
        output_rate_hz=session_rate_hz(settings.output_format),
        phrases=settings.phrases,
        answers=not settings.writes_only,
        greet=False,
        hands_free=settings.detection is not None,
        client_clears=around.media,
    )
    return with_reply(options, settings.reply, around)


def with_reply(options: SessionOptions, reply: ReplySettings, around: Surroundings) -> SessionOptions:
    """The options with this way of replying."""
    brief = Brief(reply.instructions, reply.tools, reply.tool_choice, reply.max_output_tokens, reply.temperature)
    voice = reply.voice if reply.voice in around.voices else None
    speak = reply.audible and options.answers
    policy = replace(options.policy, filler_after_ms=reply.filler_after_ms)
    if reply.filler_texts:
        policy = replace(policy, rules=replace(policy.rules, fillers=reply.filler_texts))
    return replace(options, brief=brief, voice=voice, rate=reply.speed, speak=speak, policy=policy)


def reply_request(respond: Respond, options: SessionOptions, around: Surroundings) -> ReplyRequest:
    """A response the client asked for."""
    return ReplyRequest(with_reply(options, respond.reply, around), respond.messages, respond.remembered)


def _policy(settings: RealtimeSettings) -> TurnPolicy:
    detection = settings.detection
    if detection is None:
        return TurnPolicy(auto_end=False, auto_reply=False)
    waits = _waits(detection)
    return TurnPolicy(
        min_wait_ms=waits.min_ms,
        wait_ms=waits.wait_ms,
        max_wait_ms=waits.max_ms,
        eagerness=detection.eagerness,
        interruptible=detection.interrupts,
        keep_overlap=not detection.interrupts,
        auto_reply=detection.replies and not settings.writes_only,
        idle_ms=detection.idle_ms,
    )


def _waits(detection: Detection) -> Waits:
    if detection.silence_ms is not None and detection.max_wait_ms is None:
        return Waits(detection.silence_ms, detection.silence_ms, detection.silence_ms)  # no more and no less
    normal = _RELAXED if detection.kind == "semantic" and detection.eagerness == "low" else WAITS["normal"]
    if detection.max_wait_ms is None:
        return normal
    low = normal.min_ms if detection.silence_ms is None else detection.silence_ms
    high = max(detection.max_wait_ms, low)
    return Waits(low, min(max(normal.wait_ms, low), high), high)


def _vad(detection: Detection | None) -> VadOptions:
    options = VadOptions()
    if detection is None:
        return options
    if detection.threshold is not None:
        options = replace(options, threshold=min(0.95, max(0.2, detection.threshold)))
    if detection.prefix_padding_ms is not None:
        options = replace(options, prefix_padding_ms=min(1_000, detection.prefix_padding_ms))
    if detection.min_speech_ms is not None:
        options = replace(options, min_speech_ms=min(1_000, detection.min_speech_ms))
    if detection.silence_ms is not None:
        options = replace(options, min_silence_ms=max(32, min(options.min_silence_ms, detection.silence_ms)))
    return options


def locale_of(settings: RealtimeSettings) -> str:
    """The locale a client's settings mean."""
    language = settings.language
    if language is None or language.lower() == "en":
        return DEFAULT_LOCALE
    return language
