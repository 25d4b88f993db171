"""Asterisk's AudioSocket: a TCP port of its own, for machines that may connect.

The protocol knows no secret, so who may connect is a list of networks, and how many at once is bounded. Off unless a
port is set.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Final

import anyio
from anyio.abc import SocketAttribute, SocketStream

from server.errors import Refused
from server.telephony.desk import PhoneDesk
from server.transports.phone.outlet import OutletGone
from server.transports.phone.stream_call import StreamCall, StreamOpening, WireGone
from server.wire.phone.audiosocket import AudioSocketCodec
from server.wire.phone.port import Frame

logger = logging.getLogger(__name__)

READ_BYTES: Final = 4_096


class AudioSocketListener:
    """The port. ``port`` is where it listens, once it does."""

    def __init__(self, desk: PhoneDesk) -> None:
        self._desk = desk
        self._settings = desk.settings.audiosocket
        self._networks = [ipaddress.ip_network(network) for network in self._settings.networks]
        self._open = 0
        self.port: int | None = None

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[None]:
        """Take calls while the body runs; where no port is set there is nothing to take."""
        settings = self._settings
        if settings.port is None:
            yield
            return
        listener = await anyio.create_tcp_listener(local_host=settings.host, local_port=settings.port)
        async with listener, anyio.create_task_group() as tasks:
            self.port = listener.extra(SocketAttribute.local_port)  # noqa: S610 - no query: a socket's attribute
            tasks.start_soon(listener.serve, self._serve)
            logger.info("AudioSocket listens", extra={"host": settings.host, "port": self.port})
            try:
                yield
            finally:
                self.port = None
                tasks.cancel_scope.cancel()

    def admits(self, address: str) -> bool:
        """Whether a machine of this address may connect."""
        try:
            found = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(found, "ipv4_mapped", None)
        return any((mapped or found) in network for network in self._networks)

    async def _serve(self, stream: SocketStream) -> None:
        async with stream:
            try:
                if self._may_come(stream):
                    await self._hold(stream)
            except Exception:
                logger.exception("a call over AudioSocket failed")

    async def _hold(self, stream: SocketStream) -> None:
        self._open += 1
        try:
            opening = StreamOpening("audiosocket", self._desk.owner)
            await StreamCall(self._desk, AudioSocketCodec(), TcpWire(stream), opening).run()
        finally:
            self._open -= 1

    def _may_come(self, stream: SocketStream) -> bool:
        try:
            address = str(stream.extra(SocketAttribute.remote_address)[0])  # noqa: S610 - as above
        except (anyio.TypedAttributeLookupError, AttributeError):  # gone already, as asyncio says it, and uvloop
            return False
        if not self.admits(address):
            logger.warning("AudioSocket: refused", extra={"address": address})
            return False
        if self._open >= self._settings.max_calls:
            logger.warning("AudioSocket: no room", extra={"open": self._open})
            return False
        try:
            self._desk.require_room()
        except Refused:
            return False
        return True


class TcpWire:
    """``Wire`` over a TCP connection."""

    in_bites = False

    def __init__(self, stream: SocketStream) -> None:
        self._stream = stream
        self.sending_since_s: float | None = None
        self.waiting = False  # what has come is received at once, as far as it goes

    async def receive(self) -> Frame:
        """The next bytes."""
        try:
            return await self._stream.receive(READ_BYTES)
        except anyio.EndOfStream as gone:
            raise WireGone(orderly=True) from gone
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as gone:
            raise WireGone(orderly=False) from gone

    async def send(self, frame: Frame) -> None:
        """Send these bytes."""
        assert isinstance(frame, bytes), "AudioSocket is a stream of bytes"
        self.sending_since_s = time.monotonic()
        try:
            await self._stream.send(frame)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as gone:
            raise OutletGone from gone
        finally:
            self.sending_since_s = None

    def cut(self) -> None:
        """End the connection; whoever reads or writes finds it gone."""
        with suppress(OSError):  # gone already
            handle = os.dup(self._stream.extra(SocketAttribute.raw_socket).fileno())  # noqa: S610 - as above
            with socket.socket(fileno=handle) as ours:  # the loop's own may be one that cannot be shut down (uvloop)
                ours.shutdown(socket.SHUT_RDWR)
