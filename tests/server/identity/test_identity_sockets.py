"""Conversations that go on: they end soon after what they were begun with, here and when another process ends it."""

from __future__ import annotations

from pathlib import Path

import anyio
import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from server.contracts.errors import ERRORS, ErrorCode
from server.guard import LOCAL_USER, Identity
from server.identity.key_book import NewKey
from server.identity.user_book import NewUser, UserChange
from tests.e2e.real_server import run_program
from tests.e2e.voice_socket import joined
from tests.scripted_server import EchoModel, Served, scripted_engines, served

CLOSED = ERRORS[ErrorCode.AUTH_INVALID].close_code
GUARDED = {"identity": {"require_keys": True}}


def bearer(value: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"}


def http_to(server: Served, value: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, headers=bearer(value), trust_env=False, timeout=20)


async def key_of(server: Served, **wanted: object) -> tuple[str, str]:
    given: dict[str, object] = {"tenant_id": "default", "name": "k", "role": "member"}
    entry, value = await server.application.host.offices.identity.keys.create(LOCAL_USER, NewKey(**(given | wanted)))  # pyright: ignore[reportArgumentType]
    return entry.key_id, value


@pytest.mark.parametrize("path", ["/v1/voice/ws", "/v1/ws"])
async def test_a_revoked_key_ends_its_conversations_and_nobody_elses(tmp_path: Path, path: str) -> None:
    start = {"/v1/voice/ws": ("voice.start", {}), "/v1/ws": ("chat.start", {"prompt": "hello"})}[path]
    async with served(tmp_path, **GUARDED) as server:
        url = f"ws{server.url.removeprefix('http')}{path}"
        ((first_id, first), (_, second)) = (await key_of(server), await key_of(server))
        async with (
            joined(url, additional_headers=bearer(first)) as ended,
            joined(url, additional_headers=bearer(second)) as other,
        ):
            for client in (ended, other):
                await client.say(start[0], **start[1])
                await client.until("session.started")
            await server.application.host.offices.identity.keys.revoke(LOCAL_USER, first_id, tenant_id=None)
            error = await ended.until("error")
            assert error["code"] == "auth.invalid"
            assert await ended.closed() == CLOSED
            assert len(server.application.host.registry) == 1
            assert "error" not in other.kinds()


async def test_a_realtime_session_ends_with_its_key_too(tmp_path: Path) -> None:
    async with served(tmp_path, **GUARDED) as server:
        key_id, value = await key_of(server)
        url = f"ws{server.url.removeprefix('http')}/v1/realtime?model=x"
        async with connect(url, additional_headers=bearer(value), proxy=None, compression=None) as ws:
            await ws.recv()
            await server.application.host.offices.identity.keys.revoke(LOCAL_USER, key_id, tenant_id=None)
            with anyio.fail_after(20):
                await ws.wait_closed()
            assert ws.close_code == CLOSED


async def test_a_key_that_another_process_revokes_ends_a_conversation_within_seconds(tmp_path: Path) -> None:
    async with served(tmp_path, **GUARDED) as server:
        key_id, value = await key_of(server)
        async with joined(server.voice_url, additional_headers=bearer(value)) as client:
            await client.say("voice.start")
            await client.until("session.started")
            done = await anyio.to_thread.run_sync(
                lambda: run_program("keys", "revoke", key_id, "--data-dir", str(tmp_path))
            )
            assert done.returncode == 0, done.stderr
            assert (await client.until("error"))["code"] == "auth.invalid"
            assert await client.closed() == CLOSED


async def test_a_conversation_ends_when_its_key_expires(tmp_path: Path) -> None:
    async with served(tmp_path, **GUARDED) as server:
        _, value = await key_of(server, expires_at_ms=server.application.host.epoch_ms() + 3_000)
        async with joined(server.voice_url, additional_headers=bearer(value)) as client:
            await client.say("voice.start")
            assert (await client.until("error"))["code"] == "auth.invalid"
            assert await client.closed() == CLOSED


async def test_a_conversation_lasts_as_long_as_what_its_holder_came_back_with(tmp_path: Path) -> None:
    async with served(tmp_path, **GUARDED) as server:
        users = server.application.host.offices.identity.users
        user = await users.create(LOCAL_USER, NewUser("default", "member", "Ada"))
        (old_id, old), (_, new) = (
            await key_of(server, user_id=user.user_id),
            await key_of(server, user_id=user.user_id),
        )
        async with joined(server.voice_url, additional_headers=bearer(old)) as before:
            await before.say("voice.start")
            await before.until("session.started")
            async with joined(server.voice_url, additional_headers=bearer(new)) as after:
                after.last_event_id = before.last_event_id
                await after.say("session.resume", session_id=before.session_id, last_event_id=before.last_event_id)
                await after.until("session.resumed")
                await server.application.host.offices.identity.keys.revoke(LOCAL_USER, old_id, tenant_id=None)
                live = server.application.host.registry.find(before.session_id, await who_of(server, new))
                await anyio.sleep(1.5)  # longer than it takes to end a session
                assert not live.ended.is_set()
                await users.change(LOCAL_USER, user.user_id, UserChange(disabled=True), tenant_id=None)
                assert (await after.until("error"))["code"] == "auth.invalid"


async def who_of(server: Served, value: str) -> Identity:
    identity = await server.application.host.offices.identity.callers.find(value, "")
    assert identity is not None
    return identity


# --- client secrets ---


async def secret_of(http: httpx.AsyncClient, **asked: object) -> str:
    answer = await http.post("/v1/sessions", json=asked)
    assert answer.status_code == httpx.codes.CREATED, answer.text
    return str(answer.json()["client_secret"])


async def test_a_client_secret_opens_one_conversation_for_whom_it_was_made(tmp_path: Path) -> None:
    async with served(tmp_path, **GUARDED) as server:
        _, value = await key_of(server, role="service")
        async with http_to(server, value) as http:
            secret = await secret_of(http, user_id="pupil-17")
        offered = ["convergio.v1", f"convergio.key.{secret}"]
        async with joined(server.voice_url, subprotocols=offered) as client:
            await client.say("voice.start")
            started = await client.until("session.started")
            owner = server.application.host.registry._live[started["session_id"]].owner  # pyright: ignore
            assert (owner.user_id, {str(each) for each in owner.permissions}) == ("pupil-17", {"talk"})
            with pytest.raises(InvalidStatus):
                async with connect(server.voice_url, subprotocols=offered, proxy=None):  # pyright: ignore
                    pass
        async with http_to(server, secret) as http:
            for path in ("/v1/me", "/v1/keys", "/v1/agents"):
                assert (await http.get(path)).json()["error"]["code"] == "auth.invalid"


async def test_a_client_secret_is_worth_no_more_than_its_key(tmp_path: Path) -> None:
    async with served(tmp_path, **GUARDED) as server:
        key_id, value = await key_of(server)
        async with http_to(server, value) as http:
            first, second = await secret_of(http), await secret_of(http)
            forbidden = await http.post("/v1/sessions", json={"user_id": "somebody-else"})
            assert forbidden.json()["error"]["code"] == "auth.forbidden"
        async with joined(server.chat_url, additional_headers=bearer(first)) as client:
            await client.say("chat.start", prompt="hello")
            await client.until("session.started")
            await server.application.host.offices.identity.keys.revoke(LOCAL_USER, key_id, tenant_id=None)
            assert (await client.until("error"))["code"] == "auth.invalid"
        with pytest.raises(InvalidStatus):
            async with connect(server.chat_url, additional_headers=bearer(second), proxy=None):
                pass


async def test_a_key_for_one_agent_talks_to_no_other(tmp_path: Path) -> None:
    async with served(tmp_path, **GUARDED) as server:
        _, value = await key_of(server, agent_id="another")
        async with http_to(server, value) as http:
            for path, body in (("/v1/chat", {"prompt": "hello"}), ("/v1/sessions", {})):
                assert (await http.post(path, json=body)).json()["error"]["code"] == "auth.forbidden"
        async with joined(server.voice_url, additional_headers=bearer(value)) as client:
            await client.say("voice.start")
            assert (await client.until("error"))["code"] == "auth.forbidden"


async def test_a_test_key_is_refused_where_talking_would_cost_money(tmp_path: Path) -> None:
    model = {"base_url": "http://127.0.0.1:9/v1", "model": "m"}
    async with served(tmp_path, scripted_engines(EchoModel()), model=model, **GUARDED) as server:
        _, test = await key_of(server, environment="test")
        _, live = await key_of(server)
        async with http_to(server, test) as http:
            refused = await http.post("/v1/chat", json={"prompt": "hello"})
            assert refused.json()["error"]["code"] == "auth.forbidden"
        async with http_to(server, live) as http:
            assert (await http.post("/v1/chat", json={"prompt": "hello"})).status_code == httpx.codes.OK
