"""Voice Live over a real socket, with scripted engines: ways in, and what only this dialect has."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

pytest.importorskip("azure.ai.voicelive", reason="needs azure-ai-voicelive, the official Voice Live client")

import numpy as np
from contract.voicelive_models import validate
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from agents.core.options import Engines
from agents.loop.agent import Agent
from server.guard import Identity
from tests.scripted_server import EchoModel, ScriptedEngines, scripted_engines, served

KEY = "a-long-random-secret"
LIMIT_S = 20.0
TYPED = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}


def tone(seconds: float, rate_hz: int = 24_000) -> bytes:
    """Something loud, then silence."""
    times = np.arange(int(seconds * rate_hz)) / rate_hz
    loud = 9_000 * np.sin(2 * np.pi * 220 * times) * (1 + np.sin(2 * np.pi * 3 * times)) / 2
    return loud.astype("<i2").tobytes() + bytes(rate_hz * 3)


class Client:
    """One connection; every event is held to the official models."""

    def __init__(self, ws: ClientConnection) -> None:
        self.ws = ws
        self.events: list[dict[str, Any]] = []

    async def say(self, kind: str, **fields: Any) -> None:
        await self.ws.send(json.dumps(fields | {"type": kind}))

    async def until(self, kind: str) -> dict[str, Any]:
        with anyio.fail_after(LIMIT_S):
            while True:
                event = json.loads(await self.ws.recv())
                validate(event)
                self.events.append(event)
                if event["type"] == kind:
                    return event

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]


@asynccontextmanager
async def voice_live(url: str, query: str = "model=gpt-realtime", **how: Any) -> AsyncGenerator[Client]:
    address = f"ws{url.removeprefix('http')}/voice-live/realtime?api-version=2026-07-15&{query}"
    async with connect(address, proxy=None, **how) as ws:
        client = Client(ws)
        await client.until("session.created")
        yield client


@pytest.mark.parametrize(
    "how",
    [
        {"additional_headers": {"api-key": KEY}},
        {"additional_headers": {"Authorization": f"Bearer {KEY}"}},
        {"subprotocols": ["realtime", f"openai-insecure-api-key.{KEY}"]},
    ],
)
async def test_a_key_opens_a_session_of_the_model_that_was_named(tmp_path: Path, how: dict[str, Any]) -> None:
    async with served(tmp_path, api_keys=[KEY]) as server, voice_live(server.url, **how) as client:
        session = client.events[0]["session"]
        assert (session["model"], session["voice"]) == ("gpt-realtime", "tone")
        assert client.ws.subprotocol == ("realtime" if "subprotocols" in how else None)


async def test_without_a_key_nobody_gets_in(tmp_path: Path) -> None:
    async with served(tmp_path, api_keys=[KEY]) as server:
        with pytest.raises(InvalidStatus) as refused:
            async with voice_live(server.url):
                pass
    assert refused.value.response.status_code == 401


async def test_an_agent_is_found_by_its_name_and_another_is_warned_about(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        ours = server.application.host.engines.for_sessions().agent.spec.agent_id
        async with voice_live(server.url, f"agent-name={ours}&agent-project-name=p") as client:
            assert client.events[0]["session"]["agent"]["agent_id"] == ours
            await client.say("session.update", session={})
            await client.until("session.updated")
            assert not client.all("warning")
        async with voice_live(server.url, "agent-name=nobody&agent-version=2") as client:
            assert (await client.until("warning"))["warning"]["param"] == "agent-name"
            assert (await client.until("warning"))["warning"]["param"] == "agent-version"


class Loading(ScriptedEngines):
    """Engines that have no voice before they are loaded."""

    def for_sessions(self, *, simple_language: bool = False) -> Engines:
        engines = super().for_sessions(simple_language=simple_language)
        return engines if self.loaded.is_set() else replace(engines, tts=None)


async def test_a_session_that_begins_while_engines_load_knows_their_voices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = Loading(scripted_engines().agent)
    async with served(tmp_path, engines) as server:
        host = server.application.host
        wait_for_agent = host.agent

        async def agent(agent_id: str | None, caller: Identity) -> Agent:
            engines.loaded.set()  # somebody waits for it
            return await wait_for_agent(agent_id, caller)

        monkeypatch.setattr(host, "agent", agent)
        async with voice_live(server.url) as client:
            assert client.events[0]["session"]["voice"] == "tone"


async def test_a_turn_of_audio_by_hand_is_answered_aloud_with_word_times(tmp_path: Path) -> None:
    async with served(tmp_path) as server, voice_live(server.url) as client:
        settings = {"turn_detection": None, "output_audio_timestamp_types": ["word"]}
        await client.say("session.update", session=settings | {"input_audio_transcription": {"model": "whisper-1"}})
        await client.say("input_audio.turn.start", turn_id="t1")
        audio = tone(1.0)
        for start in range(0, len(audio), 9_600):
            chunk = base64.b64encode(audio[start : start + 9_600]).decode()
            await client.say("input_audio.turn.append", turn_id="t1", audio=chunk)
        await client.say("input_audio.turn.end", turn_id="t1")
        await client.until("input_audio_buffer.committed")
        await client.say("response.create")
        done = await client.until("response.done")
        assert done["response"]["status"] == "completed"
        words = [event["text"] for event in client.all("response.audio_timestamp.delta")]
        [part] = done["response"]["output"][0]["content"]
        assert words == part["transcript"].split()
        heard_ms = sum(len(base64.b64decode(one["delta"])) for one in client.all("response.audio.delta")) // 48
        last = client.all("response.audio_timestamp.delta")[-1]
        assert abs(last["audio_offset_ms"] + last["audio_duration_ms"] - heard_ms) < 60


async def test_streamed_text_is_answered_and_a_new_response_takes_the_place_of_the_old(tmp_path: Path) -> None:
    gate = anyio.Event()
    async with served(tmp_path, scripted_engines(EchoModel(gate))) as server, voice_live(server.url) as client:
        await client.say("input_text.delta", id="mine", delta="First ")
        await client.say("input_text.delta", id="mine", delta="question")
        await client.say("input_text.done", id="mine")
        await client.say("response.create")
        first = (await client.until("response.created"))["response"]["id"]
        await client.until("response.audio_transcript.delta")
        await client.say("response.create", response={"append_input_items": [TYPED], "modalities": ["text"]})
        gate.set()
        await client.until("response.done")
        await client.until("response.done")
        ended = [event["response"] for event in client.all("response.done")]
        assert {one["id"]: one["status"] for one in ended}[first] == "cancelled"
        [part] = ended[-1]["output"][0]["content"]
        assert (part["type"], part["text"].split()[-1]) == ("text", "Hello.")
        assert not client.all("error")


async def test_telephone_audio_goes_out_as_asked_for(tmp_path: Path) -> None:
    async with served(tmp_path) as server, voice_live(server.url) as client:
        await client.say("session.update", session={"output_audio_format": "g711_ulaw"})
        await client.say("conversation.item.create", item=TYPED)
        await client.say("response.create")
        created = await client.until("response.created")
        assert created["response"]["output_audio_format"] == "g711_ulaw"
        await client.until("response.done")
        assert sum(len(base64.b64decode(one["delta"])) for one in client.all("response.audio.delta")) > 4_000
