"""A benchmark's client of the voice socket: real-time frames in, timestamped events out.

Speaks the documented protocol with the ``websockets`` library and binary audio, and shares no code with the server.
Times are seconds of ``time.perf_counter``.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import websockets
from websockets.asyncio.client import ClientConnection

RATE_HZ = 16_000
FRAME_SAMPLES = 320
FRAME_S = 0.02


@dataclass(slots=True)
class Seen:
    """What came back, and when."""

    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    audio: list[tuple[float, int]] = field(default_factory=list)

    def first(self, kind: str, after_s: float = 0.0) -> float | None:
        """When the first event of a kind arrived."""
        return next((at for at, event in self.events if event["type"] == kind and at >= after_s), None)

    def count(self, kind: str) -> int:
        return sum(event["type"] == kind for _, event in self.events)

    def last(self, kind: str) -> dict[str, Any] | None:
        return next((event for _, event in reversed(self.events) if event["type"] == kind), None)


class BenchClient:
    """One voice session."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.seen = Seen()
        self.sent_at: list[float] = []
        self._changed = asyncio.Event()

    async def start(self, **settings: Any) -> None:
        """Begin the session and wait until it hears."""
        await self.socket.send(json.dumps({"type": "voice.start", "binary": True, **settings}))
        await self.until(lambda: self.seen.first("session.started") is not None)

    async def read(self) -> None:
        """Collect what comes until the socket closes."""
        async for message in self.socket:
            now = time.perf_counter()
            if isinstance(message, bytes):
                self.seen.audio.append((now, len(message)))
            else:
                self.seen.events.append((now, json.loads(message)))
            self._changed.set()

    async def until(self, condition: Callable[[], bool], limit_s: float = 30.0) -> None:
        """Wait until what was seen satisfies ``condition``. Raises TimeoutError."""
        async with asyncio.timeout(limit_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def speak(self, samples: np.ndarray, stop: Callable[[], bool] | None = None) -> list[float]:
        """Send samples in real time, 20 ms a frame; returns when each frame was sent. ``stop`` ends early."""
        sent: list[float] = []
        start = time.perf_counter()
        for number, at in enumerate(range(0, len(samples) - FRAME_SAMPLES + 1, FRAME_SAMPLES)):
            delay = start + number * FRAME_S - time.perf_counter()
            if delay > 0:
                await asyncio.sleep(delay)
            if stop is not None and stop():
                break
            await self.socket.send(samples[at : at + FRAME_SAMPLES].tobytes())
            sent.append(time.perf_counter())
        self.sent_at += sent
        return sent

    def sent_ms(self, at_ms: int) -> float:
        """When the audio before ``at_ms`` of the session had been sent."""
        return self.sent_at[max(0, at_ms // 20 - 1)]

    async def command(self, **message: Any) -> float:
        """Send one message; returns when."""
        await self.socket.send(json.dumps(message))
        return time.perf_counter()


@asynccontextmanager
async def session(url: str, **settings: Any) -> AsyncIterator[BenchClient]:
    """A started voice session on ``url`` (http://host:port)."""
    address = url.replace("http", "ws", 1) + "/v1/voice/ws"
    async with websockets.connect(address, compression=None, max_size=None, ping_interval=None) as socket:
        client = BenchClient(socket)
        async with asyncio.TaskGroup() as tasks:
            reader = tasks.create_task(client.read())
            try:
                await client.start(**settings)
                yield client
            finally:
                await socket.close()
                reader.cancel()


def silence(seconds: float) -> np.ndarray:
    """A quiet room, not digital zero: -70 dBFS of noise."""
    noise = np.random.default_rng(1).normal(0, 10, int(seconds * RATE_HZ))
    return noise.astype(np.int16)


def last_speech_sample(samples: np.ndarray) -> int:
    """Where speech ends: the last 10 ms whose level is within 25 dB of the clip's loudest."""
    step = RATE_HZ // 100
    frames = samples[: len(samples) // step * step].reshape(-1, step).astype(np.float64)
    level = 10 * np.log10(np.mean(frames**2, axis=1) + 1.0)
    return int(np.nonzero(level > level.max() - 25.0)[0][-1] + 1) * step


def percentiles(values: list[float]) -> str:
    """p50/p95 of milliseconds, as printed everywhere."""
    if not values:
        return "none"
    p50, p95 = np.percentile(values, [50, 95])
    return f"p50 {p50:6.0f}  p95 {p95:6.0f}  n={len(values)}"
