"""The path of datagrams to the other side, over whichever ICE connection is the current one.

Owns the current connection, and the next while an ICE restart is under way: media goes over the old one until the new
one is connected, and what comes in is taken from both. Sorts what comes in by its first byte (RFC 7983): media goes on
in the call that read it, DTLS into a bounded queue. Knows no SDP and no keys; a peer drives it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import anyio

from server.transports.rtc.ice import IceConnection

_DTLS: Final = range(20, 64)
_MEDIA: Final = range(128, 192)
_CLOSE_LIMIT_S: Final = 2.0
_MAX_WAITING: Final = 512
"""Datagrams of DTLS that may wait; more are dropped, as a network would, and sent again."""


class Link:
    """A path under DTLS and media. ``on_media`` takes encrypted RTP and RTCP, ``on_lost`` the end of the last path."""

    def __init__(self, on_media: Callable[[bytes], None], on_lost: Callable[[], None]) -> None:
        self._on_media = on_media
        self._on_lost = on_lost
        self._current: IceConnection | None = None
        self._next: IceConnection | None = None
        self._heard_before = 0
        self._closed = False
        self._waiting: asyncio.Queue[bytes | None] = asyncio.Queue(_MAX_WAITING + 1)

    @property
    def role(self) -> str:
        """For DTLS without a role of its own; ours has one."""
        return "controlled"

    @property
    def heard(self) -> int:
        """Datagrams that came in, over all connections."""
        return self._heard_before + sum(one.heard for one in (self._current, self._next) if one is not None)

    def stands_on(self, connection: IceConnection) -> bool:
        """Whether this is the connection in use."""
        return connection is self._current

    def begin(self, connection: IceConnection) -> None:
        """Use a first connection: datagrams that come in over it are taken from now on."""
        self._current = connection

    async def restart(self, connection: IceConnection) -> None:
        """Take another connection in hand; one that was being tried already is given up."""
        given_up, self._next = self._next, connection
        await _close(given_up)

    async def switch(self, connection: IceConnection) -> None:
        """The connection taken in hand is connected: use it, and close the one before."""
        if self._next is not connection:
            return
        before, self._current, self._next = self._current, connection, None
        if before is not None:
            self._heard_before += before.heard
        await _close(before)

    async def give_up(self, connection: IceConnection) -> None:
        """The connection taken in hand did not connect; the current one, if it still lives, stays."""
        if self._next is connection:
            self._next = None
        await _close(connection)
        if self._current is None:
            self._lose()

    async def send(self, data: bytes) -> None:
        """One datagram out. Raises ConnectionError while there is no path."""
        if self._current is None:
            raise ConnectionError("no path to the other side")
        await self._current.send(data)

    async def close(self) -> None:
        """Free every connection; whoever waits for DTLS ends with ConnectionError."""
        self._closed = True
        self._end_waiting()
        await _close(self._current)
        await _close(self._next)

    # What an ICE connection calls.

    def on_datagram(self, data: bytes) -> None:
        first = data[0] if data else 0
        if first in _MEDIA:
            self._on_media(data)
        elif first in _DTLS and self._waiting.qsize() < _MAX_WAITING:
            self._waiting.put_nowait(data)

    def on_ice_closed(self, connection: IceConnection) -> None:
        if self._closed or connection is not self._current:
            return
        self._heard_before += connection.heard
        self._current = None
        if self._next is None:
            self._lose()

    # What DTLS calls.

    async def _recv(self) -> bytes:
        if self._closed:
            raise ConnectionError("the path is closed")
        data = await self._waiting.get()
        if data is None:
            raise ConnectionError("the path is closed")
        return data

    async def _send(self, data: bytes) -> None:
        if self._closed:
            raise ConnectionError("the path is closed")
        try:
            await self.send(data)
        except ConnectionError:  # between two paths: lost like any datagram, and sent again
            return

    def _lose(self) -> None:
        self._end_waiting()
        self._on_lost()

    def _end_waiting(self) -> None:
        if not self._waiting.full():
            self._waiting.put_nowait(None)


async def _close(connection: IceConnection | None) -> None:
    """Free a connection; one whose TURN server does not answer goes on closing by itself."""
    if connection is not None:
        with anyio.move_on_after(_CLOSE_LIMIT_S, shield=True):
            await connection.close()
