"""How a WebSocket is read: in bites where the loop is busy, ahead of the application but not far."""

from __future__ import annotations

import asyncio
import base64
import os
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import uvicorn
from uvicorn.server import ServerState

from server.loop_load import LoopLoad
from server.socket_protocol import MEDIA_BYTES, MOST_WAITING, MOST_WAITING_BYTES, SocketProtocol, socket_protocol
from server.transports.connection import WAITING_EXTENSION

pytestmark = pytest.mark.anyio


class Pinned(LoopLoad):
    """A load that stays as it is told."""

    rest_s = 0.0  # type: ignore[assignment]


class Wire(asyncio.Transport):
    """A transport that notes whether it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True
        self.pauses = 0
        self.closing = False

    def pause_reading(self) -> None:
        self.reading = False
        self.pauses += 1

    def resume_reading(self) -> None:
        assert not self.closing
        self.reading = True

    def write(self, data: Any) -> None:
        """Nobody reads it."""

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = True


class Taker:
    """An application that takes what comes when it is told to."""

    def __init__(self) -> None:
        self.scope: dict[str, Any] = {}
        self.receive: Any = None
        self.done = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope, self.receive = scope, receive
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        await self.done.wait()

    @property
    def waiting(self) -> bool:
        return self.scope["extensions"][WAITING_EXTENSION]()


def message(payload: bytes) -> bytes:
    """A binary message of a client's, masked with zeros (RFC 6455 section 5.2)."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else struct.pack("!BH" if size < 65_536 else "!BQ", 0x80 | 126, size)
    if size >= 65_536:
        length = struct.pack("!BQ", 0x80 | 127, size)
    return b"\x82" + length + b"\0\0\0\0" + payload


@asynccontextmanager
async def connected(rest_s: float = 0.0) -> AsyncGenerator[tuple[SocketProtocol, Wire, Taker]]:
    load, taker, wire = Pinned(), Taker(), Wire()
    load.rest_s = rest_s  # type: ignore[misc]
    config = uvicorn.Config(taker, ws_max_size=1 << 24, log_config=None, ws_ping_interval=None)
    config.load()
    protocol = socket_protocol(load, frozenset())(config, ServerState(), {})
    protocol.connection_made(wire)
    key = base64.b64encode(os.urandom(16)).decode()
    upgrade = "Host: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"
    protocol.data_received(f"GET / HTTP/1.1\r\n{upgrade}\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
    while not protocol.handshake_complete:  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(0)
    try:
        yield protocol, wire, taker
    finally:
        taker.done.set()
        await asyncio.gather(*cast("set[asyncio.Task[None]]", protocol.tasks), return_exceptions=True)


async def test_reading_goes_on_while_a_few_messages_wait() -> None:
    async with connected() as (protocol, wire, taker):
        for number in range(MOST_WAITING - 1):
            protocol.data_received(message(bytes([number]) * 640))
        assert (wire.reading, wire.pauses, taker.waiting) == (True, 0, True)
        taken = [(await taker.receive())["bytes"][0] for _ in range(MOST_WAITING - 1)]
        assert taken == list(range(MOST_WAITING - 1))
        assert not taker.waiting


async def test_an_application_that_does_not_take_stops_the_reading() -> None:
    async with connected() as (protocol, wire, taker):
        for _ in range(MOST_WAITING):
            protocol.data_received(message(b"\0" * 640))
        assert not wire.reading
        for _ in range(MOST_WAITING - 1):
            await taker.receive()
        assert not wire.reading
        await taker.receive()
        assert wire.reading


async def test_large_messages_stop_it_sooner() -> None:
    async with connected() as (protocol, wire, taker):
        protocol.data_received(message(b"\0" * (MOST_WAITING_BYTES // 2)))
        assert wire.reading
        protocol.data_received(message(b"\0" * (MOST_WAITING_BYTES // 2)))
        assert not wire.reading
        await taker.receive()
        await taker.receive()
        assert wire.reading
        protocol.data_received(message(b"\0" * (MOST_WAITING_BYTES // 2)))
        assert wire.reading


async def test_a_busy_server_rests_after_each_read_of_media_and_loses_nothing() -> None:
    async with connected(rest_s=0.01) as (protocol, wire, taker):
        protocol.data_received(message(b"\1" * 640))
        assert not wire.reading
        assert (await taker.receive())["bytes"] == b"\1" * 640
        assert not wire.reading, "taking a message does not end the rest"
        await asyncio.sleep(0.05)
        assert wire.reading
        protocol.data_received(message(b"\2" * 640) + message(b"\3" * 640))
        assert [(await taker.receive())["bytes"][0] for _ in range(2)] == [2, 3]


async def test_what_is_bulk_or_late_is_read_on_at_once() -> None:
    async with connected(rest_s=0.01) as (protocol, wire, _):
        protocol.data_received(message(b"\0" * MEDIA_BYTES))
        assert wire.reading


async def test_a_rest_does_not_read_on_for_an_application_that_does_not_take() -> None:
    async with connected(rest_s=0.01) as (protocol, wire, _):
        for _ in range(MOST_WAITING):
            protocol.data_received(message(b"\0" * 160))
        await asyncio.sleep(0.05)
        assert not wire.reading


async def test_a_connection_that_breaks_has_not_been_closed() -> None:
    async with connected() as (protocol, _, taker):
        protocol.data_received(message(b"\1" * 160))
        protocol.connection_lost(None)
        assert (await taker.receive())["bytes"] == b"\1" * 160
        assert (await taker.receive())["code"] == 1006


async def test_one_that_is_closed_says_so() -> None:
    async with connected() as (protocol, _, taker):
        protocol.data_received(b"\x88\x80\0\0\0\0")
        protocol.connection_lost(None)
        assert (await taker.receive())["code"] == 1005


async def test_a_connection_may_go_while_it_rests() -> None:
    async with connected(rest_s=0.01) as (protocol, wire, _):
        protocol.data_received(message(b"\0" * 160))
        wire.close()
        protocol.connection_lost(None)
        await asyncio.sleep(0.05)
        assert not wire.reading
