"""No key ever leaves the vault but for its provider: canaries are stored for every provider, used in conversations
that go well and go wrong, with everything switched on that writes anything down; then everything that was written down,
answered or sent is searched for them, in every guise.

The providers are hostile: in their errors, headers and garbage they say the key back.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from anyio import to_thread
from azure.emulator_process import EmulatorProcess, azure_emulator
from otlp_receiver import Collector, collector
from real_server import PROGRAM, RealServer, run_program, serving
from spoken import encoded, said
from voice_socket import joined

from audio.formats import AudioFormat, Encoding
from tests.server.vault.provider_stand_in import MOODS, Providers, providers_here

pytest.importorskip("azure.cognitiveservices.speech", reason="the Speech SDK is not installed (extra: azure)")
pytestmark = pytest.mark.timeout(480)

PCM16 = AudioFormat(Encoding.PCM16, 16_000)
OPERATOR = "api-key-of-the-server"
SPEECH, WRONG_SPEECH = "spx+canary/Zq81=right", "spx+canary/Zq82=wrong"
OPENAI = {mood: f"sk+canary/{mood}=Xw{number}53Qa" for number, mood in enumerate(MOODS)}
AZURE, ROTATED, REFUSED_AT_ENTRY = "az+canary/Kp44=first", "az+canary/Kp45=second", "sk+canary/Lm77=entry"
CANARIES = (SPEECH, WRONG_SPEECH, *OPENAI.values(), AZURE, ROTATED, REFUSED_AT_ENTRY)


def guises(secret: str) -> set[bytes]:
    """A key, as somebody might write it; of its reverse and its hash's source, what would give it away."""
    raw = secret.encode()
    forms = {
        raw,
        quote(secret, "").encode(),
        quote(secret).encode(),
        json.dumps(secret)[1:-1].encode(),
        raw.hex().encode(),
    }
    for shift in range(3):  # wherever it stands within something longer
        forms.add(base64.b64encode(b"x" * shift + raw)[4:-4])
        forms.add(base64.urlsafe_b64encode(b"x" * shift + raw)[4:-4])
    return forms | {raw[::-1], raw[:-4], raw[::-1][4:]}


def leaks(where: str, content: bytes) -> list[str]:
    return [f"{secret!r} in {where}" for secret in CANARIES if any(guise in content for guise in guises(secret))]


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "sqlite" else str(request.getfixturevalue("postgres").database())


@pytest.fixture
def world() -> Iterator[tuple[Providers, EmulatorProcess, Collector]]:
    with providers_here() as providers, azure_emulator("--key", SPEECH) as speech, collector() as spans:
        yield providers, speech, spans


