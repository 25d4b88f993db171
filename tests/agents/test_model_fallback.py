"""Models that stand in for each other: who is asked, when somebody else takes over, and what is told of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import anyio
import pytest

from agents.errors import ModelError, ModelRateLimited, ModelRejected, ModelTimeout, ModelUnavailable, RequestRejected
from agents.models.fallback import FallbackModel, GuardedModel
from agents.models.fitting import fitted
from agents.models.port import (
    AnsweredBy,
    ContentFilter,
    Finished,
    Message,
    ModelEvent,
    ModelProfile,
    ModelRequest,
    Preparing,
    QuotaSpent,
    TextDelta,
    TokenUsage,
    ToolRequest,
    ToolSpec,
)
from agents.models.tokens import estimate_message_tokens
from audio.fallback import Degradation

HELLO = ModelRequest((Message("system", "Be brief."), Message("user", "Hello there.")))
DONE = Finished("stop", TokenUsage(10, 0, 2))
DOWN = ModelUnavailable("It cannot be reached.", provider="azure_openai")
Step = ModelEvent | Exception | anyio.Event


@dataclass
class Model:
    """Answers each request with the next of its scripts: events, an error to raise, an event to wait for."""

    name: str
    scripts: list[Sequence[Step]]
    tools: bool = True
    context_tokens: int = 8_192
    asked: list[ModelRequest] = field(default_factory=list[ModelRequest])
    warm_error: ModelError | None = None
    streams: int = 0

    @property
    def profile(self) -> ModelProfile:
        return ModelProfile("azure_openai", self.name, self.tools, self.context_tokens)

    async def warm_up(self, messages: tuple[Message, ...]) -> None:
        if self.warm_error is not None:
            raise self.warm_error

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        self.asked.append(request)
        self.streams += 1
        try:
            for step in self.scripts[min(len(self.asked), len(self.scripts)) - 1]:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, anyio.Event):
                    await step.wait()
                else:
                    yield step
        finally:
            self.streams -= 1

    async def aclose(self) -> None:
        """Nothing to release."""


class Several:
    """A fallback in a time of its own, and what one session was told."""

    def __init__(self, *models: Model, takeover_s: float = 30.0) -> None:
        self.now_s = 0.0
        self.told: list[Degradation] = []
        self.shared = FallbackModel([GuardedModel(m) for m in models], takeover_s=takeover_s, now_s=lambda: self.now_s)
        self.model = self.shared.for_session(self.told.append)

    async def ask(self, request: ModelRequest = HELLO, heard: list[ModelEvent] | None = None) -> list[ModelEvent]:
        """What came; into ``heard``, where it ends with an error."""
        events: list[ModelEvent] = [] if heard is None else heard
        async with aclosing(self.model.stream(request)) as stream:
            async for event in stream:
                events.append(event)  # noqa: PERF401 - what came before a failure counts, too
        return events

    @property
    def changes(self) -> list[tuple[str, str]]:
        return [(change.provider, change.instead) for change in self.told]


def good(name: str = "small", text: str = "Yes.", **more: object) -> Model:
    return Model(name, [(TextDelta(text), DONE)], **more)  # type: ignore[arg-type]


def said(events: list[ModelEvent]) -> tuple[str, list[str]]:
    words = "".join(event.text for event in events if isinstance(event, TextDelta))
    return words, [event.profile.model for event in events if isinstance(event, AnsweredBy)]


async def test_the_preferred_model_answers_and_is_named() -> None:
    several = Several(good("big", "Big."), good())
    assert said(await several.ask()) == ("Big.", ["big"])
    assert several.told == []


async def test_a_model_that_fails_gives_way_once_told_and_is_back_once_told() -> None:
    big = Model("big", [(DOWN,), (DOWN,), (TextDelta("Big."), DONE)])
    several = Several(big, good())
    assert said(await several.ask()) == ("Yes.", ["small"])
    assert said(await several.ask()) == ("Yes.", ["small"])
    assert said(await several.ask()) == ("Big.", ["big"])
    assert several.changes == [("azure_openai big", "azure_openai small"), ("azure_openai big", "azure_openai big")]
    assert several.told[0].error is DOWN
    assert several.told[1].error is None


async def test_nobody_else_is_asked_once_something_was_said() -> None:
    several = Several(Model("big", [(TextDelta("Once upon "), DOWN)]), small := good())
    heard: list[ModelEvent] = []
    with pytest.raises(ModelUnavailable):
        await several.ask(heard=heard)
    assert said(heard)[0] == "Once upon "
    assert small.asked == []


async def test_a_silent_model_is_overtaken_and_its_request_ended() -> None:
    several = Several(big := Model("big", [(anyio.Event(),)]), good(), takeover_s=0.05)
    assert said(await several.ask()) == ("Yes.", ["small"])
    assert big.streams == 0
    assert isinstance(several.told[0].error, ModelTimeout)


async def test_a_model_at_work_on_a_tool_request_is_not_overtaken() -> None:
    ready = anyio.Event()
    big = Model("big", [(Preparing(), ready, ToolRequest("c", "clock", "{}"), Finished("tools", TokenUsage()))])
    several = Several(big, small := good(), takeover_s=0.05)
    async with anyio.create_task_group() as tasks:
        events: list[ModelEvent] = []

        async def ask() -> None:
            events.extend(await several.ask())

        tasks.start_soon(ask)
        await anyio.sleep(0.15)  # longer than the takeover: it must not come
        ready.set()
    assert ToolRequest("c", "clock", "{}") in events
    assert small.asked == []


async def test_the_last_model_is_not_hurried() -> None:
    late = anyio.Event()
    several = Several(Model("only", [(late, TextDelta("Late."), DONE)]), takeover_s=0.01)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_set_later, late)
        assert said(await several.ask())[0] == "Late."


async def _set_later(event: anyio.Event) -> None:
    await anyio.sleep(0.05)
    event.set()


async def test_a_refusal_to_answer_for_good_ends_with_the_last_models_error() -> None:
    several = Several(Model("big", [(DOWN,)]), Model("small", [(ModelRejected("No key.", provider="x"),)]))
    with pytest.raises(ModelRejected):
        await several.ask()


async def test_what_a_content_filter_refuses_is_asked_of_nobody_else_and_is_no_failure() -> None:
    refused = Finished("filtered", TokenUsage(5, 0, 0, True), ContentFilter("prompt"))
    several = Several(Model("big", [(refused,)]), small := good())
    for _ in range(4):
        assert (await several.ask())[-1] == refused
    assert small.asked == []
    assert several.told == []


async def test_all_sessions_learn_of_an_outage_from_one_and_one_of_them_probes() -> None:
    big = Model("big", [(DOWN,)] * 3 + [(TextDelta("Big."), DONE)])
    several = Several(big, good())
    for _ in range(3):
        await several.ask()
    other = several.shared.for_session(several.told.append)
    async with aclosing(other.stream(HELLO)) as stream:
        assert said([event async for event in stream])[1] == ["small"]
    assert len(big.asked) == 3, "it is not asked while its breaker is open"
    assert several.model.profile.model == "small", "whoever would answer is named"
    several.now_s = 2.0
    assert said(await several.ask())[1] == ["big"]


async def test_a_rate_limit_opens_at_once_for_as_long_as_it_says() -> None:
    throttled = ModelRateLimited("Not now.", provider="azure_openai", retry_after_s=20)
    big = Model("big", [(throttled,), (TextDelta("Big."), DONE)])
    several = Several(big, good())
    for now_s in (0.0, 19.9):
        several.now_s = now_s
        assert said(await several.ask())[1] == ["small"]
    assert len(big.asked) == 1
    several.now_s = 20.0
    assert said(await several.ask())[1] == ["big"]


async def test_a_rate_limit_that_names_no_time_opens_at_once_too() -> None:
    big = Model("big", [(ModelRateLimited("Not now.", provider="azure_openai"),)])
    several = Several(big, good())
    for _ in range(2):
        await several.ask()
    assert len(big.asked) == 1


async def test_nothing_is_asked_before_the_reset_where_nothing_is_left() -> None:
    big = Model("big", [(QuotaSpent(30.0), TextDelta("Last."), DONE), (TextDelta("New."), DONE)])
    several = Several(big, good())
    first = await several.ask()
    assert said(first)[0] == "Last."
    assert QuotaSpent(30.0) not in first
    several.now_s = 29.0
    assert said(await several.ask())[1] == ["small"]
    several.now_s = 30.0
    assert said(await several.ask())[0] == "New."
    assert len(big.asked) == 2


async def test_the_only_model_is_not_asked_before_its_time_and_says_how_long() -> None:
    throttled = ModelRateLimited("Not now.", provider="azure_openai", retry_after_s=20)
    several = Several(only := Model("only", [(throttled,), (TextDelta("Yes."), DONE)]))
    for now_s, wait_s in ((0.0, 20.0), (15.0, 5.0)):
        several.now_s = now_s
        with pytest.raises(ModelRateLimited) as caught:
            await several.ask()
        assert caught.value.retry_after_s == wait_s
    assert len(only.asked) == 1


async def test_the_only_model_is_asked_though_it_failed() -> None:
    several = Several(only := Model("only", [(DOWN,)] * 5 + [(TextDelta("Yes."), DONE)]))
    for _ in range(5):
        with pytest.raises(ModelUnavailable):
            await several.ask()
    assert said(await several.ask())[0] == "Yes."
    assert len(only.asked) == 6


async def test_a_request_that_is_refused_for_itself_troubles_no_other() -> None:
    too_large = RequestRejected("Too large.", provider="azure_openai")
    big = Model("big", [(too_large,), (too_large,), (too_large,), (TextDelta("Big."), DONE)])
    several = Several(big, good())
    for _ in range(3):
        assert said(await several.ask())[1] == ["small"]
    assert said(await several.ask())[1] == ["big"]


async def test_a_probe_that_was_interrupted_after_its_first_word_closes_the_breaker() -> None:
    big = Model("big", [(DOWN,)] * 3 + [(TextDelta("Big "), anyio.Event()), (TextDelta("Big."), DONE)])
    several = Several(big, good())
    for _ in range(3):
        await several.ask()
    several.now_s = 2.0
    async with aclosing(several.model.stream(HELLO)) as stream:
        async for event in stream:
            if isinstance(event, TextDelta):
                break
    assert several.shared.models[0].breaker.last_error is None


async def test_a_stand_in_without_tools_and_with_little_room_gets_what_it_can_take() -> None:
    tiny = good("tiny", tools=False, context_tokens=600)
    several = Several(Model("big", [(DOWN,)]), tiny)
    call = ToolRequest("c1", "clock", "{}")
    old = [Message("user", "A long story. " * 30), Message("assistant", "I see. " * 30)] * 6
    asked = ModelRequest(
        (
            Message("system", "Be brief."),
            *old,
            Message("user", "What time is it?"),
            Message("assistant", "", (call,)),
            Message("tool", '{"time": "12:00"}', tool_call_id="c1"),
        ),
        tools=(ToolSpec("clock", "Tells the time.", {}),),
        tool_choice="required",
        max_output_tokens=100,
    )
    await several.ask(asked)
    (given,) = tiny.asked
    assert given.tools == ()
    assert given.messages[0] == Message("system", "Be brief.")
    assert given.messages[-1] == Message("system", 'Result of clock: {"time": "12:00"}')
    assert given.messages[-2] == Message("user", "What time is it?")
    assert all(not message.tool_requests for message in given.messages)
    assert sum(map(estimate_message_tokens, given.messages)) <= 500


def test_a_message_that_is_larger_than_the_context_is_shortened() -> None:
    request = ModelRequest((Message("system", "s " * 5_000), Message("user", "u " * 5_000)), max_output_tokens=100)
    messages = fitted(request, ModelProfile("embedded", "tiny", False, 600)).messages
    assert [message.role for message in messages] == ["system", "user"]
    assert all(message.text for message in messages)
    assert sum(map(estimate_message_tokens, messages)) <= 520


async def test_warming_up_needs_one_of_them_and_remembers_who_failed() -> None:
    several = Several(Model("big", [], warm_error=DOWN), good())
    await several.shared.warm_up(())
    assert several.shared.models[0].breaker.last_error is DOWN
    alone = Several(Model("big", [], warm_error=DOWN))
    with pytest.raises(ModelUnavailable):
        await alone.shared.warm_up(())
