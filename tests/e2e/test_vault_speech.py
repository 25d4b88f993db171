"""A running voice session on a tenant's own Azure Speech key: rotated, it goes on with the new one; deleted, it makes
way at the next turn, and the connections made with it end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio import to_thread
from azure.emulator_process import EmulatorProcess, azure_emulator
from real_server import PROGRAM, RealServer, serving, usage_events
from voice_socket import Client, joined

from tests.server.vault.provider_stand_in import Providers, providers_here

pytest.importorskip("azure.cognitiveservices.speech", reason="the Speech SDK is not installed (extra: azure)")
pytestmark = pytest.mark.timeout(180)

SCHOOL, OPERATOR = "api-key-of-the-school", "api-key-of-the-server"
FIRST, SECOND, MODEL = "speech-canary-1f00a1", "speech-canary-2f00b2", "sk-canary-model-3f00c3"
PATH = "/v1/provider-keys"


@contextmanager
def server_on(data_dir: Path, **more: object) -> Iterator[RealServer]:
    """No engines of its own: whatever hears, thinks and speaks is the tenant's."""
    chosen: dict[str, object] = {
        "api_keys": OPERATOR,
        "tenants": json.dumps([{"id": "school", "api_keys": [SCHOOL]}]),
        "vault__private_hosts": "127.0.0.1",
        "vault__refresh_s": 0.2,
        "vault__check_s": 50,
        "model__engine": "none",
        "stt__engine": "none",
        "tts__engine": "none",
        "speech__silero": "false",
        "speech__smart_turn": "false",
    }
    with serving([str(PROGRAM), "serve", "--port", "0"], data_dir, chosen | more) as server:
        yield server


@pytest.fixture
def world() -> Iterator[tuple[Providers, EmulatorProcess]]:
    with providers_here() as providers, azure_emulator() as speech:
        yield providers, speech


async def call(server: RealServer, method: str, path: str, body: dict[str, str] | None = None) -> Any:
    headers = {"Authorization": f"Bearer {SCHOOL}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, trust_env=False, timeout=30) as http:
        answer = await http.request(method, path, json=body)
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


async def spoken_answer(client: Client) -> int:
    """The bytes of audio that answer a question in a running session."""
    before = len(client.audio)
    await client.say("chat.start", prompt="hello")
    await client.until("chat.complete", within_s=40)
    return len(client.audio) - before


async def test_a_session_follows_its_speech_key_and_makes_way_when_it_is_gone(
    world: tuple[Providers, EmulatorProcess], tmp_path: Path
) -> None:
    providers, speech = world
    with server_on(tmp_path) as server:
        await call(server, "POST", PATH, providers.own("openai-compatible", MODEL))
        own = {"provider": "azure-speech", "label": "voice", "endpoint": speech.ws_url, "key": FIRST}
        key_id = (await call(server, "POST", PATH, own))["provider_key"]["key_id"]
        async with joined(server.voice_url, additional_headers={"Authorization": f"Bearer {SCHOOL}"}) as client:
            await client.say("voice.start", binary=True)
            started = await client.until("session.started", within_s=30)
            assert "azure" in started["capabilities"]["tts"]
            assert await spoken_answer(client) > 0
            before = (await to_thread.run_sync(speech.state))["upgrades"]
            await call(server, "POST", f"{PATH}/{key_id}/rotate", {"key": SECOND})
            assert await spoken_answer(client) > 0
            after = (await to_thread.run_sync(speech.state))["upgrades"]
            assert after > before, "connections of its own for the new key"
            assert client.of("degraded") == []
            await call(server, "DELETE", f"{PATH}/{key_id}")
            assert await spoken_answer(client) == 0
            await to_thread.run_sync(lambda: speech.wait(lambda state: state["open"] == 0))
            await client.say("voice.stop")
    events = await to_thread.run_sync(usage_events, tmp_path)
    assert {event["mode"] for event in events} == {"byok"}
