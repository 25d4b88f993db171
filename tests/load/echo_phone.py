"""A telephone in a room as a client of the voice socket: plays what it is sent, in real time, beside its microphone.

Speaks the documented protocol with the ``websockets`` library; shares no code with the server but the room's resampler.
Times are seconds of ``time.perf_counter``. Used by tests and benchmarks.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import websockets
from echo_room import FRAME, EchoRoom
from websockets.asyncio.client import ClientConnection

from audio.formats import HEARING_RATE_HZ, Samples

FRAME_S = 0.02
OUTPUT_HZ = 24_000


class Telephone:
    """One session, and what came of it: ``events`` with when they arrived, ``audio`` with its length in bytes."""

    def __init__(self, socket: ClientConnection, room: EchoRoom) -> None:
        self.room = room
        self.events: list[tuple[float, dict[str, Any]]] = []
        self.audio: list[tuple[float, int]] = []
        self._socket = socket
        self._near: deque[Samples] = deque()
        self._spoken = asyncio.Event()
        self._changed = asyncio.Event()

    async def start(self, **settings: Any) -> None:
        await self._socket.send(json.dumps({"type": "voice.start", "binary": True, **settings}))
        await self.until(lambda: self.count("session.started") > 0)

    def count(self, kind: str) -> int:
        return len(self.all(kind))

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [event for _, event in self.events if event["type"] == kind]

    def first_s(self, kind: str, after_s: float = 0.0) -> float | None:
        """When the first event of a kind came."""
        return next((at for at, event in self.events if event["type"] == kind and at >= after_s), None)

    async def until(self, condition: Callable[[], object], limit_s: float = 40.0) -> None:
        """Wait until what came satisfies ``condition``. Raises TimeoutError."""
        async with asyncio.timeout(limit_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def say(self, samples: Samples) -> float:
        """Speak, to the end; returns when the first frame was sent."""
        self._spoken.clear()
        self._near.extend(samples[at : at + FRAME] for at in range(0, len(samples), FRAME))
        began = time.perf_counter()
        async with asyncio.timeout(10.0 + 3.0 * len(samples) / HEARING_RATE_HZ):
            await self._spoken.wait()
        return began

    async def command(self, **message: Any) -> None:
        await self._socket.send(json.dumps(message))

    async def receive(self) -> None:
        async for message in self._socket:
            now = time.perf_counter()
            if isinstance(message, bytes):
                self.audio.append((now, len(message)))
                self.room.arrive(np.frombuffer(message, np.int16))
            else:
                event = json.loads(message)
                self.events.append((now, event))
                if event["type"] == "voice.interrupted":
                    self.room.clear()
            self._changed.set()

    async def transmit(self) -> None:
        due = time.perf_counter()
        while True:
            near = self._near.popleft() if self._near else None
            await self._socket.send(self.room.hear(near).tobytes())
            if not self._near:
                self._spoken.set()
            due += FRAME_S
            await asyncio.sleep(max(0.0, due - time.perf_counter()))


@asynccontextmanager
async def telephone(url: str, room: EchoRoom, **settings: Any) -> AsyncIterator[Telephone]:
    """A started session on ``url`` (http://host:port) whose microphone is open until it is put down."""
    address = url.replace("http", "ws", 1) + "/v1/voice/ws"
    async with websockets.connect(address, compression=None, max_size=None, ping_interval=None) as socket:
        phone = Telephone(socket, room)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(phone.receive())]
            try:
                await phone.start(**settings)
                running.append(tasks.create_task(phone.transmit()))
                yield phone
            finally:
                for task in running:
                    task.cancel()
