"""Whole conversations with Azure Speech hearing and speaking: our server, the genuine SDK, a local service.

The service is ``convergio-voice azure-emulator`` with the embedded engines behind it, so that what a recording says is
what is heard. It is also taken away: before the server starts, and in the middle of a conversation.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from anyio import to_thread
from azure.emulator_process import EmulatorProcess, azure_emulator
from real_server import PROGRAM, RealServer, embedded_server, require_engines, run_program, serving, turns_used
from spoken import decoded, encoded, match, said, transcript
from voice_socket import Client, begun

from audio.formats import AudioFormat, Encoding

pytest.importorskip("azure.cognitiveservices.speech", reason="the Speech SDK is not installed (extra: azure)")
pytestmark = pytest.mark.engines

PCM16, PCM24 = (AudioFormat(Encoding.PCM16, rate) for rate in (16_000, 24_000))
NOWHERE = "ws://127.0.0.1:9"


def chosen(host: str, **more: object) -> dict[str, object]:
    return {"stt__engine": "azure", "tts__engine": "azure", "azure__host": host, "azure__key": "any", **more}


@pytest.fixture
def service() -> Iterator[EmulatorProcess]:
    require_engines()
    with azure_emulator(scripted=False) as emulator:
        yield emulator


async def turn(client: Client, name: str) -> None:
    """One recording said, at the pace of speech, and its answer waited for."""
    before = len(client.of("chat.complete"))
    for payload in encoded(said(name), PCM16, 20):
        await client.send_audio([payload])
        await anyio.sleep(0.02)
    while len(client.of("chat.complete")) == before:
        await client.until("chat.complete", within_s=40)


def stand_ins(client: Client) -> list[tuple[str, str]]:
    return [(message["from"], message["to"]) for message in client.of("degraded")]


def workers(event: dict[str, Any]) -> dict[str, list[str]]:
    """Who worked on each stage, by the shares of a usage event."""
    return {
        stage: [share["provider"] for share in event["shares"] if share["stage"] == stage] for stage in ("stt", "tts")
    }


def loudness(client: Client) -> float:
    heard = decoded(client.payloads, PCM24).astype(np.float64)
    return float(np.sqrt(np.mean(heard**2))) if len(heard) else 0.0


def engines_of(server: RealServer) -> dict[str, tuple[str, str]]:
    return {engine["stage"]: (engine["provider"], engine["status"]) for engine in server.readiness()["engines"]}


async def test_azure_hears_and_speaks(service: EmulatorProcess, tmp_path: Path) -> None:
    with embedded_server(tmp_path, **chosen(service.ws_url)) as server:
        ready = engines_of(server)
        async with begun(server, binary=True) as client:
            await turn(client, "goforward")
            await turn(client, "librivox_0930")
    assert (ready["stt"], ready["tts"]) == (("azure", "ready"), ("azure", "ready"))
    texts = [message["text"] for message in client.of("turn.started")]
    for name, text in zip(("goforward", "librivox_0930"), texts, strict=True):
        assert match(transcript(name), text) >= 0.75, text
    assert loudness(client) > 300
    assert stand_ins(client) == []
    state = await to_thread.run_sync(service.state)
    assert state["phrases"] >= 2
    assert state["bytes_out"] > 0


async def test_a_service_lost_between_turns_is_stood_in_for_and_said(service: EmulatorProcess, tmp_path: Path) -> None:
    with embedded_server(tmp_path, **chosen(service.ws_url)) as server:
        async with begun(server, binary=True) as client:
            await turn(client, "goforward")
            service.process.kill()
            heard = len(client.payloads)
            await turn(client, "librivox_0930")
        now = engines_of(server)
    before, after = await to_thread.run_sync(turns_used, tmp_path)
    last = client.of("turn.started")[-1]["text"]
    assert match(transcript("librivox_0930"), last) >= 0.75, last
    assert len(client.payloads) > heard
    assert stand_ins(client) == [("stt azure", "whisper"), ("tts azure", "piper")]
    assert (now["stt"][1], now["tts"][1]) == ("degraded", "degraded"), "whoever asks is told the same"
    assert workers(before) == {"stt": ["azure"], "tts": ["azure"]}
    assert workers(after) == {"stt": ["whisper"], "tts": ["piper"]}
    assert [after["providers"][stage]["provider"] for stage in ("stt", "tts")] == ["whisper", "piper"]
    for event in (before, after):
        for stage, name in (("stt", "audio_ms_in"), ("tts", "audio_ms_synthesized"), ("tts", "tts_characters")):
            assert sum(share[name] for share in event["shares"] if share["stage"] == stage) == event[name] > 0


async def test_a_service_that_is_not_there_at_start_is_reported_and_stood_in_for(tmp_path: Path) -> None:
    require_engines()
    with serving([str(PROGRAM), "serve", "--port", "0"], tmp_path, chosen(NOWHERE)) as server:
        ready = engines_of(server)
        async with begun(server, binary=True) as client:
            await turn(client, "goforward")
    assert (ready["stt"], ready["tts"]) == (("azure", "degraded"), ("azure", "degraded"))
    assert match(transcript("goforward"), client.of("turn.started")[0]["text"]) >= 0.75
    assert stand_ins(client) == [("stt azure", "whisper"), ("tts azure", "piper")]
    assert loudness(client) > 300


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"stt__engine": "azure"}, "azure.region"),
        ({"tts__engine": "azure", "azure__region": "westeurope"}, "azure.key"),
        ({"azure__region": "westeurope", "azure__host": NOWHERE}, "exclude each other"),
        ({"azure__host": "speech.example.org"}, "is not the address of a service"),
        ({"azure__key": "any", "azure__managed_identity": "true"}, "exclude each other"),
        ({"azure__text_streaming": "on", "azure__role": "Girl"}, "only whole phrases"),
        ({"azure__pitch": "<break/>"}, "azure.pitch"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_in_a_sentence(
    settings: dict[str, object], words: str, tmp_path: Path
) -> None:
    done = run_program("serve", "--port", "0", limit_s=50, data_dir=tmp_path, **settings)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
