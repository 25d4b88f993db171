"""Where a peer is reached: addresses, ports, what the answer tells, and what is made of remote candidates."""

from __future__ import annotations

import asyncio
import socket

import aioice
import anyio
import pytest
from aioice import stun

from server.transports.rtc.ice import IceConnection
from server.transports.rtc.port import IceOptions, IceUnavailable

LOOPBACK = ("127.0.0.1",)


class Listener:
    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.closed: list[IceConnection] = []

    def on_datagram(self, data: bytes) -> None:
        self.data.append(data)

    def on_ice_closed(self, connection: IceConnection) -> None:
        self.closed.append(connection)


async def gathered(options: IceOptions) -> tuple[IceConnection, list[aioice.Candidate]]:
    connection = IceConnection(options, Listener())
    await connection.gather()
    return connection, [aioice.Candidate.from_sdp(value) for value in connection.answer_candidates()]


async def test_sockets_lie_within_the_range_of_ports_and_every_port_of_it_is_used():
    options = IceOptions(bind_addresses=LOOPBACK, port_min=47_300, port_max=47_303)
    connections, ports = [], set()
    for _ in range(4):
        connection, candidates = await gathered(options)
        connections.append(connection)
        ports |= {candidate.port for candidate in candidates}
    assert ports == {47_300, 47_301, 47_302, 47_303}
    one_more = IceConnection(options, Listener())
    with pytest.raises(IceUnavailable, match="every UDP port from 47300 to 47303 is taken"):
        await one_more.gather()
    await one_more.close()
    await connections[0].close()
    connection, _ = await gathered(options)
    for each in (connection, *connections[1:]):
        await each.close()


@pytest.mark.parametrize(("port_min", "port_max"), [(0, 9), (9, 8), (-1, 5), (1, 65_536)])
def test_a_range_that_is_none_is_refused(port_min, port_max):
    with pytest.raises(ValueError, match="no range"):
        IceOptions(port_min=port_min, port_max=port_max)


async def test_another_address_may_stand_in_the_answer():
    options = IceOptions(bind_addresses=("127.0.0.1", "::1"), advertised_addresses=("203.0.113.9",))
    connection, candidates = await gathered(options)
    assert {candidate.host for candidate in candidates} == {"203.0.113.9", "::1"}
    assert {candidate.port for candidate in connection.local_candidates} == {candidate.port for candidate in candidates}
    await connection.close()


async def test_ip_versions_can_be_left_out_and_loopback_taken_in():
    connection, candidates = await gathered(IceOptions(use_ipv6=False, include_loopback=True))
    assert "127.0.0.1" in {candidate.host for candidate in candidates}
    assert not any(":" in candidate.host for candidate in candidates)
    await connection.close()
    connection, candidates = await gathered(IceOptions(use_ipv4=False, include_loopback=True))
    assert "::1" in {candidate.host for candidate in candidates}
    assert not any("." in candidate.host for candidate in candidates)
    await connection.close()


async def test_without_any_other_interface_loopback_is_used(monkeypatch):
    monkeypatch.setattr("server.transports.rtc.ice.get_host_addresses", lambda use_ipv4, use_ipv6: [])
    connection, candidates = await gathered(IceOptions(use_ipv6=False))
    assert {candidate.host for candidate in candidates} == {"127.0.0.1"}
    await connection.close()


async def test_an_address_that_is_not_ours_is_passed_over_and_nowhere_is_an_error():
    connection, candidates = await gathered(IceOptions(bind_addresses=("203.0.113.77", "127.0.0.1")))
    assert {candidate.host for candidate in candidates} == {"127.0.0.1"}
    await connection.close()
    nowhere = IceConnection(IceOptions(bind_addresses=("203.0.113.77",)), Listener())
    with pytest.raises(IceUnavailable, match="no network interface"):
        await nowhere.gather()
    await nowhere.close()


async def test_remote_candidates_that_are_of_no_use_are_passed_over_and_counted():
    connection, _ = await gathered(IceOptions(bind_addresses=LOOPBACK, max_remote_candidates=3))
    await connection.add_candidates(
        [
            "nonsense",
            "1 1 tcp 1 127.0.0.1 9 typ host tcptype active",
            "1 1 udp 1 0b0a6d5c.local 9 typ host",
            "1 1 udp 1 example.org 9 typ host",
            "1 2 udp 1 127.0.0.1 9 typ host",
            "1 1 udp 1 127.0.0.1 0 typ host",
            "1 1 udp x 127.0.0.1 9 typ host",
        ]
    )
    assert connection.remote_candidates == []
    await connection.add_candidates([f"{n} 1 udp 1 127.0.0.1 {5_000 + n} typ host" for n in range(10)])
    assert len(connection.remote_candidates) == 3
    await connection.close()


async def test_a_connection_says_once_that_it_is_closed():
    listener = Listener()
    connection = IceConnection(IceOptions(bind_addresses=LOOPBACK), listener)
    await connection.gather()
    await connection.close()
    await connection.close()
    assert listener.closed == [connection]


async def test_datagrams_that_are_no_checks_are_handed_on_and_checks_are_not():
    listener = Listener()
    connection = IceConnection(IceOptions(bind_addresses=LOOPBACK), listener)
    await connection.gather()
    (local,) = connection.local_candidates
    request = bytes(stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for data in (b"\x80media", request, b"\x16dtls", b"", b"\x00"):
            sender.sendto(data, (local.host, local.port))
        with anyio.fail_after(2):
            while connection.heard < 4:  # noqa: ASYNC110 - sockets tell nobody
                await anyio.sleep(0.01)
    assert listener.data[:2] == [b"\x80media", b"\x16dtls"]
    assert request not in listener.data
    await connection.close()


class StunServer(asyncio.DatagramProtocol):
    """Answers binding requests as if they came from elsewhere, or not at all."""

    def __init__(self, *, silent: bool = False) -> None:
        self.silent = silent

    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data, addr) -> None:
        if self.silent:
            return
        request = stun.parse_message(data)
        response = stun.Message(
            message_method=stun.Method.BINDING,
            message_class=stun.Class.RESPONSE,
            transaction_id=request.transaction_id,
        )
        response.attributes["XOR-MAPPED-ADDRESS"] = ("203.0.113.5", 6_000)
        self.transport.sendto(bytes(response), addr)


@pytest.mark.parametrize("silent", [False, True])
async def test_a_stun_server_is_asked_and_waited_for_only_so_long(silent):
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: StunServer(silent=silent), local_addr=("127.0.0.1", 0))
    server = transport.get_extra_info("sockname")
    started = anyio.current_time()
    connection, candidates = await gathered(IceOptions(bind_addresses=LOOPBACK, stun_server=server, gather_limit_s=0.5))
    assert anyio.current_time() - started < (0.5 if not silent else 1.0)
    reflexive = [(one.host, one.port, one.related_address) for one in candidates if one.type == "srflx"]
    assert reflexive == ([] if silent else [("203.0.113.5", 6_000, "127.0.0.1")])
    assert [one.host for one in candidates if one.type == "host"] == ["127.0.0.1"]
    await connection.close()
    transport.close()


async def test_private_addresses_do_not_show_beside_the_advertised_one():
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(StunServer, local_addr=("127.0.0.1", 0))
    server = transport.get_extra_info("sockname")
    connection, _ = await gathered(
        IceOptions(bind_addresses=LOOPBACK, stun_server=server, advertised_addresses=("203.0.113.9",))
    )
    assert not any("127.0.0.1" in value for value in connection.answer_candidates())
    await connection.close()
    transport.close()
