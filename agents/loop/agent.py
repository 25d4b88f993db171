"""One agent: who it is, and the loop that turns a conversation into a reply.

Owns the rounds of a reply (model, tools, model again), their limits and their usage. Knows nothing of audio, turns or
sessions: the turn gives the messages and an event that says it is certain, and reads parts until the last. Shared by
all conversations with this agent; the state of a reply lives in its generator.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Literal

import anyio

from agents.errors import ModelTimeout
from agents.loop.router import OfflineRouter
from agents.models.port import (
    Finished,
    LanguageModel,
    Message,
    ModelEvent,
    ModelProfile,
    ModelRequest,
    TextDelta,
    TokenUsage,
    ToolRequest,
)
from agents.tools.runner import ToolOutcome, ToolRunner
from agents.tools.tool import Tool

MAX_PARALLEL_TOOLS: Final = 8
"""Tool requests of one round that are run; a model that asks for more is told so."""


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """Who an agent is.

    ``description`` is for people who choose. ``greeting`` is spoken first where there is one; ``voice`` ``None`` is
    the engine's own. ``max_tool_rounds`` bounds how often one reply may go back to the model with tool results.
    """

    agent_id: str
    name: str
    instructions: str
    description: str = ""
    greeting: str | None = None
    voice: str | None = None
    locale: str = "en-US"
    tools: tuple[Tool, ...] = ()
    max_output_tokens: int = 256
    temperature: float = 0.6
    max_tool_rounds: int = 4


def default_agent_spec(name: str = "Convergio", tools: tuple[Tool, ...] = ()) -> AgentSpec:
    """A friendly assistant for general use. Its instructions are short: a small model follows no long ones."""
    return AgentSpec(
        agent_id="default",
        name=name,
        instructions=(
            f"You are {name}, a friendly voice assistant. Answer in one or two short spoken sentences. "
            "Be warm, clear and honest."
        ),
        description="A friendly assistant for general use.",
        greeting=f"Hi, I'm {name}. How can I help?",
        tools=tools,
    )


@dataclass(frozen=True, slots=True)
class ReplyLimits:
    """How long a reply may keep silent: until the model's first event of a round, and between its events."""

    first_event_s: float
    gap_s: float


@dataclass(frozen=True, slots=True)
class ReplyDelta:
    """The next piece of the reply's text."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A tool is about to run."""

    request: ToolRequest


@dataclass(frozen=True, slots=True)
class ToolEnded:
    """A tool answered, or failed."""

    request: ToolRequest
    outcome: ToolOutcome


@dataclass(frozen=True, slots=True)
class ReplyFinished:
    """The reply is whole. ``reason`` is the last round's; ``tools`` where the rounds ran out."""

    usage: TokenUsage
    tool_calls: int
    reason: Literal["stop", "length", "tools", "filtered"]


ReplyPart = ReplyDelta | ToolStarted | ToolEnded | ReplyFinished
"""Any number of the others, then exactly one ``ReplyFinished``."""


@dataclass(slots=True)
class _Round:
    """What one completion came to."""

    text: str = ""
    requests: tuple[ToolRequest, ...] = ()
    finished: Finished | None = None