class Witness:
    """Everything that comes back from the server."""

    def __init__(self, server: RealServer) -> None:
        self.server = server
        self.heard: list[bytes] = []

    async def call(self, method: str, path: str, key: str = OPERATOR, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(base_url=self.server.url, headers=headers, trust_env=False, timeout=60) as http:
            answer = await http.request(method, path, **more)
        self.heard.append(repr(answer.headers.raw).encode() + answer.content)
        return answer

    @asynccontextmanager
    async def socket(self, path: str, key: str) -> AsyncGenerator[Any]:
        url = f"ws{self.server.url.removeprefix('http')}{path}"
        async with joined(url, additional_headers={"Authorization": f"Bearer {key}"}) as client:
            yield client
            self.heard.append(json.dumps(client.messages).encode())


def api_key(tenant_id: str) -> str:
    return f"api-key-of-{tenant_id}-x"


async def stored(witness: Witness, tenant_id: str, body: dict[str, str]) -> str:
    answer = await witness.call("POST", "/v1/provider-keys", api_key(tenant_id), json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["provider_key"]["key_id"])


async def one_spoken_turn(witness: Witness, tenant_id: str) -> list[str]:
    async with witness.socket("/v1/voice/ws", api_key(tenant_id)) as client:
        await client.say("voice.start", binary=True)
        await client.until("session.started", within_s=30)
        await client.send_audio(encoded(said("goforward"), PCM16, 20))
        await client.say("chat.start", prompt="And in writing?")
        await client.until("chat.complete", within_s=40)
        await client.say("voice.stop")
        return [str(kind) for kind in client.kinds()]


async def everything(witness: Witness, providers: Providers, speech: EmulatorProcess) -> None:
    """Conversations of every kind, on keys of every kind."""
    for mood, secret in OPENAI.items():
        await stored(witness, mood, providers.own("openai-compatible", secret))
    providers.moods = {secret: mood for mood, secret in OPENAI.items()} | {REFUSED_AT_ENTRY: "refuses"}
    for mood in MOODS:
        for path in ("/v1/chat", "/v1/chat/stream"):
            await witness.call("POST", path, api_key(mood), json={"prompt": "hello"})
        async with witness.socket("/v1/ws", api_key(mood)) as client:
            await client.say("chat.start", prompt="Hello.")
            await client.until("turn.latency" if mood == "works" else "error", within_s=40)
    for provider in ("openai-compatible", "azure-openai", "azure-speech"):
        body = providers.own(provider, REFUSED_AT_ENTRY)
        assert (await witness.call("POST", "/v1/provider-keys", api_key("works"), json=body)).status_code == 400
    broken = {"provider": "azure-openai", "key": {"nested": AZURE}, "label": [AZURE]}
    await witness.call("POST", "/v1/provider-keys", api_key("works"), json=broken)
    await witness.call("POST", "/v1/provider-keys", api_key("works"), content=f'{{"key": "{AZURE}"')

    azure = await stored(witness, "school", providers.own("azure-openai", AZURE))
    own = {"provider": "azure-speech", "label": "voice", "endpoint": speech.ws_url}
    await stored(witness, "school", own | {"key": SPEECH})
    await one_spoken_turn(witness, "school")
    assert speech.state()["refused"] == 0
    await witness.call("POST", f"/v1/provider-keys/{azure}/rotate", api_key("school"), json={"key": ROTATED})
    await witness.call("POST", "/v1/chat", api_key("school"), json={"prompt": "hello"})
    providers.moods[ROTATED] = "refuses"
    await witness.call("POST", f"/v1/provider-keys/{azure}/check", api_key("school"))
    speech.inject(preset="unauthorized", times=50)
    await one_spoken_turn(witness, "school")
    speech.heal()
    refused = await witness.call("POST", "/v1/provider-keys", api_key("school"), json=own | {"key": WRONG_SPEECH})
    assert refused.status_code == 400
    await witness.call("DELETE", f"/v1/provider-keys/{azure}", api_key("school"))
    for path in ("/v1/provider-keys", "/metrics", "/readyz", "/v1/latency/report", "/v1/agents", "/openapi.json"):
        await witness.call("GET", path, api_key("works"))
    await witness.call("GET", "/v1/provider-keys?tenant=works")


async def test_no_key_is_written_down_answered_or_sent_anywhere_but_to_its_provider(
    tmp_path: Path,
    world: tuple[Providers, EmulatorProcess, Collector],
    database: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    providers, speech, spans = world
    monkeypatch.setenv("OPENAI_LOG", "debug")
    monkeypatch.setenv("HTTPX_LOG_LEVEL", "trace")
    tenants = [{"id": each, "api_keys": [api_key(each)]} for each in (*MOODS, "school")]
    chosen: dict[str, object] = {
        "api_keys": OPERATOR,
        "tenants": json.dumps(tenants),
        "vault__private_hosts": "127.0.0.1",
        "vault__refresh_s": 0.2,
        "vault__check_s": 50,
        "log__level": "debug",
        "log__transcripts": "true",
        "telemetry__enabled": "true",
        "telemetry__endpoint": spans.endpoint,
        "telemetry__schedule_delay_s": 0.2,
        "model__engine": "none",
        "model__first_event_s": 1.0,
        "stt__engine": "none",
        "tts__engine": "none",
        "speech__silero": "false",
        "speech__smart_turn": "false",
    }
    if database is not None:
        chosen["ledger__url"] = database
    data_dir = tmp_path / "data"
    with serving([str(PROGRAM), "serve", "--port", "0"], data_dir, chosen) as server:
        witness = Witness(server)
        await everything(witness, providers, speech)
        given = chosen | {"data_dir": data_dir}
        programs = [("vault", "status"), ("vault", "keys", "--json"), ("vault", "rotate"), ("usage", "--json")]
        printed = [await to_thread.run_sync(lambda done=each: run_program(*done, **given)) for each in programs]
        assert [done.returncode for done in printed] == [0] * len(programs), [done.stderr for done in printed]
        before = {path: path.read_bytes() for path in data_dir.rglob("*") if path.is_file()}
        server.terminate()
    found: list[str] = []
    for path, content in before.items():
        found += leaks(f"{path.name} while it ran", content)
    for path in data_dir.rglob("*"):
        if path.is_file():
            found += leaks(path.name, path.read_bytes())
    for answer in witness.heard:
        found += leaks(f"an answer ({answer[:200]!r})", answer)
    for done in printed:
        found += leaks(str(done.args[1:3]), (done.stdout + done.stderr).encode())
    received = await to_thread.run_sync(spans.received)
    found += leaks("traces", json.dumps(received).encode())
    if database is not None:
        dump = await to_thread.run_sync(dumped, database)
        assert b"provider_keys" in dump
        found += leaks("the database", dump)
    assert found == []
    # and they were all used
    assert set(providers.keys()) >= {*OPENAI.values(), AZURE, ROTATED, REFUSED_AT_ENTRY}
    assert len(received["spans"]) > 10
    log = (data_dir / "server.log").read_text()
    assert "language model request failed" in log
    assert "[key]" in log, "what providers said back was looked through"


def dumped(url: str) -> bytes:
    program = shutil.which("pg_dump")
    if program is None:
        pytest.skip("pg_dump is not installed")
    return subprocess.run([program, url], capture_output=True, timeout=60, check=True).stdout
