"""Chat Completions as its many servers really speak it: our values to JSON, streamed chunks back to model events.

Pure: no client, no clock. The format is OpenAI's "Create chat completion" with streaming; what Ollama, vLLM,
llama.cpp and Azure do differently (no usage, empty or repeated tool-call ids, null deltas, chunks without choices,
one index for several calls, annotations of the content filter) is tolerated here. Driven by
``agents.models.openai_compatible``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from agents.models.content_filter import categories_of, prompt_categories
from agents.models.port import (
    ContentFilter,
    FilteredCategory,
    Finished,
    Message,
    ModelRequest,
    TokenUsage,
    ToolChoice,
    ToolNamed,
    ToolRequest,
)
from agents.models.tokens import estimate_usage

if TYPE_CHECKING:
    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletionChunk
    from openai.types.chat.chat_completion_chunk import Choice, ChoiceDelta, ChoiceDeltaToolCall

FinishReason = Literal["stop", "length", "tools", "filtered"]

_REASONS: Mapping[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tools",
    "function_call": "tools",
    "content_filter": "filtered",
}


@dataclass(frozen=True, slots=True)
class Dialect:
    """The optional parameters a server takes. Learned from its refusals, see ``without``."""

    limit_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    limit_swapped: bool = False
    temperature: bool = True
    stream_options: bool = True

    def without(self, parameter: str) -> Dialect | None:
        """The dialect of a server that refused ``parameter``; ``None`` where nothing can be done about it."""
        if parameter == self.limit_name and not self.limit_swapped:
            other = "max_completion_tokens" if parameter == "max_tokens" else "max_tokens"
            return replace(self, limit_name=other, limit_swapped=True)
        if parameter == "temperature" and self.temperature:
            return replace(self, temperature=False)
        if parameter.startswith("stream_options") and self.stream_options:
            return replace(self, stream_options=False)
        return None


def request_body(request: ModelRequest, model: str, dialect: Dialect) -> dict[str, Any]:
    """The JSON body of a streamed completion."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [_message(message) for message in request.messages],
        "stream": True,
        dialect.limit_name: request.max_output_tokens,
    }
    if dialect.temperature:
        body["temperature"] = request.temperature
    if dialect.stream_options:
        body["stream_options"] = {"include_usage": True}
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
            }
            for tool in request.tools
        ]
        if request.tool_choice != "auto":
            body["tool_choice"] = _tool_choice(request.tool_choice)
    if request.schema is not None:
        form = {"name": "answer", "schema": request.schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    return body


def _tool_choice(choice: ToolChoice) -> str | dict[str, Any]:
    return {"type": "function", "function": {"name": choice.name}} if isinstance(choice, ToolNamed) else choice


def _message(message: Message) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.tool_call_id is not None:
        wire["tool_call_id"] = message.tool_call_id
    if message.tool_requests:
        wire["content"] = message.text or None
        wire["tool_calls"] = [
            {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_requests
        ]
    return wire


@dataclass(slots=True)
class _Call:
    index: int
    call_id: str
    name: str
    arguments: str


class CompletionReader:
    """Reads one streamed completion. ``feed`` every chunk; then ``tool_requests`` and ``finished``."""

    def __init__(self, request: ModelRequest) -> None:
        self._request = request
        self._calls: list[_Call] = []
        self._text: list[str] = []
        self._reason: FinishReason | None = None
        self._usage: TokenUsage | None = None
        self._prompt_filtered: tuple[FilteredCategory, ...] = ()
        self._filtered: dict[str, FilteredCategory] = {}
        self._verdict: ContentFilter | None = None
        self.prepares = False
        """Whether the last chunk was a piece of a tool request."""

    @property
    def complete(self) -> bool:
        """The server said why it stopped; only the usage may still come."""
        return self._reason is not None

    def feed(self, chunk: ChatCompletionChunk) -> str:
        """Take one chunk; the text it adds, often empty. Raises any error where the chunk is malformed."""
        self.prepares = False
        if chunk.usage is not None:
            self._usage = _usage(chunk.usage)
        self._prompt_filtered += prompt_categories(_extra(chunk, "prompt_filter_results"))
        if not chunk.choices:  # the usage report, Azure's prompt filter; null on some servers
            return ""
        choice = chunk.choices[0]
        if choice.finish_reason:
            self._reason = _REASONS.get(choice.finish_reason, "stop")
        self._judge(_extra(choice, "content_filter_results"))
        if self._reason == "filtered":  # what comes with the verdict, or after it, is not for anybody's ears
            return ""
        # The SDK types this as never null; servers disagree.
        delta = cast("ChoiceDelta | None", choice.delta)
        if delta is None:
            return ""
        for call in delta.tool_calls or ():
            self.prepares = True
            self._add_call(call)
        text = cast("object", delta.content or delta.refusal or "")
        if not isinstance(text, str):
            raise TypeError("a chunk's text is no text")
        self._text.append(text)
        return text

    def refuse(self, verdict: ContentFilter) -> None:
        """The provider's content filter ended it from outside the stream."""
        self._reason, self._verdict = "filtered", verdict

    def tool_requests(self) -> tuple[ToolRequest, ...]:
        """The tools asked for, in order, with an id each. A call without a name is not one."""
        named = [call for call in self._calls if call.name and self._reason != "filtered"]
        return tuple(
            ToolRequest(call.call_id or f"call_{number}", call.name, call.arguments or "{}")
            for number, call in enumerate(named)
        )

    def finished(self) -> Finished:
        """The closing event; usage is estimated where the server reported none."""
        usage = self._usage
        if usage is None:
            written = "".join(self._text) + "".join(call.name + call.arguments for call in self._calls)
            usage = estimate_usage(self._request.messages, written)
        reason = self._reason or "stop"
        # Some servers close a round of tool calls with "stop".
        reason = "tools" if reason == "stop" and self.tool_requests() else reason
        return Finished(reason, usage, self._ruling() if reason == "filtered" else None)

    def _judge(self, results: object) -> None:
        """An annotation may come with the text or, where Azure filters asynchronously, long after it."""
        self._filtered |= {category.name: category for category in categories_of(results)}
        if self._filtered:
            self._reason = "filtered"

    def _ruling(self) -> ContentFilter:
        if self._verdict is not None:
            return self._verdict
        if self._prompt_filtered and not self._filtered:
            return ContentFilter("prompt", self._prompt_filtered)
        return ContentFilter("completion", tuple(self._filtered.values()))

    def _add_call(self, delta: ChoiceDeltaToolCall) -> None:
        name = (delta.function.name if delta.function else None) or ""
        arguments = (delta.function.arguments if delta.function else None) or ""
        call_id = delta.id or ""
        call = self._open_call(delta.index, call_id, name)
        if call is None:
            self._calls.append(_Call(delta.index, call_id, name, arguments))
            return
        call.call_id = call.call_id or call_id
        call.name = call.name or name
        call.arguments += arguments

    def _open_call(self, index: int, call_id: str, name: str) -> _Call | None:
        for call in reversed(self._calls):
            if call.index != index:
                continue
            # Some servers give every call index 0: a new id, or a whole new name, is a new call.
            other_id = bool(call_id and call.call_id and call_id != call.call_id)
            named_again = bool(name and call.name and not call_id)
            return None if other_id or named_again else call
        return None


def _extra(part: ChatCompletionChunk | Choice, name: str) -> object:
    """A field the SDK has no name for."""
    return (part.model_extra or {}).get(name)


def _usage(usage: CompletionUsage) -> TokenUsage:
    details = usage.prompt_tokens_details
    cached = (details.cached_tokens if details else None) or 0
    written = usage.completion_tokens_details
    reasoning = (written.reasoning_tokens or 0) if written else 0
    return TokenUsage(usage.prompt_tokens or 0, cached, usage.completion_tokens or 0, reasoning_tokens=reasoning)
