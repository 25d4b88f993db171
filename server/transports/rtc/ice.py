"""One ICE connection (RFC 8445), answering side: aioice, with our sockets.

Adds to aioice where sockets are bound (addresses, a range of ports), what stands in the answer, and a straight way for
datagrams: each is handed on in the call that read it, without a queue. Remote ``.local`` names (mDNS) are passed over:
who hides behind one reaches us, and is learnt from its checks (a peer-reflexive candidate). Knows no DTLS and no SDP;
``server.transports.rtc.link`` drives it.
"""

from __future__ import annotations

import asyncio
import copy
import errno
import ipaddress
import logging
import math
import random
import socket
from collections.abc import Iterable
from typing import Any, Final, Protocol

from aioice import Candidate, Connection, stun
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import StunProtocol, get_host_addresses

from server.transports.rtc.aiortc_seam import add_protocol
from server.transports.rtc.port import IceOptions, IceUnavailable

_log: Final = logging.getLogger(__name__)

_SOCKET_BUFFER_BYTES: Final = 262_144
_STUN_LAST_FIRST_BYTE: Final = 3  # RFC 7983: STUN begins with 0 to 3


class IceListener(Protocol):
    """Who takes a connection's datagrams."""

    def on_datagram(self, data: bytes) -> None: ...

    def on_ice_closed(self, connection: IceConnection) -> None: ...


class IceConnection(Connection):
    """One generation of ICE: gathered once, connected once, closed once."""

    def __init__(self, options: IceOptions, listener: IceListener, *, controlling: bool = False) -> None:
        turn = options.turn_server
        super().__init__(
            ice_controlling=controlling,
            turn_server=None if turn is None else (turn.host, turn.port),
            turn_username=None if turn is None else turn.username,
            turn_password=None if turn is None else turn.password,
            turn_ssl=turn is not None and turn.tls,
            turn_transport="udp" if turn is None else turn.transport,
        )
        self._options = options
        self._listener = listener
        self._told = False
        self._offered = 0
        self.heard = 0
        """Datagrams that came in, of whatever kind."""

    async def gather(self) -> None:
        """Bind sockets and ask STUN and TURN, within the limit. Raises IceUnavailable."""
        await self.gather_candidates()
        if not self.local_candidates:
            raise IceUnavailable("no network interface to be reached at")

    def answer_candidates(self) -> tuple[str, ...]:
        """The values of the answer's candidate lines."""
        return tuple(
            candidate.to_sdp()
            for local in self.local_candidates
            for candidate in _advertised(local, self._options.advertised_addresses)
        )

    async def add_candidates(self, candidates: Iterable[str]) -> None:
        """Take values of remote candidate lines; those that cannot be used are passed over."""
        for value in candidates:
            candidate = _usable(value)
            if candidate is None or self._offered >= self._options.max_remote_candidates:
                continue
            self._offered += 1
            await self.add_remote_candidate(candidate)

    # What aioice calls.

    async def get_component_candidates(self, component: int, addresses: list[str], timeout: int = 5) -> list[Candidate]:
        """Gather candidates: on our addresses and ports, not on aioice's ``addresses``."""
        del addresses, timeout
        hosts = [await self._bind(component, at, address) for at, address in enumerate(_addresses(self._options))]
        protocols = [protocol for protocol in hosts if protocol is not None]
        candidates = [protocol.local_candidate for protocol in protocols]
        found = await asyncio.gather(
            super().get_component_candidates(component, [], timeout=math.ceil(self._options.gather_limit_s)),
            self._reflexive(protocols),
        )
        return [*candidates, *found[0], *found[1]]

    def data_received(self, data: bytes, component: int) -> None:
        """A datagram that is no STUN, from the read itself."""
        del component
        self.heard += 1
        self._listener.on_datagram(data)

    def request_received(self, message: stun.Message, addr: tuple[str, int], protocol: StunProtocol) -> None:
        """A check, or a sign of life (RFC 7675)."""
        self.heard += 1
        super().request_received(message, addr, protocol)

    async def close(self) -> None:
        """Free everything; also called by aioice when consent to send has expired."""
        await super().close()
        if not self._told:
            self._told = True
            self._listener.on_ice_closed(self)

    async def _bind(self, component: int, at: int, address: str) -> StunProtocol | None:
        try:
            sock = _bound_socket(address, self._options)
        except OSError as error:
            _log.info("cannot be reached at an address", extra={"address": address, "error": str(error)})
            return None
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_datagram_endpoint(lambda: _Protocol(self), sock=sock)
        port = sock.getsockname()[1]
        protocol.local_candidate = Candidate(
            foundation=candidate_foundation("host", "udp", address),
            component=component,
            transport="udp",
            priority=candidate_priority(component, "host", 65_535 - at),
            host=address,
            port=port,
            type="host",
        )
        add_protocol(self, protocol)
        return protocol

    async def _reflexive(self, protocols: Iterable[StunProtocol]) -> list[Candidate]:
        """What a STUN server sees us as (IPv4)."""
        server = self._options.stun_server
        if server is None:
            return []
        loop = asyncio.get_running_loop()
        asked = [protocol for protocol in protocols if _version(protocol.local_candidate.host) == 4]
        try:
            async with asyncio.timeout(self._options.gather_limit_s):
                found = await loop.getaddrinfo(*server, family=socket.AF_INET, type=socket.SOCK_DGRAM)
                answers = await asyncio.gather(*(_ask_stun(protocol, found[0][4][:2]) for protocol in asked))
        except OSError as error:  # no such host, or no answer in time
            _log.warning("STUN server does not help", extra={"host": server[0], "error": repr(error)})
            return []
        return [candidate for candidate in answers if candidate is not None]