class Agent:
    """An agent on a model. Safe to share between conversations."""

    def __init__(self, spec: AgentSpec, model: LanguageModel, router: OfflineRouter | None = None) -> None:
        """``router`` finds tools for a model that cannot; by default the built-in one of the agent's language."""
        self._spec = spec
        self._model = model
        self._runner = ToolRunner(spec.tools)
        self._router = router or OfflineRouter(locale=spec.locale)
        self._system = Message("system", spec.instructions)

    @property
    def spec(self) -> AgentSpec:
        return self._spec

    @property
    def system_prompt(self) -> str:
        """What the model is told before the conversation."""
        return self._system.text

    @property
    def profile(self) -> ModelProfile:
        """The model that answers."""
        return self._model.profile

    async def warm_up(self) -> None:
        """Make the first reply fast. Raises ModelError."""
        await self._model.warm_up((self._system,))

    async def reply(
        self, messages: tuple[Message, ...], *, committed: anyio.Event, limits: ReplyLimits
    ) -> AsyncGenerator[ReplyPart]:
        """Answer a conversation that ends with the user's words.

        The agent's instructions are put in front where ``messages`` bring no system message of their own. Tools with
        effects wait for ``committed``. Close the generator to stop: the request is closed with it.

        Raises:
            ModelError: the model failed; what was yielded before stands.
        """
        if not messages or messages[0].role != "system":
            messages = (self._system, *messages)
        if not self.profile.tools:
            messages = _without_tools(messages)
            async for part in self._routed(messages[-1], committed):
                yield part
                if isinstance(part, ReplyFinished):
                    return
        usage, calls = TokenUsage(), 0
        for number in range(self._spec.max_tool_rounds + 1):
            this = _Round()
            may_call = self.profile.tools and number < self._spec.max_tool_rounds
            async with aclosing(self._round(messages, this, limits, may_call=may_call)) as deltas:
                async for delta in deltas:
                    yield delta
            assert this.finished is not None
            usage += this.finished.usage
            if not this.requests or not may_call:
                yield ReplyFinished(usage, calls, this.finished.reason)
                return
            for request in this.requests:
                yield ToolStarted(request)
            outcomes = await self._run_all(this.requests, committed)
            calls += len(outcomes)
            for request, outcome in zip(this.requests, outcomes, strict=True):
                yield ToolEnded(request, outcome)
            messages = (*messages, *_tool_messages(this, outcomes))

    async def _round(
        self, messages: tuple[Message, ...], this: _Round, limits: ReplyLimits, *, may_call: bool
    ) -> AsyncGenerator[ReplyDelta]:
        request = ModelRequest(
            messages=messages,
            tools=self._runner.specs if may_call else (),
            max_output_tokens=self._spec.max_output_tokens,
            temperature=self._spec.temperature,
        )
        limit_s = limits.first_event_s
        async with aclosing(self._model.stream(request)) as events:
            while (event := await self._next(events, limit_s)) is not None:
                limit_s = limits.gap_s
                match event:
                    case TextDelta(text):
                        this.text += text
                        yield ReplyDelta(text)
                    case ToolRequest():
                        this.requests = (*this.requests, event)
                    case Finished():
                        this.finished = event

    async def _next(self, events: AsyncGenerator[ModelEvent], limit_s: float) -> ModelEvent | None:
        try:
            with anyio.fail_after(limit_s):
                return await anext(events)
        except StopAsyncIteration:
            return None
        except TimeoutError as error:
            raise ModelTimeout("The language model did not answer in time.", provider=self.profile.provider) from error

    async def _run_all(self, requests: tuple[ToolRequest, ...], committed: anyio.Event) -> tuple[ToolOutcome, ...]:
        outcomes: dict[int, ToolOutcome] = {}

        async def run(number: int, request: ToolRequest) -> None:
            outcomes[number] = await self._runner.run(request, committed)

        async with anyio.create_task_group() as group:
            for number, request in enumerate(requests[:MAX_PARALLEL_TOOLS]):
                group.start_soon(run, number, request)
        refused = ToolOutcome('{"error": "Too many tools at once; ask again."}', error=True, duration_ms=0)
        return tuple(outcomes.get(number, refused) for number in range(len(requests)))

    async def _routed(self, question: Message, committed: anyio.Event) -> AsyncGenerator[ReplyPart]:
        """The whole reply, where a tool answers the question and the model cannot ask for it; else nothing."""
        route = self._router.route(question.text) if question.role == "user" else None
        if route is None or not self._runner.knows(route.request.name):
            return
        outcome = await self._runner.run(route.request, committed)
        if outcome.error:
            return
        yield ToolStarted(route.request)
        yield ToolEnded(route.request, outcome)
        yield ReplyDelta(route.answer(outcome.output))
        yield ReplyFinished(TokenUsage(), 1, "stop")


def _without_tools(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """For a model that knows no tools: what they answered was said aloud and stands there too."""
    return tuple(message for message in messages if message.role != "tool" and not message.tool_requests)


def _tool_messages(this: _Round, outcomes: tuple[ToolOutcome, ...]) -> tuple[Message, ...]:
    results = (
        Message("tool", outcome.output, tool_call_id=request.call_id)
        for request, outcome in zip(this.requests, outcomes, strict=True)
    )
    return (Message("assistant", this.text, tool_requests=this.requests), *results)
