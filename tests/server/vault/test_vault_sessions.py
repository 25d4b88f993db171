"""Sessions on a tenant's own keys while the keys change under them: the next turn is on what is there then."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from e2e.voice_socket import Client, joined

from agents.models.fallback import FallbackModel, GuardedModel
from agents.models.port import ModelProfile
from agents.models.scripted import ScriptedModel, ScriptedReply
from tests.scripted_server import Served, scripted_engines
from tests.server.vault.provider_stand_in import Providers, providers_here
from tests.server.vault.test_vault_routes import CLINIC, KEY, OTHER, PATH, SCHOOL, school_and_clinic, tenant


@pytest.fixture
def providers() -> Iterator[Providers]:
    with providers_here() as here:
        yield here


@asynccontextmanager
async def chatting(server: Served, key: str) -> AsyncGenerator[Client]:
    async with joined(server.chat_url, additional_headers={"Authorization": f"Bearer {key}"}) as client:
        yield client


async def said(client: Client) -> str:
    """The answer to one question in a running session."""
    before = len(client.messages)
    await client.say("chat.start", prompt="hello")
    await client.until("chat.complete", within_s=20)
    tokens = [message["text"] for message in client.messages[before:] if message["type"] == "chat.token"]
    return "".join(tokens).strip()


async def test_a_running_session_follows_its_keys_from_turn_to_turn(tmp_path: Path, providers: Providers) -> None:
    providers.answers = {KEY: "On the first key.", OTHER: "On the second key."}
    async with school_and_clinic(tmp_path) as server, chatting(server, SCHOOL) as client:
        school = tenant(server, SCHOOL)
        assert await said(client) == "You said: hello."
        made = await school.store(providers.own("openai-compatible", KEY))
        assert await said(client) == "On the first key."
        await school.http.post(f"{PATH}/{made['key_id']}/rotate", json={"key": OTHER})
        assert await said(client) == "On the second key."
        await school.http.delete(f"{PATH}/{made['key_id']}")
        assert await said(client) == "You said: hello."


async def test_a_running_session_that_must_have_a_key_ends_its_turns_without_one(
    tmp_path: Path, providers: Providers
) -> None:
    async with school_and_clinic(tmp_path, require_own_keys=True) as server:
        school = tenant(server, SCHOOL)
        made = await school.store(providers.own("openai-compatible", KEY))
        async with chatting(server, SCHOOL) as client:
            assert await said(client) == "Thank you for telling me."
            await school.http.delete(f"{PATH}/{made['key_id']}")
            await client.say("chat.start", prompt="hello")
            error = await client.until("error", within_s=20)
            assert (error["code"], error["retryable"]) == ("byok.missing_key", False)


class Embedded(ScriptedModel):
    """Of the kind that costs nobody anything."""

    @property
    def profile(self) -> ModelProfile:
        return ModelProfile("embedded", "small", tools=False)


async def test_a_refused_key_is_told_once_and_the_next_key_or_the_embedded_model_steps_in(
    tmp_path: Path, providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    providers.answers = {OTHER: "On the second key."}
    own = FallbackModel([GuardedModel(Embedded(*[ScriptedReply("By itself.")] * 5))])
    monkeypatch.setattr("tests.server.vault.test_vault_routes.served", _served_with(own))
    async with school_and_clinic(tmp_path) as server, chatting(server, SCHOOL) as client:
        school = tenant(server, SCHOOL)
        await school.store(providers.own("openai-compatible", KEY))
        await school.store(providers.own("openai-compatible", OTHER))
        providers.moods = {KEY: "refuses"}
        assert [await said(client), await said(client)] == ["On the second key."] * 2
        assert len(client.of("degraded")) == 1
        assert KEY not in json.dumps(client.messages)
        providers.moods[OTHER] = "refuses"
        assert await said(client) == "By itself."
        assert len(client.of("degraded")) == 2
        async with chatting(server, CLINIC) as other:
            await tenant(server, CLINIC).store(providers.own("openai-compatible", "sk-of-the-clinic"))
            assert await said(other) == "Thank you for telling me."
            assert other.of("degraded") == [], "breakers are each tenant's own"


def _served_with(model: FallbackModel) -> Any:
    from tests import scripted_server  # noqa: PLC0415 - the original, under the patch

    def served(data_dir: Path, **settings: Any) -> Any:
        return scripted_server.served(data_dir, scripted_engines(model), **settings)

    return served


async def test_tenants_models_are_bounded_and_those_in_use_stay(tmp_path: Path, providers: Providers) -> None:
    async with school_and_clinic(tmp_path) as server:
        models = server.application.host.offices.vault.models
        models._options = type(models._options)(most=1, idle_s=60)
        for key, secret in ((SCHOOL, KEY), (CLINIC, OTHER)):
            await tenant(server, key).store(providers.own("openai-compatible", secret))
            assert await tenant(server, key).ask() == ("said", "Thank you for telling me.")
            assert models.tenants == 1
        await models.release_idle()
        assert models.tenants == 1
        models._options = type(models._options)(most=1, idle_s=0)
        await models.release_idle()
        assert models.tenants == 0