class _Protocol(StunProtocol):
    """aioice's socket, minus a failed attempt to read each media packet as STUN."""

    def __init__(self, connection: IceConnection) -> None:
        super().__init__(connection)
        self._connection = connection

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        if isinstance(data, bytes) and data and data[0] > _STUN_LAST_FIRST_BYTE:
            self._connection.data_received(data, 1)
        else:
            self._connection.heard += 1
            super().datagram_received(data, addr)


async def _ask_stun(protocol: StunProtocol, server: tuple[Any, ...]) -> Candidate | None:
    request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    try:
        response, _ = await protocol.request(request, (server[0], server[1]))
    except stun.TransactionError:
        return None
    local = protocol.local_candidate
    host, port = response.attributes["XOR-MAPPED-ADDRESS"]
    return Candidate(
        foundation=candidate_foundation("srflx", "udp", local.host),
        component=local.component,
        transport="udp",
        priority=candidate_priority(local.component, "srflx"),
        host=host,
        port=port,
        type="srflx",
        related_address=local.host,
        related_port=local.port,
    )


def _addresses(options: IceOptions) -> list[str]:
    """The local addresses to be reached at: those asked for, or every interface's; loopback last."""
    if options.bind_addresses:
        return list(options.bind_addresses)
    loopback = ["127.0.0.1"] * options.use_ipv4 + ["::1"] * options.use_ipv6
    others = get_host_addresses(use_ipv4=options.use_ipv4, use_ipv6=options.use_ipv6)
    return [*others, *loopback] if options.include_loopback or not others else others


def _bound_socket(address: str, options: IceOptions) -> socket.socket:
    """A UDP socket on ``address`` within the range of ports, which are tried from a random one on.

    Raises OSError where the address cannot be used, IceUnavailable where every port is taken.
    """
    family = socket.AF_INET if _version(address) == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BUFFER_BYTES)
        _bind_within(sock, address, options.port_min, options.port_max)
    except BaseException:
        sock.close()
        raise
    return sock


def _bind_within(sock: socket.socket, address: str, port_min: int, port_max: int) -> None:
    count = port_max - port_min + 1
    start = random.randrange(count)  # noqa: S311 - spreads sockets, guards nothing
    for offset in range(count):
        try:
            sock.bind((address, port_min + (start + offset) % count))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return
    raise IceUnavailable(f"every UDP port from {port_min} to {port_max} is taken")


def _advertised(local: Candidate, addresses: Iterable[str]) -> list[Candidate]:
    """A local candidate as the other side is told of it."""
    replacements = [address for address in addresses if _version(address) == _version(local.host)]
    if not replacements:
        return [local]
    if local.type != "host":
        hidden = copy.copy(local)
        hidden.related_address, hidden.related_port = ("0.0.0.0", 9) if _version(local.host) == 4 else ("::", 9)  # noqa: S104
        return [hidden]
    seen: list[Candidate] = []
    for address in replacements:
        candidate = copy.copy(local)
        candidate.host = address
        seen.append(candidate)
    return seen


def _usable(value: str) -> Candidate | None:
    """A remote UDP candidate with an address, or None."""
    try:
        candidate = Candidate.from_sdp(value)
        ipaddress.ip_address(candidate.host)
    except (ValueError, IndexError):
        return None
    if candidate.transport.lower() != "udp" or candidate.component != 1 or not 1 <= candidate.port <= 65_535:
        return None
    return candidate


def _version(address: str) -> int:
    return ipaddress.ip_address(address).version
