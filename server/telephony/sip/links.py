"""The sockets SIP messages come and go by: UDP, TCP and TLS, with bounds. Bytes and addresses only; the endpoint above
knows what they mean.

A stream stays open while it is used; a request to somebody new over TCP or TLS opens one. What cannot be sent is told
to nobody: transactions notice by their timers.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final, cast

import anyio

from server.sip_settings import SipSettings
from server.telephony.sip.jobs import Jobs
from server.wire.sip.errors import SipSyntaxError
from server.wire.sip.flow import Flow, Transport
from server.wire.sip.framing import PONG, StreamFramer
from server.wire.sip.message import Message, parse_message

logger = logging.getLogger(__name__)

_UDP_BUFFER_BYTES: Final = 4 * 1_024 * 1_024
"""A burst of calls waits here, as far as the system lets it, while we are busy."""

_MAX_STREAMS: Final = 1_024
_MAX_UNSENT_BYTES: Final = 256 * 1_024
_CONNECT_LIMIT_S: Final = 5.0
_IDLE_S: Final = 900.0

_Place = tuple[Transport, str, int, str]
"""Where a stream leads, and the name its certificate was held to: under another it may be somebody else's."""

OnMessage = Callable[[Message, Flow], None]
OnMalformed = Callable[[bytes, Flow], None]


class SipLinks:
    """Every socket of one endpoint. ``run`` opens and closes them; ``on_message`` is called for each message."""

    def __init__(self, settings: SipSettings, on_message: OnMessage, on_malformed: OnMalformed) -> None:
        self._settings = settings
        self._on_message = on_message
        self._on_malformed = on_malformed
        self._udp: asyncio.DatagramTransport | None = None
        self._servers: list[asyncio.Server] = []
        self._streams: dict[int, _Stream] = {}
        self._by_place: dict[_Place, int] = {}
        self._connecting: dict[_Place, list[bytes]] = {}
        self._numbers = 0
        self._jobs: Jobs | None = None
        self._client_tls: ssl.SSLContext | None = None
        self.ports: dict[Transport, int] = {}
        """Where we listen, once we do."""

    @property
    def open_streams(self) -> int:
        return len(self._streams)

    async def open(self, jobs: Jobs) -> None:
        """Listen. Raises OSError, ssl.SSLError."""
        settings, loop = self._settings, asyncio.get_running_loop()
        self._jobs = jobs
        self._client_tls = ssl.create_default_context(cafile=settings.tls_ca)
        if settings.udp_port is not None:
            self._udp, _ = await loop.create_datagram_endpoint(
                lambda: _Datagrams(self._datagram), local_addr=(settings.bind, settings.udp_port)
            )
            bound = cast("socket.socket", self._udp.get_extra_info("socket"))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UDP_BUFFER_BYTES)
            self.ports["UDP"] = self._udp.get_extra_info("sockname")[1]
        if settings.tcp_port is not None:
            await self._listen("TCP", settings.tcp_port, None)
        if settings.tls_port is not None:
            await self._listen("TLS", settings.tls_port, self._server_tls())

    def close(self) -> None:
        """Close every socket."""
        if self._udp is not None:
            self._udp.abort()
        for server in self._servers:
            server.close()
        for stream in list(self._streams.values()):
            stream.drop()

    def send(self, data: bytes, flow: Flow) -> None:
        """Send a message; over a stream that is gone or new, once it is open."""
        if flow.transport == "UDP":
            if self._udp is not None and not self._udp.is_closing():
                with suppress(OSError, ValueError):  # an address of another family, says uvloop
                    self._udp.sendto(data, (flow.host, flow.port))
            return
        place = _place(flow)
        stream = self._streams.get(flow.connection) or self._streams.get(self._by_place.get(place, 0))
        if stream is not None:
            stream.write(data)
        elif place in self._connecting:
            if len(self._connecting[place]) < 64:
                self._connecting[place].append(data)
        elif self._jobs is not None and len(self._streams) + len(self._connecting) < _MAX_STREAMS:
            self._connecting[place] = [data]
            self._jobs.start(self._connect, flow)

    # --- what streams call ---

    def opened(self, stream: _Stream, flow: Flow) -> Flow | None:
        """A stream begins; None where there are too many."""
        if len(self._streams) >= _MAX_STREAMS:
            return None
        self._numbers += 1
        self._streams[self._numbers] = stream
        self._by_place[_place(flow)] = self._numbers
        return replace(flow, connection=self._numbers)

    def came(self, message: Message, flow: Flow) -> None:
        self._on_message(message, flow)

    def gone(self, flow: Flow) -> None:
        """A stream has ended."""
        self._streams.pop(flow.connection, None)
        if self._by_place.get(_place(flow)) == flow.connection:
            del self._by_place[_place(flow)]

    # --- inside ---

    async def _listen(self, transport: Transport, port: int, context: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: _Stream(self, transport), self._settings.bind, port, ssl=context, backlog=256
        )
        self._servers.append(server)
        self.ports[transport] = server.sockets[0].getsockname()[1]

    def _server_tls(self) -> ssl.SSLContext:
        settings = self._settings
        assert settings.tls_certificate is not None, "the settings check it"
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
        return context

    async def _connect(self, flow: Flow) -> None:
        place, host, port = _place(flow), flow.host, flow.port
        context = self._client_tls if flow.transport == "TLS" else None
        name = (flow.name or host) if context else None
        loop = asyncio.get_running_loop()
        try:
            with anyio.fail_after(_CONNECT_LIMIT_S):
                _, stream = await loop.create_connection(
                    lambda: _Stream(self, flow.transport, flow.name), host, port, ssl=context, server_hostname=name
                )
            for data in self._connecting[place]:
                stream.write(data)
        except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
            logger.warning("sip connection failed", extra={"peer": f"{host}:{port}", "why": type(error).__name__})
        finally:
            self._connecting.pop(place, None)

    def _datagram(self, data: bytes, source: tuple[str, int]) -> None:
        flow = Flow("UDP", source[0], source[1])
        if len(data) < 8 and not data.strip(b"\r\n\0"):
            return  # keepalives
        try:
            message = parse_message(data)
        except SipSyntaxError:
            self._on_malformed(data, flow)
            return
        self._on_message(message, flow)


