"""A realtime client over a bare socket, for what good SDKs never do; every event is held to the official models."""

from __future__ import annotations

import base64
import json
import wave
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import numpy as np
from contract.openai_realtime_models import validate
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

SPEECH = Path(__file__).parents[1] / "fixtures" / "speech" / "goforward.wav"
LIMIT_S = 20.0
Event = dict[str, Any]


def speech_24k(silence_s: float = 1.5) -> bytes:
    """``go forward ten meters`` and silence after it, 24 kHz PCM16."""
    with wave.open(str(SPEECH)) as file:
        at_16k = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    count = len(at_16k) * 3 // 2
    at_24k = np.interp(np.arange(count) / 1.5, np.arange(len(at_16k)), at_16k).astype(np.int16)
    return at_24k.tobytes() + bytes(int(silence_s * 24_000) * 2)


class RealtimeClient:
    """One connection. ``events`` is all that came, oldest first."""

    def __init__(self, ws: ClientConnection) -> None:
        self.ws = ws
        self.events: list[Event] = []

    async def say(self, kind: str, **fields: Any) -> None:
        await self.ws.send(json.dumps({"type": kind, **fields}))

    async def speak(self, audio: bytes | None = None, chunk_ms: int = 100) -> None:
        """Say something, faster than real time."""
        audio = speech_24k() if audio is None else audio
        step = chunk_ms * 48
        for start in range(0, len(audio), step):
            chunk = base64.b64encode(audio[start : start + step]).decode()
            await self.say("input_audio_buffer.append", audio=chunk)

    async def next(self) -> Event:
        event = json.loads(await self.ws.recv())
        if not event["type"].startswith("convergio."):
            validate(event)
        self.events.append(event)
        return event

    async def until(self, kind: str) -> Event:
        """The next event of this type."""
        with anyio.fail_after(LIMIT_S):
            while (event := await self.next())["type"] != kind:
                pass
        return event

    async def closed(self) -> int:
        """Read to the end: the close code."""
        with anyio.fail_after(LIMIT_S):
            try:
                while True:
                    await self.next()
            except ConnectionClosed as gone:
                return gone.rcvd.code if gone.rcvd else 1006

    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events]


@asynccontextmanager
async def realtime(url: str, path: str = "/v1/realtime?model=any", **how: Any) -> AsyncGenerator[RealtimeClient]:
    """A connected client that has been greeted."""
    address = f"ws{url.removeprefix('http')}{path}"
    async with connect(address, proxy=None, max_size=4 * 1024 * 1024, **how) as ws:
        client = RealtimeClient(ws)
        assert (await client.next())["type"] == "session.created"
        yield client
