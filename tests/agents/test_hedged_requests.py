"""Hedged requests over HTTP, through the genuine SDK: the loser's connection really ends, and nothing is billed for
what was refused."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import anyio
import pytest
from fake_chat_server import DONE, STOP, FakeChatServer, Script, chunk, running_server, usage

from agents.errors import ModelTimeout, ModelUnavailable
from agents.models.fallback import FallbackModel, GuardedModel
from agents.models.hedging import FLOOR_S
from agents.models.openai_client import OpenAICompatibleConfig
from agents.models.openai_compatible import OpenAICompatibleModel
from agents.models.port import (
    AnsweredBy,
    Asked,
    Finished,
    LanguageModel,
    Message,
    ModelEvent,
    ModelRequest,
    Overtaken,
    TextDelta,
    TokenUsage,
)
from agents.models.tokens import estimate_usage
from audio.pace import FEWEST

REQUEST = ModelRequest((Message("system", "Be brief."), Message("user", "Hello there")), hedge=True)
PROMPT = estimate_usage(REQUEST.messages, "")
ANSWER = (chunk("Hi "), chunk("you."), STOP, usage(), DONE)
LIMIT_S = 20.0


@pytest.fixture
async def servers() -> AsyncGenerator[tuple[FakeChatServer, FakeChatServer]]:
    async with running_server() as first, running_server() as second:
        yield first, second


@pytest.fixture
async def model(servers: tuple[FakeChatServer, FakeChatServer]) -> AsyncGenerator[FallbackModel]:
    """Two deployments, the first of which is known to be quick."""
    configs = [
        OpenAICompatibleConfig(name, server.url, "sk-secret", connect_s=LIMIT_S, first_event_s=LIMIT_S, gap_s=LIMIT_S)
        for name, server in zip(("big", "small"), servers, strict=True)
    ]
    guarded = [GuardedModel(OpenAICompatibleModel(config)) for config in configs]
    for _ in range(FEWEST):
        guarded[0].pace.note(FLOOR_S / 2)
    fallback = FallbackModel(guarded, takeover_s=LIMIT_S)
    yield fallback
    await fallback.aclose()


async def heard(model: LanguageModel, request: ModelRequest) -> list[ModelEvent]:
    with anyio.fail_after(LIMIT_S):
        async with aclosing(model.stream(request)) as events:
            return [event async for event in events]


def names(events: list[ModelEvent], kind: type[Asked | Overtaken | AnsweredBy]) -> list[str]:
    return [event.profile.model for event in events if isinstance(event, kind)]


async def test_the_loser_is_closed_while_the_winner_still_speaks(
    servers: tuple[FakeChatServer, FakeChatServer], model: FallbackModel
) -> None:
    big, small = servers
    big.answer(anyio.Event())
    goes_on = anyio.Event()
    small.answer(chunk("Hi "), goes_on, *ANSWER[1:])
    events: list[ModelEvent] = []
    with anyio.fail_after(LIMIT_S):
        async with aclosing(model.stream(REQUEST)) as stream:
            async for event in stream:
                events.append(event)
                if isinstance(event, TextDelta) and not goes_on.is_set():
                    await big.requests[0].client_gone.wait()
                    goes_on.set()
    assert names(events, AnsweredBy) == ["small"]
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["Hi ", "you."]
    assert [event for event in events if isinstance(event, Overtaken)] == [
        Overtaken(model.models[0].profile, PROMPT),
    ]
    assert events[-1] == Finished("stop", TokenUsage(11, 4, 3))


async def test_whoever_leaves_ends_both_requests(
    servers: tuple[FakeChatServer, FakeChatServer], model: FallbackModel
) -> None:
    for server in servers:
        server.answer(anyio.Event())
    async with aclosing(model.stream(REQUEST)) as stream, anyio.create_task_group() as tasks:

        async def read() -> None:
            async for event in stream:
                assert isinstance(event, Asked)

        tasks.start_soon(read)
        with anyio.fail_after(LIMIT_S):
            for server in servers:
                await server.reached.wait()
        tasks.cancel_scope.cancel()
    with anyio.fail_after(LIMIT_S):
        for server in servers:
            await server.requests[0].client_gone.wait()


@pytest.mark.parametrize(
    ("script", "cost"),
    [
        (Script(status=500, steps=(b"{}",)), TokenUsage()),
        (Script(status=429, steps=(b"{}",)), TokenUsage()),
        (Script(status=401, steps=(b"{}",)), TokenUsage()),
        (Script(steps=(chunk("", delta={"role": "assistant"}),), cut=True), PROMPT),
    ],
)
async def test_what_was_refused_cost_nothing_and_what_broke_off_did(
    servers: tuple[FakeChatServer, FakeChatServer], model: FallbackModel, script: Script, cost: TokenUsage
) -> None:
    big, small = servers
    big.scripts.append(script)
    small.answer(*ANSWER)
    events = await heard(model, ModelRequest(REQUEST.messages))
    assert [event.usage for event in events if isinstance(event, Overtaken)] == [cost]
    assert names(events, AnsweredBy) == ["small"]


async def test_nobody_there_cost_nothing_and_a_gateway_that_gave_up_did(
    servers: tuple[FakeChatServer, FakeChatServer],
) -> None:
    servers[0].refuse(504)
    for url, kind, has_cost in (
        ("http://127.0.0.1:9/v1", ModelUnavailable, False),
        (servers[0].url, ModelTimeout, True),
    ):
        model = OpenAICompatibleModel(OpenAICompatibleConfig("m", url, "sk-secret", connect_s=LIMIT_S))
        with pytest.raises(kind) as caught:
            await heard(model, REQUEST)
        assert caught.value.has_cost is has_cost
        await model.aclose()
