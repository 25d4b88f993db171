"""A strict client of the voice and chat sockets, for tests: the ``websockets`` library and the published contract.

Checks every message against the contract's models and every ``event_id`` against the one before, and keeps what came.
Nothing is read in the background: what a test does not wait for stays in the socket.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import anyio
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from server.contracts.voice import SERVER_MESSAGE

ALL_OF_IT_MS = 3_600_000
"""``voice.played`` beyond what was sent means all that was sent: the client of a test listens faster than time."""


class Server(Protocol):
    """What is connected to."""

    @property
    def voice_url(self) -> str: ...


class Client:
    """One connection and what came over it. ``hasty`` clients report all audio as played as soon as it arrives."""

    def __init__(self, ws: ClientConnection, *, hasty: bool = True) -> None:
        self.ws = ws
        self.messages: list[dict[str, Any]] = []
        self.payloads: list[bytes] = []
        self.last_event_id = 0
        self._hasty = hasty

    @property
    def audio(self) -> bytes:
        """Every byte of the agent's audio."""
        return b"".join(self.payloads)

    @property
    def session_id(self) -> str:
        return str(self.messages[0]["session_id"])

    async def say(self, kind: str, **fields: Any) -> None:
        await self.ws.send(json.dumps({"type": kind, **fields}))

    async def send_audio(self, payloads: Iterable[bytes], *, binary: bool = True) -> None:
        """As fast as the server takes it."""
        for payload in payloads:
            if binary:
                await self.ws.send(payload)
            else:
                await self.say("voice.chunk", bytes_base64=base64.b64encode(payload).decode())

    async def until(self, kind: str, *, within_s: float = 15.0, **fields: Any) -> dict[str, Any]:
        """The next message of a kind with these fields, having taken in everything before it."""
        with anyio.fail_after(within_s):
            while True:
                message = await self.next()
                if message is not None and message["type"] == kind and fields.items() <= message.items():
                    return message

    async def next(self) -> dict[str, Any] | None:
        """Take in one frame; its message, or None where it was bare audio."""
        frame = await self.ws.recv()
        if isinstance(frame, bytes):
            self.last_event_id += 1
            await self._heard(frame)
            return None
        message: dict[str, Any] = json.loads(frame)
        SERVER_MESSAGE.validate_json(frame)
        if message["type"] != "session.resumed":
            assert message["event_id"] == self.last_event_id + 1, message
        self.last_event_id = message["event_id"]
        if message["type"] == "voice.audio" and "bytes_base64" in message:
            await self._heard(base64.b64decode(message["bytes_base64"]))
        self.messages.append(message)
        return message

    async def closed(self, within_s: float = 15.0) -> int:
        """The close code, once the server has closed."""
        with anyio.fail_after(within_s), pytest.raises(ConnectionClosed) as gone:
            await self.listen()
        return 1006 if gone.value.rcvd is None else gone.value.rcvd.code

    async def listen(self) -> None:
        """Take in everything, until the connection ends. Raises ConnectionClosed."""
        while True:
            await self.next()

    def kinds(self) -> list[str]:
        return [message["type"] for message in self.messages]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The messages of one kind."""
        return [message for message in self.messages if message["type"] == kind]

    async def _heard(self, payload: bytes) -> None:
        self.payloads.append(payload)
        if self._hasty:
            await self.say("voice.played", audio_ms=ALL_OF_IT_MS)


@asynccontextmanager
async def joined(url: str, *, hasty: bool = True, **options: Any) -> AsyncGenerator[Client]:
    """A connection; no session yet."""
    async with connect(url, proxy=None, compression=None, **options) as ws:
        yield Client(ws, hasty=hasty)


@asynccontextmanager
async def begun(server: Server, *, hasty: bool = True, **start: Any) -> AsyncGenerator[Client]:
    """A voice session."""
    async with joined(server.voice_url, hasty=hasty) as client:
        await client.say("voice.start", **start)
        await client.until("session.started")
        yield client


async def resume(client: Client, before: Client) -> dict[str, Any]:
    """Go on with the session of a connection that was lost; what the server says to it."""
    client.last_event_id = before.last_event_id
    await client.say("session.resume", session_id=before.session_id, last_event_id=before.last_event_id)
    return await client.until("session.resumed")
