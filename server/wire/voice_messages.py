"""Server events as the bodies of the contract's JSON messages.

One pure function, total over the events that travel as JSON: which ``type`` an event has, which turn it belongs to,
and its fields. ``server.wire.voice_json`` adds the envelope and serialises. Audio is not here: it travels through an
encoder first.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, NamedTuple, assert_never

from agents.events import (
    AudioOutEnded,
    AudioQuality,
    BudgetWarned,
    Caption,
    ContentFiltered,
    Degraded,
    Failed,
    Interrupted,
    ReplyText,
    Resumed,
    SessionDraining,
    SessionStarted,
    SpeechStartedHeard,
    SpeechStoppedHeard,
    ToolCalled,
    ToolReturned,
    TranscriptUpdated,
    TurnCompleted,
    TurnStarted,
    TurnUsage,
    VisemesOut,
)
from agents.latency_events import BudgetBreached, StageLatency, TurnLatency
from server.contracts.errors import ErrorCode

SessionEvent = SessionStarted | SessionDraining | Degraded | BudgetWarned | AudioQuality | Failed
HearingEvent = SpeechStartedHeard | SpeechStoppedHeard | TranscriptUpdated | Caption
SpeakingEvent = ReplyText | VisemesOut | AudioOutEnded | Interrupted | Resumed
TimingEvent = TurnLatency | BudgetBreached
AnswerEvent = TurnStarted | ToolCalled | ToolReturned | ContentFiltered | TurnCompleted
JsonEvent = SessionEvent | HearingEvent | SpeakingEvent | TimingEvent | AnswerEvent
"""Every ``ServerEvent`` but ``AudioOut``."""

_KNOWN_CODES = frozenset(code.value for code in ErrorCode)


class Message(NamedTuple):
    """An event on its way out. ``turn_id`` is ``None`` outside a turn."""

    type: str
    turn_id: str | None
    fields: Mapping[str, object]


def message_of(event: JsonEvent) -> Message:
    """The contract's message for an event."""
    match event:
        case ReplyText() | VisemesOut() | AudioOutEnded() | Interrupted() | Resumed():
            return _speaking(event)
        case SpeechStartedHeard() | SpeechStoppedHeard() | TranscriptUpdated() | Caption():
            return _hearing(event)
        case TurnLatency() | BudgetBreached():
            return _timing(event)
        case TurnStarted() | ToolCalled() | ToolReturned() | ContentFiltered() | TurnCompleted():
            return _turn(event)
        case SessionStarted() | SessionDraining() | Degraded() | BudgetWarned() | AudioQuality() | Failed():
            return _session(event)
        case _:
            assert_never(event)


def _speaking(event: SpeakingEvent) -> Message:
    match event:
        case ReplyText(turn_id, text):
            return Message("chat.token", turn_id, {"text": text})
        case VisemesOut(turn_id, visemes):
            shapes = [{"viseme_id": shape.viseme_id, "at_ms": shape.at_ms} for shape in visemes]
            return Message("voice.visemes", turn_id, {"visemes": shapes})
        case AudioOutEnded(turn_id, audio_ms):
            return Message("voice.audio.done", turn_id, {"audio_ms": audio_ms})
        case Interrupted(turn_id, heard_ms, heard_text, resumable):
            fields = {"heard_ms": heard_ms, "heard_text": heard_text, "resumable": resumable}
            return Message("voice.interrupted", turn_id, fields)
        case Resumed(turn_id, from_ms):
            return Message("voice.resumed", turn_id, {"from_ms": from_ms})
        case _:
            assert_never(event)


def _hearing(event: HearingEvent) -> Message:
    match event:
        case SpeechStartedHeard(utterance_id, at_ms):
            return Message("vad.speech_started", None, {"utterance_id": utterance_id, "at_ms": at_ms})
        case SpeechStoppedHeard(utterance_id, at_ms):
            return Message("vad.speech_stopped", None, {"utterance_id": utterance_id, "at_ms": at_ms})
        case TranscriptUpdated():
            return Message(
                "transcript.final" if event.final else "transcript.partial",
                event.turn_id,
                _present(
                    utterance_id=event.utterance_id,
                    text=event.text,
                    start_ms=event.start_ms,
                    end_ms=event.end_ms,
                    language=event.language,
                    confidence=None if event.confidence is None else round(event.confidence, 3),
                    corrected=event.corrected or None,
                ),
            )
        case Caption(speaker, text, start_ms, end_ms, final, turn_id):
            fields = {"speaker": speaker, "text": text, "start_ms": start_ms, "end_ms": end_ms, "final": final}
            return Message("caption", turn_id, fields)
        case _:
            assert_never(event)


