"""The language-model port: a conversation in, a stream of model events out.

One ``LanguageModel`` per process and provider deployment, shared by all sessions. Cancelling the consuming task (or
closing the generator) really stops the request.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from audio.fallback import OnDegraded


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the model sees it. ``parameters`` is a JSON Schema object."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """The model asks for a tool. ``arguments`` is JSON text, not yet checked."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of the conversation as the model reads it.

    ``tool_requests`` only on assistant messages; ``tool_call_id`` only on tool messages.
    """

    role: Literal["system", "user", "assistant", "tool"]
    text: str
    tool_requests: tuple[ToolRequest, ...] = ()
    tool_call_id: str | None = None


ToolMode = Literal["auto", "none", "required"]


@dataclass(frozen=True, slots=True)
class ToolNamed:
    """The model must call this tool."""

    name: str


ToolChoice = ToolMode | ToolNamed
"""Whether the model may, must not or must call a tool, or which one."""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """Everything one completion needs. ``tool_choice`` says nothing where there are no ``tools``.

    With a ``schema`` (JSON Schema object) the answer is JSON of that form, where the model's server can hold it to one.
    Where models stand in for each other, ``within_s`` is when whoever asks needs the first of the answer (``None``: no
    sooner than they would take over anyway), and ``hedge`` whether another may be asked beside one that is silent.
    """

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: ToolChoice = "auto"
    schema: dict[str, Any] | None = None
    max_output_tokens: int = 512
    temperature: float = 0.6
    within_s: float | None = None
    hedge: bool = False


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of text."""

    text: str


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one completion. ``estimated`` where the provider did not report them (a cancelled stream).

    ``reasoning_tokens`` are part of the output, as ``cached_input_tokens`` are of the input.
    """

    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    estimated: bool = False
    reasoning_tokens: int = 0

    def __add__(self, other: TokenUsage) -> TokenUsage:
        return TokenUsage(
            self.input_tokens + other.input_tokens,
            self.cached_input_tokens + other.cached_input_tokens,
            self.output_tokens + other.output_tokens,
            self.estimated or other.estimated,
            self.reasoning_tokens + other.reasoning_tokens,
        )


@dataclass(frozen=True, slots=True)
class FilteredCategory:
    """What a provider's content filter objected to: its name (``violence``) and, where it has one, how severe."""

    name: str
    severity: str | None = None


@dataclass(frozen=True, slots=True)
class ContentFilter:
    """A content filter refused what was asked (``prompt``) or answered (``completion``). Never holds the text."""

    stage: Literal["prompt", "completion"]
    categories: tuple[FilteredCategory, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """The completion is over. Where ``reason`` is ``filtered`` there is a ``verdict``."""

    reason: Literal["stop", "length", "tools", "filtered"]
    usage: TokenUsage
    verdict: ContentFilter | None = None


@dataclass(frozen=True, slots=True)
class Preparing:
    """The model is at work on something that comes whole: a tool request. It is not silent, but nothing can be said."""


@dataclass(frozen=True, slots=True)
class QuotaSpent:
    """The provider answers this request and has nothing left for others in the next ``rest_s`` seconds."""

    rest_s: float


@dataclass(frozen=True, slots=True)
class Asked:
    """Of several models this one is asked now, perhaps beside another. ``usage`` is what its work costs at the least
    (its prompt, estimated): should the stream be closed before more is told of it, that is the account."""

    profile: ModelProfile
    usage: TokenUsage


@dataclass(frozen=True, slots=True)
class Overtaken:
    """A model that was asked and whose answer is not used, with what it cost (estimated unless it came to its end).

    One that refused before working on the request (rate limit, key, nobody there) cost nothing; one that was too late,
    lost to another, or broke off before its first word did. ``error_code`` is why it failed, ``None`` where another
    merely was quicker.
    """

    profile: ModelProfile
    usage: TokenUsage
    error_code: str | None = None


@dataclass(frozen=True, slots=True)
class AnsweredBy:
    """Of several models this one answers; comes before what it says."""

    profile: ModelProfile


ModelEvent = TextDelta | ToolRequest | Preparing | QuotaSpent | Asked | Overtaken | AnsweredBy | Finished
"""Any of the others in any order, then exactly one ``Finished``. Models that stand in for each other tell ``Asked`` of
each that is asked, then of each either ``Overtaken`` or ``AnsweredBy``, once, unless its error ends the stream."""


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """What a model is and can do, as data. ``own``: it is asked with the tenant's own key."""

    provider: str
    model: str
    tools: bool = True
    context_tokens: int = 8_192
    own: bool = False


class LanguageModel(Protocol):
    """A model, shared by all sessions."""

    @property
    def profile(self) -> ModelProfile: ...

    async def warm_up(self, messages: tuple[Message, ...]) -> None:
        """Make the first real request fast (load, connect, prime the prompt cache). Raises ModelError."""
        ...

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        """Run one completion. Raises ModelError before or between events."""
        ...

    async def aclose(self) -> None:
        """Release connections and child processes."""
        ...


@runtime_checkable
class SessionModel(LanguageModel, Protocol):
    """A model that tells each session when another steps in."""

    def for_session(self, on_degraded: OnDegraded) -> LanguageModel:
        """The same model, telling this session."""
        ...
