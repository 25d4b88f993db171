"""What our spans are called and what they say: OpenTelemetry's GenAI conventions where they have a word, else ours.

Pure: facts in, names and attributes out. The conventions (https://opentelemetry.io/docs/specs/semconv/gen-ai/, read at
v1.41) are in development and are written out here, not taken from a package whose names change between releases.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from agents.events import ProviderCall, StageLatency, TurnCompleted
from server.observability.tracing import Subject

Attributes = dict[str, str | bool | int | float | tuple[str, ...]]

SCOPE: Final = "convergio-voice"
CONVERSATION: Final = "gen_ai.conversation.id"
ERROR_TYPE: Final = "error.type"
TURN_ID: Final = "convergio.turn.id"

_PROVIDERS: Final[Mapping[str, str]] = {"azure_openai": "azure.ai.openai"}
_FINISH: Final[Mapping[str, str]] = {"tools": "tool_calls", "filtered": "content_filter"}
"""Where the conventions have another word than we."""


def session_attributes(subject: Subject, transport: str) -> Attributes:
    """Of the span of a whole conversation."""
    return {
        "session.id": subject.session_id,
        CONVERSATION: subject.session_id,
        "gen_ai.agent.name": subject.agent_name,
        "convergio.agent.id": subject.agent_id,
        "convergio.tenant.id": subject.tenant_id,
        "convergio.transport": transport,
    }


def turn_name(subject: Subject) -> str:
    """A turn is one invocation of the agent."""
    return f"invoke_agent {subject.agent_name}"


def turn_attributes(subject: Subject, turn_id: str, source: str) -> Attributes:
    """Of a turn, whatever comes of it."""
    return {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": subject.agent_name,
        CONVERSATION: subject.session_id,
        TURN_ID: turn_id,
        "convergio.turn.source": source,
    }


def outcome_attributes(done: TurnCompleted) -> Attributes:
    """What a turn came to."""
    usage = done.usage
    found: Attributes = {
        "convergio.turn.end": done.end,
        "convergio.turn.interrupted": done.interrupted,
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "convergio.usage.audio_ms_in": usage.audio_ms_in,
        "convergio.usage.audio_ms_out": usage.audio_ms_out,
        "convergio.usage.tool_calls": usage.tool_calls,
    }
    if usage.cached_input_tokens:
        found["gen_ai.usage.cache_read.input_tokens"] = usage.cached_input_tokens
    if done.error_code is not None:
        found[ERROR_TYPE] = done.error_code
    return found


def words_attributes(asked: str, answered: str) -> Attributes:
    """What was said, as the conventions write messages. Only for operators who turned transcripts on."""
    return {
        "gen_ai.input.messages": _messages("user", asked),
        "gen_ai.output.messages": _messages("assistant", answered),
    }


def stage_attributes(stage: StageLatency, turn_id: str) -> Attributes:
    """Of one stage of a turn."""
    found: Attributes = {"convergio.stage": stage.stage, TURN_ID: turn_id}
    if stage.provider is not None:
        found["gen_ai.provider.name"] = provider_name(stage.provider)
    if stage.model is not None:
        found["gen_ai.request.model"] = stage.model
    return found


def call_name(call: ProviderCall) -> str:
    """``chat gpt-4o-mini``, ``execute_tool clock``, ``text_to_speech en-US-AvaNeural``."""
    return f"{call.operation} {call.model}"


def call_attributes(call: ProviderCall, subject: Subject) -> Attributes:
    """Of one request to an engine, or one tool."""
    found: Attributes = {"gen_ai.operation.name": call.operation, CONVERSATION: subject.session_id}
    match call.operation:
        case "execute_tool":
            found |= {"gen_ai.tool.name": call.model, "gen_ai.tool.type": "function"}
        case "text_to_speech":
            found |= _engine(call.provider, call.model)
            found |= {"gen_ai.output.type": "speech", "convergio.tts.characters": call.characters}
        case "chat":
            found |= _engine(call.provider, call.model)
            found |= {"gen_ai.output.type": "text", "gen_ai.request.stream": True}
            found |= _chat_outcome(call)
    if call.first_at_s is not None and call.operation != "execute_tool":
        found["gen_ai.response.time_to_first_chunk"] = round(call.first_at_s - call.started_at_s, 6)
    if call.end != "finished":
        found["convergio.call.end"] = call.end
    if call.error_code is not None:
        found[ERROR_TYPE] = call.error_code
    return found


def recognition_attributes(stage: StageLatency, subject: Subject) -> Attributes:
    """Of the recognition that a turn waited for."""
    found: Attributes = {"gen_ai.operation.name": "speech_to_text", CONVERSATION: subject.session_id}
    return found | _engine(stage.provider or "", stage.model or "")


def provider_name(ours: str) -> str:
    """The conventions' name of a provider; custom ones stay as they are."""
    return _PROVIDERS.get(ours, ours)


def _engine(provider: str, model: str) -> Attributes:
    return {"gen_ai.provider.name": provider_name(provider), "gen_ai.request.model": model}


def _chat_outcome(call: ProviderCall) -> Attributes:
    if call.finish_reason is None:
        return {}
    found: Attributes = {
        "gen_ai.response.finish_reasons": (_FINISH.get(call.finish_reason, call.finish_reason),),
        "gen_ai.usage.input_tokens": call.input_tokens,
        "gen_ai.usage.output_tokens": call.output_tokens,
    }
    if call.cached_input_tokens:
        found["gen_ai.usage.cache_read.input_tokens"] = call.cached_input_tokens
    return found


def _messages(role: str, text: str) -> str:
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}], ensure_ascii=False)
