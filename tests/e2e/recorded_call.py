"""Recorded calls for tests: a caller without a carrier, what is spoken and kept, and the sound of a recording."""

from __future__ import annotations

import io
import os
import wave
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
import numpy as np
from phone_legs import TestLeg

from agents.models.port import LanguageModel
from server.conversations.tables import recordings as recordings_table
from server.conversations.wave_file import HEADER
from server.guard import LOCAL_USER, Identity
from server.telephony.conversation import CallRecord, PhoneConversation
from tests.scripted_server import Served, eventually, scripted_engines, served

QUIET = {"greeting": "Hello there.", "greeting_after_s": 0, "silence_s": 60}
ON: dict[str, Any] = {"retention": {"recording": True}, "latency": {"enforce": False}}


@dataclass
class Call:
    """One call of the person at the machine."""

    server: Served
    leg: TestLeg
    conversation: PhoneConversation
    directory: Path
    record: CallRecord | None = None

    @property
    def recording(self) -> Any:
        return self.conversation._recording

    @property
    def session(self) -> Any:
        assert self.conversation._live is not None
        return self.conversation._live.session

    @property
    def files(self) -> list[Path]:
        return sorted(self.directory.glob("recordings/*/*.wav"))

    @property
    def spoken(self) -> list[str]:
        return [message.text for message in self.session.history.messages() if message.role == "assistant"]

    async def recorded(self) -> None:
        await eventually(lambda: self.recording._track is not None, 20)

    async def kept(self) -> None:
        """Something of it is on the disk."""
        await eventually(lambda: any(file.stat().st_size > HEADER.size for file in self.files), 20)

    async def hang_up(self) -> CallRecord:
        assert self.leg.listener is not None
        self.leg.listener.ended("caller")
        await eventually(lambda: self.record is not None, 30)
        assert self.record is not None
        return self.record

    @asynccontextmanager
    async def http(self) -> AsyncGenerator[httpx.AsyncClient]:
        async with httpx.AsyncClient(base_url=self.server.url, trust_env=False, timeout=20) as http:
            yield http

    async def stored(self, http: httpx.AsyncClient) -> dict[str, Any]:
        answer = await http.get("/v1/sessions")
        [conversation] = answer.json()["conversations"]
        return dict(conversation)


@asynccontextmanager
async def calling(
    tmp_path: Path,
    mode: str,
    model: LanguageModel | None = None,
    heard: tuple[str, ...] = ("Go forward ten meters.",),
    owner: Identity = LOCAL_USER,
    leg: TestLeg | None = None,
    **recording: Any,
) -> AsyncGenerator[Call]:
    settings = {**QUIET, "recording": {"mode": mode, **recording}}
    engines = scripted_engines(model)
    engines.heard = heard
    async with served(tmp_path, engines, telephony=settings, **ON) as server:
        leg = leg or TestLeg()
        call = Call(server, leg, PhoneConversation(server.application.host, leg, owner), tmp_path)

        async def hold() -> None:
            call.record = await call.conversation.run()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold)
            await eventually(lambda: leg.listener is not None)
            yield call
            if call.record is None:
                await call.hang_up()


def tone(seconds: float = 1.0, level: int = 9_000) -> np.ndarray:
    at = np.arange(round(seconds * 8_000)) / 8_000
    return np.rint(level * np.sin(2 * np.pi * 440 * at)).astype(np.int16)


def sides(data: bytes) -> tuple[np.ndarray, np.ndarray, int]:
    """Left, right and the rate of a WAV, as Python's own reader has them."""
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (2, 2)
        frames = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
        return frames[:, 0], frames[:, 1], file.getframerate()


def hear(leg: TestLeg, samples: np.ndarray) -> None:
    assert leg.listener is not None
    for at in range(0, len(samples), 160):
        leg.listener.heard(np.ascontiguousarray(samples[at : at + 160]), 8_000)


async def reopened(call: Call, recording_id: str) -> None:
    change = (
        recordings_table.update()
        .where(recordings_table.c.recording_id == recording_id)
        .values(ended_at_ms=None, ending="")
    )
    await call.server.application.host.offices.records.run_write(lambda connection: connection.execute(change).rowcount)


def aged(file: Path, *, seconds: int) -> None:
    then = file.stat().st_mtime - seconds
    os.utime(file, (then, then))