def _place(flow: Flow) -> _Place:
    return flow.transport, flow.host, flow.port, flow.name if flow.transport == "TLS" else ""


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, receive: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._receive = receive

    def datagram_received(self, data: bytes, addr: tuple[str, int] | tuple[str, int, int, int]) -> None:
        self._receive(data, (addr[0], addr[1]))

    def error_received(self, exc: Exception) -> None:
        """An ICMP error: transactions notice by their timers."""


class _Stream(asyncio.Protocol):
    """One connection: bytes to messages, and a bound on what it does not take."""

    def __init__(self, links: SipLinks, transport: Transport, name: str = "") -> None:
        self._links = links
        self._kind: Transport = transport
        self._name = name
        self._framer = StreamFramer()
        self._transport: asyncio.Transport | None = None
        self._flow: Flow | None = None
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        opened = self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by inheritance
        peer = opened.get_extra_info("peername")
        self._flow = self._links.opened(self, Flow(self._kind, *peer[:2], name=self._name)) if peer else None
        if self._flow is None:
            opened.abort()
        else:
            self._rest()

    def data_received(self, data: bytes) -> None:
        if self._flow is None or self._transport is None:
            return
        self._rest()
        try:
            messages = self._framer.feed(data)
        except SipSyntaxError:
            self._transport.abort()  # where the next message begins cannot be known
            return
        for _ in range(self._framer.pings):
            self.write(PONG)
        self._framer.pings = 0
        for message in messages:
            self._links.came(message, self._flow)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._idle is not None:
            self._idle.cancel()
        if self._flow is not None:
            self._links.gone(self._flow)

    def write(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > _MAX_UNSENT_BYTES:
            self._transport.abort()
            return
        self._transport.write(data)

    def drop(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _rest(self) -> None:
        """Count the idle time anew."""
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(_IDLE_S, self.drop)
