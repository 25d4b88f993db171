"""One agent: who it is, and the loop that turns a conversation into a reply.

Owns the rounds of a reply (model, tools, model again), their limits and their usage. Knows nothing of audio, turns or
sessions: the turn gives the messages and an event that says it is certain, and reads parts until the last. Shared by
all conversations with this agent; the state of a reply lives in its generator.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Literal

import anyio

from agents.call_log import CallLog
from agents.errors import ModelTimeout
from agents.loop.brief import NO_BRIEF, Brief
from agents.loop.model_calls import ModelCalls
from agents.loop.offline_tools import arguments_request, meant_tool, needs_arguments, request_for
from agents.loop.reply_parts import (
    ReplyDelta,
    ReplyFinished,
    ReplyLimits,
    ReplyPart,
    ToolEnded,
    ToolHandedOver,
    ToolStarted,
    WhoAnswers,
)
from agents.loop.router import OfflineRouter
from agents.models.fitting import as_text, without_tools
from agents.models.port import (
    AnsweredBy,
    Asked,
    ContentFilter,
    Finished,
    LanguageModel,
    Message,
    ModelEvent,
    ModelProfile,
    ModelRequest,
    Overtaken,
    Preparing,
    QuotaSpent,
    SessionModel,
    TextDelta,
    TokenUsage,
    ToolRequest,
)
from agents.tools.runner import Certainty, ToolOutcome, ToolRunner
from agents.tools.tool import Tool
from audio.fallback import OnDegraded

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


@dataclass(slots=True)
class _Round:
    """What one completion came to. ``log`` is that of the whole reply."""

    log: CallLog
    text: str = ""
    requests: tuple[ToolRequest, ...] = ()
    outcomes: tuple[ToolOutcome, ...] = ()
    handed_over: bool = False
    finished: Finished | None = None
    profile: ModelProfile | None = None


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
    def model(self) -> LanguageModel:
        return self._model

    @property
    def profile(self) -> ModelProfile:
        return self._model.profile

    def for_session(self, on_degraded: OnDegraded) -> Agent:
        """The same agent, telling this session when another model has to step in."""
        model = self._model
        return self.on(lambda _: model.for_session(on_degraded)) if isinstance(model, SessionModel) else self

    def on(self, model: Callable[[LanguageModel], LanguageModel]) -> Agent:
        """The same agent on a model made of its own."""
        return Agent(self._spec, model(self._model), self._router)

    def as_spec(self, spec: AgentSpec) -> Agent:
        """Another agent on the same model."""
        return Agent(spec, self._model, self._router)

    def has_effects(self, tool: str) -> bool:
        """Whether a tool of the agent's own changes anything anywhere."""
        return self._runner.has_effects(tool)

    async def warm_up(self) -> None:
        """Make the first reply fast. Raises ModelError."""
        await self._model.warm_up((self._system,))

    async def reply(
        self,
        messages: tuple[Message, ...],
        *,
        committed: Certainty,
        limits: ReplyLimits,
        brief: Brief = NO_BRIEF,
        log: CallLog | None = None,
    ) -> AsyncGenerator[ReplyPart]:
        """Answer a conversation that ends with the user's words.

        The agent's instructions are put in front where ``messages`` bring no system message of their own. Tools with
        effects wait for ``committed``. ``brief`` is what the client asks for; ``log`` is told of every request and
        tool. Close the generator to stop: the request is closed with it.

        Raises:
            ModelError: the model failed; what was yielded before stands.
        """
        if not messages or messages[0].role != "system":
            messages = (self._system, *messages)
        if not self.profile.tools:
            messages = as_text(messages) if brief.tools else without_tools(messages)
            async for part in self._without_asking(messages, committed, limits, brief, log or CallLog()):
                yield part
                if isinstance(part, ReplyFinished):
                    return
        rounds, calls = list[_Round](), 0
        for number in range(self._spec.max_tool_rounds + 1):
            this = _Round(log or CallLog())
            rounds.append(this)
            request = self._request(messages, brief, number, limits)
            async with aclosing(self._round(request, this, limits)) as deltas:
                async for delta in deltas:
                    yield delta
            assert this.finished is not None
            if not this.requests or not request.tools:
                yield _finished(rounds, calls, this.finished.reason, this.finished.verdict)
                return
            calls += len(this.requests)
            async for part in self._use_tools(this, committed, brief):
                yield part
            if this.handed_over:
                yield _finished(rounds, calls, "tools")
                return
            messages = (*messages, *_tool_messages(this))

    async def _use_tools(self, this: _Round, committed: Certainty, brief: Brief) -> AsyncGenerator[ReplyPart]:
        """Run the agent's own tools, then hand over the client's."""
        ours = tuple(request for request in this.requests if not brief.owns(request.name))
        for request in ours:
            yield ToolStarted(request)
        this.outcomes = await self._run_all(ours, committed, this.log)
        for request, outcome in zip(ours, this.outcomes, strict=True):
            yield ToolEnded(request, outcome)
        for request in this.requests:
            if brief.owns(request.name):
                this.handed_over = True
                yield ToolHandedOver(request)

    def _request(self, messages: tuple[Message, ...], brief: Brief, number: int, limits: ReplyLimits) -> ModelRequest:
        """What the model is asked in the reply's round ``number``."""
        may_call = self.profile.tools and number < self._spec.max_tool_rounds and brief.tool_choice != "none"
        # Who must call a tool must call one of the client's, which waits for it.
        agents_own = tuple(spec for spec in self._runner.specs if not brief.owns(spec.name) and not brief.must_call)
        return ModelRequest(
            messages=messages,
            tools=(*brief.tools, *agents_own) if may_call else (),
            # Once a tool has answered, the model may speak: else it would have to call tools for ever.
            tool_choice=brief.tool_choice if number == 0 else "auto",
            max_output_tokens=brief.max_output_tokens or self._spec.max_output_tokens,
            temperature=self._spec.temperature if brief.temperature is None else brief.temperature,
            within_s=limits.within_s if number == 0 else None,
            hedge=limits.hedge and number == 0,
        )

    async def _round(
        self, request: ModelRequest, this: _Round, limits: ReplyLimits
    ) -> AsyncGenerator[ReplyDelta | WhoAnswers]:
        who, until_s = self.profile, anyio.current_time() + limits.first_event_s
        with this.log.ending("chat"):
            calls = ModelCalls(this.log, who)
            async with aclosing(self._model.stream(request)) as events:
                while (event := await self._next(events, until_s)) is not None:
                    if isinstance(event, Asked | Overtaken):  # that is no answer
                        calls.note(event)
                        yield event
                        continue
                    until_s = anyio.current_time() + limits.gap_s
                    match event:
                        case TextDelta(text):
                            calls.current.first()
                            this.text += text
                            yield ReplyDelta(text)
                        case ToolRequest():
                            calls.current.first()
                            this.requests = (*this.requests, event)
                        case AnsweredBy(profile):
                            this.profile = profile
                            calls.note(event)
                            yield event
                        case Finished():
                            calls.current.first()
                            this.finished = calls.current.finished = event
                        case Preparing():
                            calls.current.first()
                        case QuotaSpent():
                            pass

    async def _next(self, events: AsyncGenerator[ModelEvent], until_s: float) -> ModelEvent | None:
        try:
            with anyio.fail_after(until_s - anyio.current_time()):
                return await anext(events)
        except StopAsyncIteration:
            return None
        except TimeoutError as error:
            raise ModelTimeout("The language model did not answer in time.", provider=self.profile.provider) from error

    async def _run_all(
        self, requests: tuple[ToolRequest, ...], committed: Certainty, log: CallLog
    ) -> tuple[ToolOutcome, ...]:
        outcomes: dict[int, ToolOutcome] = {}

        async def run(number: int, request: ToolRequest) -> None:
            outcomes[number] = await self._run_tool(request, committed, log)

        async with anyio.create_task_group() as group:
            for number, request in enumerate(requests[:MAX_PARALLEL_TOOLS]):
                group.start_soon(run, number, request)
        refused = ToolOutcome('{"error": "Too many tools at once; ask again."}', error=True, duration_ms=0)
        return tuple(outcomes.get(number, refused) for number in range(len(requests)))

    async def _run_tool(self, request: ToolRequest, committed: Certainty, log: CallLog) -> ToolOutcome:
        with log.open("execute_tool", "agent", request.name) as call:
            return await self._runner.run(request, committed, call.began)

    async def _without_asking(
        self,
        messages: tuple[Message, ...],
        committed: Certainty,
        limits: ReplyLimits,
        brief: Brief,
        log: CallLog,
    ) -> AsyncGenerator[ReplyPart]:
        """The whole reply, where rules say that a tool is meant; else nothing."""
        question = messages[-1]
        tool = meant_tool(question.text, brief) if question.role == "user" else None
        if tool is None:
            async for part in self._routed(question, committed, brief, log):
                yield part
            return
        written = _Round(log)
        if needs_arguments(tool):
            request = arguments_request(question.text, tool, messages[0])
            async with aclosing(self._round(request, written, limits)) as deltas:
                async for delta in deltas:
                    if not isinstance(delta, ReplyDelta):
                        yield delta
        yield ToolHandedOver(request_for(tool, written.text or "{}", f"call_{uuid.uuid4().hex[:24]}"))
        yield _finished([written], 1, "tools")

    async def _routed(
        self, question: Message, committed: Certainty, brief: Brief, log: CallLog
    ) -> AsyncGenerator[ReplyPart]:
        """The whole reply, where a tool answers the question and the model cannot ask for it; else nothing."""
        may_call = question.role == "user" and brief.tool_choice != "none"
        route = self._router.route(question.text) if may_call else None
        if route is None or not self._runner.knows(route.request.name):
            return
        outcome = await self._run_tool(route.request, committed, log)
        if outcome.error:
            return
        yield ToolStarted(route.request)
        yield ToolEnded(route.request, outcome)
        yield ReplyDelta(route.answer(outcome.output))
        yield ReplyFinished(TokenUsage(), 1, "stop")


def _finished(
    rounds: list[_Round],
    tool_calls: int,
    reason: Literal["stop", "length", "tools", "filtered"],
    verdict: ContentFilter | None = None,
) -> ReplyFinished:
    spent = [(this.profile, this.finished.usage) for this in rounds if this.finished is not None]
    usage = sum((each for _, each in spent), TokenUsage())
    by_model = tuple((profile, each) for profile, each in spent if profile is not None)
    return ReplyFinished(usage, tool_calls, reason, verdict, by_model)


def _tool_messages(this: _Round) -> tuple[Message, ...]:
    results = (
        Message("tool", outcome.output, tool_call_id=request.call_id)
        for request, outcome in zip(this.requests, this.outcomes, strict=True)
    )
    return (Message("assistant", this.text, tool_requests=this.requests), *results)
