"""Tenants on a real server: each one's speech runs on its own Azure account, and its troubles are nobody else's.

Two local services, each of which takes one key only: a key that came to the wrong one would be refused there, and
refusals are counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread
from azure.emulator_process import EmulatorProcess, azure_emulator
from clients.chat_endpoint import chat_endpoint
from real_server import PROGRAM, RealServer, require_engines, serving, turns_used
from spoken import encoded, said
from voice_socket import Client, joined

from audio.formats import AudioFormat, Encoding

pytest.importorskip("azure.cognitiveservices.speech", reason="the Speech SDK is not installed (extra: azure)")
pytestmark = [pytest.mark.engines, pytest.mark.timeout(180)]

PCM16 = AudioFormat(Encoding.PCM16, 16_000)
SCHOOL, CLINIC, OWN = "api-key-of-the-school", "api-key-of-the-clinic", "api-key-of-the-server"
SCHOOL_AZURE, CLINIC_AZURE = "azure-canary-school-51c2", "azure-canary-clinic-9e07"
NOWHERE = "ws://127.0.0.1:9"
SAYS = ("Good morning from the school.", "Good morning from the clinic.")


@pytest.fixture
def services() -> Iterator[tuple[EmulatorProcess, EmulatorProcess]]:
    require_engines()
    with (
        azure_emulator("--key", SCHOOL_AZURE, "--say", SAYS[0]) as school,
        azure_emulator("--key", CLINIC_AZURE, "--say", SAYS[1]) as clinic,
    ):
        yield school, clinic


def tenants(school: str, clinic: str, clinic_key: str = CLINIC_AZURE) -> dict[str, object]:
    given: list[dict[str, Any]] = [
        {"id": "school", "api_keys": [SCHOOL], "azure": {"host": school, "key": SCHOOL_AZURE}},
        {"id": "clinic", "api_keys": [CLINIC], "azure": {"host": clinic, "key": clinic_key}},
    ]
    rules = [
        {"locale": "en", "stt": ["azure", "whisper"], "tts": ["azure", "piper"]},
        {"locale": "fi", "stt": ["whisper"], "tts": ["piper"]},
    ]
    return {"tenants": json.dumps(given), "engine_rules": json.dumps(rules), "api_keys": OWN}


@contextmanager
def server_with(data_dir: Path, chosen: dict[str, object]) -> Iterator[RealServer]:
    """The server with its embedded ears and voice, and a model elsewhere that costs nothing."""
    with chat_endpoint() as model:
        light = {"model__base_url": model.base_url, "model__model": "any", "speech__smart_turn": "false"}
        with serving([str(PROGRAM), "serve", "--port", "0"], data_dir, light | chosen) as server:
            yield server


async def turn(server: RealServer, key: str, **start: Any) -> Client:
    """One spoken turn of this key's."""
    headers = {"Authorization": f"Bearer {key}"}
    async with joined(server.voice_url, additional_headers=headers) as client:
        await client.say("voice.start", binary=True, **start)
        await client.until("session.started", within_s=30)
        await client.send_audio(encoded(said("goforward"), PCM16, 20))
        await client.until("chat.complete", within_s=40)
        return client


def heard(client: Client) -> str:
    return str(client.of("turn.started")[0]["text"])


def refused(service: EmulatorProcess) -> int:
    return int(service.state()["refused"])


async def test_each_tenants_key_reaches_its_own_account_and_no_log(
    services: tuple[EmulatorProcess, EmulatorProcess], tmp_path: Path
) -> None:
    school, clinic = services
    chosen = tenants(school.ws_url, clinic.ws_url)
    with server_with(tmp_path, chosen | {"log__level": "debug"}) as server:
        assert (await to_thread.run_sync(school.state))["upgrades"] == 0, "nobody of theirs has come yet"
        first, second = await turn(server, SCHOOL), await turn(server, CLINIC)
        third = await turn(server, OWN)
        log = server.log.read_text()
    assert (heard(first), heard(second)) == SAYS
    assert [client.of("degraded") for client in (first, second, third)] == [[], [], []]
    assert "azure" in first.of("session.started")[0]["capabilities"]["tts"]
    assert "joe" in third.of("session.started")[0]["capabilities"]["tts"], "no account: the next in the order"
    assert [await to_thread.run_sync(refused, service) for service in services] == [0, 0]
    for secret in (SCHOOL_AZURE, CLINIC_AZURE, SCHOOL, CLINIC, OWN):
        assert secret not in log
    events = await to_thread.run_sync(turns_used, tmp_path)
    assert [event["tenant_id"] for event in events] == ["school", "clinic", "default"]
    assert [event["providers"]["stt"]["provider"] for event in events] == ["azure", "azure", "whisper"]


async def test_a_tenants_wrong_key_is_told_without_it_and_troubles_nobody_else(
    services: tuple[EmulatorProcess, EmulatorProcess], tmp_path: Path
) -> None:
    school, clinic = services
    wrong = "azure-canary-wrong-0000"
    with server_with(tmp_path, tenants(school.ws_url, clinic.ws_url, wrong)) as server:
        troubled = await turn(server, CLINIC)
        fine = await turn(server, SCHOOL)
        log = server.log.read_text()
    told = troubled.of("degraded")
    assert [(message["from"], message["to"]) for message in told] == [("stt azure", "whisper"), ("tts azure", "piper")]
    assert fine.of("degraded") == []
    assert heard(fine) == SAYS[0]
    assert await to_thread.run_sync(refused, clinic) >= 1
    assert await to_thread.run_sync(refused, school) == 0
    for words in (log, json.dumps(troubled.messages)):
        assert wrong not in words


async def test_a_locale_nobody_knows_makes_a_session_in_writing_that_says_so(tmp_path: Path) -> None:
    require_engines()
    headers = {"Authorization": f"Bearer {OWN}"}
    with server_with(tmp_path, tenants(NOWHERE, NOWHERE)) as server:
        async with joined(server.voice_url, additional_headers=headers) as client:
            await client.say("voice.start", locale="fi-FI")
            started = await client.until("session.started")
            await client.say("chat.start", prompt="Hello.")
            await client.until("chat.complete", within_s=40)
    assert not {"stt", "tts"} & started["capabilities"].keys()
    reasons = [message["reason"] for message in client.of("degraded")]
    assert reasons == [
        "fi-FI is not recognised here; please type.",
        "No voice here speaks fi-FI; answers come as text.",
    ]
