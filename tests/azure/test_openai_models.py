"""Azure OpenAI as the agent's model: our adapter and the genuine SDK against a local resource that misbehaves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import anyio
import pytest
from anyio import to_thread
from azure.openai_endpoint import KEY, TOKEN, OpenAIEndpoint, openai_endpoint

from agents.errors import KeyRejected, ModelError, ModelRateLimited, ModelRejected, ModelTimeout, ModelUnavailable
from agents.models.openai_client import OpenAICompatibleConfig
from agents.models.openai_compatible import OpenAICompatibleModel
from agents.models.port import (
    ContentFilter,
    FilteredCategory,
    Finished,
    Message,
    ModelEvent,
    ModelRequest,
    QuotaSpent,
    TextDelta,
)
from audio.azure.credentials import Credential, Secret, TokenCredential
from audio.errors import EngineUnavailable
from server.azure_tokens import AzureTokens

HELLO = ModelRequest((Message("system", "Be brief."), Message("user", "Please greet me.")))
GREETING = "Good morning. The robot is ready."


@pytest.fixture
def endpoint() -> Iterator[OpenAIEndpoint]:
    with openai_endpoint() as running:
        yield running


def config_for(endpoint: OpenAIEndpoint, **fields: Any) -> OpenAICompatibleConfig:
    config = OpenAICompatibleConfig(
        "gpt-voice", endpoint.url, KEY, kind="azure", connect_s=10.0, first_event_s=10.0, gap_s=10.0
    )
    return replace(config, **fields)


async def ask(config: OpenAICompatibleConfig) -> list[ModelEvent]:
    model = OpenAICompatibleModel(config)
    try:
        async with aclosing(model.stream(HELLO)) as events:
            return [item async for item in events]
    finally:
        await model.aclose()


def text_of(events: list[ModelEvent]) -> str:
    return "".join(item.text for item in events if isinstance(item, TextDelta))


def finished(events: list[ModelEvent]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


@pytest.mark.parametrize(
    ("version", "path", "header"),
    [
        (None, "/openai/v1/chat/completions", ("authorization", f"Bearer {KEY}")),
        (
            "2024-10-21",
            "/openai/deployments/gpt-voice/chat/completions?api-version=2024-10-21",
            ("api-key", KEY),
        ),
    ],
)
@pytest.mark.parametrize("tail", ["", "/", "/openai/v1/"])
async def test_both_surfaces_answer_a_key(
    endpoint: OpenAIEndpoint, version: str | None, path: str, header: tuple[str, str], tail: str
) -> None:
    events = await ask(config_for(endpoint, api_version=version, base_url=f"{endpoint.url}{tail}"))
    assert text_of(events) == GREETING
    assert finished(events).usage.input_tokens == 40
    assert not finished(events).usage.estimated
    (asked,) = endpoint.asked
    assert asked.path == path
    assert asked.headers[header[0]] == header[1]
    assert asked.body["stream_options"] == {"include_usage": True}
    assert "max_completion_tokens" in asked.body


@pytest.mark.parametrize("version", [None, "2024-10-21"])
async def test_both_surfaces_answer_a_token_that_is_asked_for_before_each_request(
    endpoint: OpenAIEndpoint, version: str | None
) -> None:
    handed_out: list[str] = []

    async def token() -> str:
        handed_out.append(TOKEN)
        return TOKEN

    model = OpenAICompatibleModel(config_for(endpoint, api_version=version, token=token, api_key="none"))
    for _ in range(2):
        async with aclosing(model.stream(HELLO)) as events:
            assert text_of([item async for item in events]) == GREETING
    await model.aclose()
    assert [asked.headers["authorization"] for asked in endpoint.asked] == [f"Bearer {TOKEN}"] * 2
    assert all("api-key" not in asked.headers for asked in endpoint.asked)
    assert len(handed_out) == 2


class Identity:
    """A managed identity that can be had, or not. Counts how often its service was asked."""

    def __init__(self, *outcomes: str | Exception) -> None:
        self.outcomes = list(outcomes)
        self.asked = 0

    def make(self) -> Credential:
        return TokenCredential(self.provide, "a test's identity")

    def provide(self) -> Secret:
        outcome = self.outcomes[min(self.asked, len(self.outcomes) - 1)]
        self.asked += 1
        if isinstance(outcome, Exception):
            raise outcome
        return Secret("token", outcome, 9e9)


async def test_a_managed_identity_is_asked_once_for_many_requests(endpoint: OpenAIEndpoint) -> None:
    identity = Identity(TOKEN)
    model = OpenAICompatibleModel(config_for(endpoint, token=AzureTokens(identity.make).token, api_key="none"))
    for _ in range(3):
        async with aclosing(model.stream(HELLO)) as events:
            assert text_of([item async for item in events]) == GREETING
    await model.aclose()
    assert identity.asked == 1


async def test_an_identity_that_cannot_be_had_is_an_unavailable_model_that_tells_no_secret(
    endpoint: OpenAIEndpoint,
) -> None:
    identity = Identity(ValueError("the secret client id"))
    with pytest.raises(ModelUnavailable) as caught:
        await ask(config_for(endpoint, token=AzureTokens(identity.make).token))
    assert "secret" not in str(caught.value)
    assert "identity" not in str(caught.value)
    assert endpoint.asked == []


async def test_an_identity_without_its_package_is_an_unavailable_model(endpoint: OpenAIEndpoint) -> None:
    def make() -> Credential:
        raise EngineUnavailable("azure-identity is not installed (extra: azure)", stage="stt", provider="azure")

    with pytest.raises(ModelUnavailable):
        await ask(config_for(endpoint, token=AzureTokens(make).token))


async def test_an_identity_that_hangs_is_given_up_and_blocks_nothing_else(endpoint: OpenAIEndpoint) -> None:
    release = anyio.Event()

    def make() -> Credential:
        anyio.from_thread.run(release.wait)
        return Identity(TOKEN).make()

    tokens = AzureTokens(make, limit_s=0.05)
    with pytest.raises(ModelUnavailable):
        await ask(config_for(endpoint, token=tokens.token))
    assert await to_thread.run_sync(lambda: "other threads work") == "other threads work"
    release.set()


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("unauthorized", KeyRejected),
        ("forbidden", ModelRejected),
        ("missing", ModelRejected),
        ("throttled", ModelRateLimited),
        ("broken", ModelUnavailable),
        ("unavailable", ModelUnavailable),
        ("drop", ModelUnavailable),
        ("garbage", ModelUnavailable),
    ],
)
async def test_every_fault_has_its_error_and_tells_nothing_of_the_key(
    endpoint: OpenAIEndpoint, fault: str, expected: type[ModelError]
) -> None:
    endpoint.inject(fault, retry_after="7")
    with pytest.raises(expected) as caught:
        await ask(config_for(endpoint))
    assert type(caught.value) is expected
    assert KEY not in str(caught.value)
    assert caught.value.provider == "azure_openai"
    if fault == "throttled":
        assert caught.value.retry_after_s == 7
    assert len(endpoint.asked) == 1, "nothing is asked twice"


@pytest.mark.parametrize(("field", "value"), [("api_key", "wrong"), ("model", "no-such-deployment")])
async def test_a_wrong_key_and_an_unknown_deployment_are_rejected(
    endpoint: OpenAIEndpoint, field: str, value: str
) -> None:
    with pytest.raises(ModelRejected):
        await ask(config_for(endpoint, **{field: value}))


@pytest.mark.parametrize(("fault", "limit"), [("silent", "first_event_s"), ("stall", "gap_s")])
async def test_a_stall_is_a_timeout_and_the_request_is_ended(endpoint: OpenAIEndpoint, fault: str, limit: str) -> None:
    endpoint.inject(fault)
    with pytest.raises(ModelTimeout):
        await ask(config_for(endpoint, **{limit: 0.3}))
    (asked,) = endpoint.asked
    assert await to_thread.run_sync(asked.over.wait, 10)
    assert asked.left


async def test_a_refused_prompt_is_an_answer_without_words(endpoint: OpenAIEndpoint) -> None:
    endpoint.inject("prompt_filter")
    (end,) = await ask(config_for(endpoint))
    assert isinstance(end, Finished)
    assert end.reason == "filtered"
    assert end.verdict == ContentFilter(
        "prompt", (FilteredCategory("violence", "medium"), FilteredCategory("jailbreak"))
    )
    assert end.usage.estimated, "the service bills the prompt, but does not say how much"
    assert end.usage.input_tokens > 0
    assert end.usage.output_tokens == 0


@pytest.mark.parametrize("fault", ["completion_filter", "async_filter"])
async def test_a_refused_completion_ends_with_what_was_objected_to(endpoint: OpenAIEndpoint, fault: str) -> None:
    endpoint.inject(fault)
    events = await ask(config_for(endpoint))
    assert text_of(events) == "Good morning. The "
    assert finished(events).reason == "filtered"
    assert finished(events).verdict == ContentFilter("completion", (FilteredCategory("violence", "medium"),))
    assert not finished(events).usage.estimated


async def test_an_empty_quota_is_told_with_the_answer(endpoint: OpenAIEndpoint) -> None:
    endpoint.inject("spent", reset="12")
    events = await ask(config_for(endpoint))
    assert events[0] == QuotaSpent(12.0)
    assert text_of(events) == GREETING


async def test_a_cancelled_answer_stops_being_generated(endpoint: OpenAIEndpoint) -> None:
    endpoint.inject("endless")
    model = OpenAICompatibleModel(config_for(endpoint))
    heard = anyio.Event()

    async def listen() -> None:
        async with aclosing(model.stream(HELLO)) as events:
            async for item in events:
                if "and so on" in text_of([item]):
                    heard.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        with anyio.fail_after(20):
            await heard.wait()
        tasks.cancel_scope.cancel()
    (asked,) = endpoint.asked
    assert await to_thread.run_sync(asked.over.wait, 10), "it goes on generating"
    assert asked.left
    await model.aclose()
