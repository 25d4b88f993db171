"""Clients that ask for a latency budget, over real sockets: what they are told, what is refused, what they get."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
from voice_socket import begun, joined

from agents.core.budget_profiles import profile
from agents.models.port import ModelEvent, ModelRequest
from server.contracts.errors import ERRORS, ErrorCode
from server.guard import LOCAL_USER
from tests.scripted_server import EchoModel, Served, scripted_engines, served

CLOSED = ERRORS[ErrorCode.REQUEST_INVALID].close_code
SLOW = {"agent": {"deadline_ms": 40_000}, "total": {"deadline_ms": 50_000}}
"""An operator who lets everything take very long."""


class SilentModel(EchoModel):
    """Says nothing at all until it may."""

    def __init__(self, gate: anyio.Event) -> None:
        super().__init__()
        self._may_speak = gate

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        await self._may_speak.wait()
        async for event in super().stream(request):
            yield event


def held_to(server: Served, session_id: str) -> Any:
    """The budget the session is held to."""
    return server.application.host.registry.find(session_id, LOCAL_USER).session._options.budget


async def test_a_session_is_told_the_name_and_version_of_its_budget(tmp_path: Path) -> None:
    async with served(tmp_path) as server, begun(server) as client, joined(server.chat_url) as chat:
        await chat.say("chat.start", prompt="hello")
        await chat.until("chat.complete")
        assert held_to(server, client.session_id) is profile("embedded")
    for told in (client.messages[0], chat.messages[0]):
        assert told["latency_budget"] == {"profile": "embedded", "version": "1", "enforced": True}


async def test_who_asks_for_patience_gets_the_budget_for_it(tmp_path: Path) -> None:
    async with served(tmp_path) as server, begun(server, accessibility={"patience": "patient"}) as client:
        assert client.messages[0]["latency_budget"]["profile"] == "accessibility"


async def test_no_enforcement_is_told_and_holds_nobody_to_anything(tmp_path: Path) -> None:
    async with served(tmp_path, latency={"enforce": False}) as server, begun(server) as client:
        assert held_to(server, client.session_id) is None
    assert client.messages[0]["latency_budget"]["enforced"] is False


async def test_a_deadline_that_the_client_chose_is_kept(tmp_path: Path) -> None:
    gate = anyio.Event()
    latency = {"stages": SLOW, "tightest": 0.01}
    stages = {"agent": {"deadline_ms": 400, "on_breach": ["filler"]}}
    engines = scripted_engines(SilentModel(gate))
    async with (
        served(tmp_path, engines, latency=latency) as server,
        begun(server, binary=True, latency_budget={"stages": stages}) as client,
    ):
        assert client.messages[0]["latency_budget"]["version"].startswith("1+")
        await client.say("chat.start", prompt="hello")
        await client.until("voice.audio")  # said while the model is still silent: the operator's limit is far away
        assert "voice.audio.done" not in client.kinds()
        gate.set()
        assert "hello" in (await client.until("chat.complete"))["text"]


async def test_more_than_is_permitted_is_refused_with_what_would_be(tmp_path: Path) -> None:
    async with served(tmp_path) as server, joined(server.voice_url) as client:
        await client.say("voice.start", latency_budget={"stages": {"agent": {"deadline_ms": 10}}})
        refused = await client.until("error")
        assert await client.closed() == CLOSED
    assert refused["code"] == "request.invalid"
    assert refused["message"] == "latency_budget: agent.deadline_ms must be between 750 and 4500 here, not 10."
    assert refused["details"] == {"field": "latency_budget"}


async def test_an_update_that_is_refused_leaves_the_budget_and_everything_else(tmp_path: Path) -> None:
    async with served(tmp_path) as server, begun(server) as client:
        await client.say("voice.update", latency_budget={"stages": {"agent": {"deadline_ms": 900}}})
        too_much = {"stages": {"tts": {"deadline_ms": 10}}}
        await client.say("voice.update", output={"modalities": ["text"]}, latency_budget=too_much)
        assert "tts.deadline_ms must be between" in (await client.until("error"))["message"]
        budget = held_to(server, client.session_id)
        assert (budget.stages["agent"].deadline_ms, budget.stages["tts"].deadline_ms) == (900, 1_500)
        await client.say("voice.update", latency_budget={"stages": {"tts": {"deadline_ms": 900}}})
        await client.say("chat.start", prompt="hello")
        await client.until("chat.complete")
        budget = held_to(server, client.session_id)
        assert (budget.stages["agent"].deadline_ms, budget.stages["tts"].deadline_ms) == (900, 900)
        await client.say("voice.update", latency_budget=None)
        await client.say("chat.start", prompt="hello")
        await client.until("chat.complete")
        assert held_to(server, client.session_id) is profile("embedded")
    assert client.audio, "what was refused changed nothing: the answers are still spoken"


async def test_a_written_conversation_may_ask_for_a_budget_at_any_time(tmp_path: Path) -> None:
    async with served(tmp_path) as server, joined(server.chat_url) as client:
        await client.say("chat.start", prompt="one", latency_budget={"stages": {"agent": {"deadline_ms": 900}}})
        await client.until("chat.complete")
        assert held_to(server, client.session_id).stages["agent"].deadline_ms == 900
        await client.say("chat.start", prompt="two")
        await client.until("chat.complete")
        assert held_to(server, client.session_id).stages["agent"].deadline_ms == 900
        await client.say("chat.start", prompt="three", latency_budget={"profile": "accessibility"})
        await client.until("chat.complete")
        assert held_to(server, client.session_id) is profile("accessibility")
        await client.say(
            "chat.start", prompt="four", request_id="t4", latency_budget={"stages": {"agent": {"deadline_ms": 1}}}
        )
        refused = await client.until("error")
    assert (refused["request_id"], refused["code"]) == ("t4", "request.invalid")
    assert client.messages[0]["latency_budget"]["version"].startswith("1+")
