"""One real example of every socket message, by ``type``: shown in the documentation, held valid by a test."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

_TURN: Final = "turn_7f3a"
_START: Final = "start-1"
_NOW_MS: Final = 1_767_225_600_000
_ONE_MS: Final = "0O7w8RD1MPhQ+3D+kAGwBNAH8AoQDjAR0O7w8RD1MPhQ+3D+kAGwBNAH8AoQDjAR"
"""24 samples."""


def _server(kind: str, event_id: int, fields: dict[str, Any], request_id: str = _TURN) -> dict[str, Any]:
    return {"type": kind, "event_id": event_id, "request_id": request_id, "timestamp_ms": _NOW_MS + event_id, **fields}


def _by_type(*messages: dict[str, Any]) -> Mapping[str, dict[str, Any]]:
    return MappingProxyType({message["type"]: message for message in messages})


CLIENT_EXAMPLES: Final[Mapping[str, dict[str, Any]]] = _by_type(
    {
        "type": "voice.start",
        "request_id": _START,
        "codec": "pcm16",
        "sample_rate": 16_000,
        "locale": "en-US",
        "turn_detection": {"type": "auto", "eagerness": "auto", "interruptible": True},
        "output": {"codec": "pcm16", "sample_rate": 24_000, "modalities": ["audio", "text"], "rate": 1.0},
        "accessibility": {"patience": "patient", "captions": True},
        "latency_budget": {"stages": {"agent": {"deadline_ms": 3_000, "on_breach": ["fallback", "filler"]}}},
        "binary": False,
    },
    {"type": "voice.chunk", "bytes_base64": _ONE_MS},
    {"type": "voice.commit"},
    {"type": "voice.cancel", "request_id": _TURN},
    {"type": "voice.played", "request_id": _TURN, "audio_ms": 1_240},
    {"type": "voice.stop"},
    {
        "type": "voice.update",
        "turn_detection": {"type": "push_to_talk"},
        "output": {"rate": 0.8},
        "latency_budget": None,
    },
    {"type": "chat.start", "request_id": _TURN, "prompt": "What can you do?"},
    {"type": "chat.cancel", "request_id": _TURN},
    {"type": "budget.consent", "consent": True},
    {"type": "session.resume", "session_id": "sess_2c9e", "last_event_id": 41},
)

SERVER_EXAMPLES: Final[Mapping[str, dict[str, Any]]] = _by_type(
    _server(
        "session.started",
        1,
        {
            "session_id": "sess_2c9e",
            "agent_id": "assistant",
            "capabilities": {
                "vad": "silero with webrtc gate",
                "endpoint": "smart-turn v3",
                "stt": "whisper tiny.en",
                "llm": "embedded SmolLM2-135M-Instruct",
                "tts": "piper en_US-joe-medium",
            },
            "input": {"codec": "pcm16", "sample_rate": 16_000},
            "output": {"codec": "pcm16", "sample_rate": 24_000},
            "binary": False,
            "latency_budget": {"profile": "accessibility", "version": "1+5f0c2a9e", "enforced": True},
        },
        _START,
    ),
    _server("session.resumed", 41, {"session_id": "sess_2c9e", "missed_events": 0}, _START),
    _server("session.draining", 90, {"grace_ms": 30_000}, _START),
    _server("vad.speech_started", 2, {"utterance_id": 1, "at_ms": 640}, _START),
    _server("vad.speech_stopped", 4, {"utterance_id": 1, "at_ms": 1_920}, _START),
    _server(
        "transcript.partial", 3, {"utterance_id": 1, "text": "go forward", "start_ms": 640, "end_ms": 1_400}, _START
    ),
    _server(
        "transcript.final",
        5,
        {
            "utterance_id": 1,
            "text": "Go forward ten meters.",
            "start_ms": 640,
            "end_ms": 1_920,
            "language": "en",
            "confidence": 0.93,
        },
    ),
    _server("turn.started", 6, {"text": "Go forward ten meters.", "source": "speech"}),
    _server("chat.token", 7, {"text": "Going forward "}),
    _server("voice.audio", 9, {"audio_ms": 1, "start_ms": 0, "bytes_base64": _ONE_MS}),
    _server("voice.visemes", 9, {"visemes": [{"viseme_id": 19, "at_ms": 0}, {"viseme_id": 6, "at_ms": 85}]}),
    _server("voice.audio.done", 30, {"audio_ms": 1_840}),
    _server("caption", 10, {"speaker": "agent", "text": "Going forward", "start_ms": 0, "end_ms": 720, "final": False}),
    _server("voice.interrupted", 20, {"heard_ms": 760, "heard_text": "Going forward", "resumable": True}),
    _server("voice.resumed", 22, {"from_ms": 760}),
    _server("tool.call", 12, {"call_id": "call_1", "name": "move", "arguments": '{"meters": 10}'}),
    _server("tool.result", 13, {"call_id": "call_1", "name": "move", "output": '{"ok": true}', "error": False}),
    _server(
        "turn.latency",
        11,
        {
            "stages": [
                {"stage": "endpoint", "start_ms": 0.0, "duration_ms": 380.0},
                {"stage": "stt", "start_ms": 96.0, "duration_ms": 118.4, "provider": "whisper"},
                {"stage": "total", "start_ms": 0.0, "duration_ms": 512.7},
            ]
        },
    ),
    _server("latency.breach", 8, {"stage": "agent", "action": "filler", "limit_ms": 1_500, "after_ms": 1_504}),
    _server(
        "degraded",
        14,
        {"from": "silero", "to": "push_to_talk", "reason": "Voice detection failed: press and hold to speak."},
        _START,
    ),
    _server(
        "content.filtered",
        18,
        {"stage": "completion", "categories": [{"name": "violence", "severity": "medium"}]},
    ),
    _server(
        "budget.warning",
        15,
        {
            "scope": "tenant",
            "period": "monthly",
            "used_percent": 80,
            "message": "80 percent of the budget is used. Shall I go on? Please say yes or no.",
            "consent": "needed",
        },
        _START,
    ),
    _server(
        "chat.complete",
        31,
        {
            "text": "Going forward ten meters.",
            "interrupted": False,
            "usage": {"in_tokens": 142, "out_tokens": 9, "tool_calls": 1, "audio_in_s": 1.58, "audio_out_s": 1.84},
        },
    ),
    _server(
        "audio.quality",
        16,
        {
            "issue": "clipping",
            "message": "The microphone is too loud: move back or turn it down.",
            "measures": {"peak_dbfs": -0.1, "clipped_percent": 4.2},
        },
        _START,
    ),
    _server(
        "error",
        17,
        {
            "code": "request.invalid",
            "message": "voice.update: turn_detection.threshold: Input should be less than or equal to 0.95.",
            "retryable": False,
            "details": {"field": "turn_detection.threshold"},
        },
        _START,
    ),
)