def _timing(event: TimingEvent) -> Message:
    match event:
        case TurnLatency(turn_id, stages):
            fields: dict[str, object] = {"stages": [_stage(stage) for stage in stages]}
            if event.breaches:
                fields["breaches"] = [_breach(breach) for breach in event.breaches]
            return Message("turn.latency", turn_id, fields)
        case BudgetBreached(turn_id):
            return Message("latency.breach", turn_id, _breach(event))
        case _:
            assert_never(event)


def _breach(breach: BudgetBreached) -> dict[str, object]:
    limits = {"limit_ms": breach.limit_ms, "after_ms": breach.after_ms}
    return {"stage": breach.stage, "action": breach.action, **limits}


def _turn(event: AnswerEvent) -> Message:
    match event:
        case TurnStarted(turn_id, text, source):
            return Message("turn.started", turn_id, {"text": text, "source": source})
        case ToolCalled(turn_id, call_id, name, arguments):
            return Message("tool.call", turn_id, {"call_id": call_id, "name": name, "arguments": arguments})
        case ToolReturned(turn_id, call_id, name, output, error):
            fields = {"call_id": call_id, "name": name, "output": output, "error": error}
            return Message("tool.result", turn_id, fields)
        case ContentFiltered(turn_id, stage, categories):
            named = [_present(name=category.name, severity=category.severity) for category in categories]
            return Message("content.filtered", turn_id, {"stage": stage, "categories": named})
        case TurnCompleted():
            fields = _present(
                text=event.text,
                interrupted=event.interrupted,
                usage=usage_summary(event.usage),
                error_code=None if event.error_code is None else known_code(event.error_code),
            )
            return Message("chat.complete", event.turn_id, fields)
        case _:
            assert_never(event)


def _session(event: SessionEvent) -> Message:
    match event:
        case SessionStarted(session_id, agent_id, capabilities):
            fields = {"session_id": session_id, "agent_id": agent_id, "capabilities": dict(capabilities)}
            return Message("session.started", None, fields)
        case SessionDraining(grace_ms):
            return Message("session.draining", None, {"grace_ms": grace_ms})
        case Degraded(from_, to, reason):
            return Message("degraded", None, {"from": from_, "to": to, "reason": reason})
        case BudgetWarned(scope, period, used_percent, message, consent):
            fields = {"scope": scope, "period": period, "used_percent": used_percent}
            return Message("budget.warning", None, fields | {"message": message, "consent": consent})
        case AudioQuality(issue, message, measures):
            # Silence measures -inf dBFS, which JSON cannot say.
            finite = {name: value for name, value in measures.items() if isfinite(value)}
            return Message("audio.quality", None, {"issue": issue, "message": message, "measures": finite})
        case Failed():
            return Message("error", event.turn_id, _failure(event))
        case _:
            assert_never(event)


def _failure(event: Failed) -> dict[str, object]:
    details: dict[str, Any] | None = None if event.details is None else dict(event.details)
    return _present(code=known_code(event.code), message=event.message, retryable=event.retryable, details=details)


def _stage(stage: StageLatency) -> dict[str, object]:
    start_ms, duration_ms = round(stage.start_ms, 1), round(stage.duration_ms, 1)
    return _present(
        stage=stage.stage,
        start_ms=start_ms,
        duration_ms=duration_ms,
        provider=stage.provider,
        target_ms=stage.target_ms,
        deadline_ms=stage.deadline_ms,
    )


def _present(**fields: object) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}


def known_code(code: str) -> str:
    """The code itself if it is one of the contract's, else ``internal``: clients never see an unpublished code."""
    return code if code in _KNOWN_CODES else ErrorCode.INTERNAL.value


def usage_summary(usage: TurnUsage) -> dict[str, object]:
    """A turn's usage as ``chat.complete`` tells it. Whole milliseconds make seconds of exactly three decimals."""
    return {
        "in_tokens": usage.input_tokens,
        "out_tokens": usage.output_tokens,
        "tool_calls": usage.tool_calls,
        "audio_in_s": usage.audio_ms_in / 1_000,
        "audio_out_s": usage.audio_ms_out / 1_000,
    }
