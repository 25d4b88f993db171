"""Where the server is reached: over IPv6 alone, within a range of ports, and behind a translator of addresses.

Server and caller are two machines (``netns``); the server has scripted engines.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from netns import Conditions, Network, network
from real_server import RealServer, scripted_server
from rtc_caller import Caller, call
from spoken import said

KEY = "a-secret-of-a-test-0123456789"
ANSWER = "You said: Go forward ten meters.."


@contextmanager
def server_of(net: Network, room: Path, **settings: object) -> Iterator[RealServer]:
    """The server on its machine; the rest of the test is run on the caller's."""
    with ExitStack() as stack:
        with net.inside("server"):
            keys = json.dumps([KEY])
            chosen = {"host": net.address("server"), "api_keys": keys} | settings
            running = stack.enter_context(scripted_server(room, **chosen))
        with net.inside("client"):
            yield running


def candidates(sdp: str) -> list[tuple[str, int]]:
    """The addresses and ports of a description."""
    lines = [line.split() for line in sdp.splitlines() if line.startswith("a=candidate:")]
    return [(words[4], int(words[5])) for words in lines]


async def converse(caller: Caller) -> None:
    """Say something, and hear the answer to its end."""
    await caller.start()
    since = caller.ear.position
    await caller.speak(said("cards_001", 0.5))
    turn = await caller.until("turn.started")
    assert (await caller.until("chat.complete", request_id=turn["request_id"]))["text"] == ANSWER
    await caller.heard(since)
    await caller.hang_up()


async def test_a_conversation_where_there_is_nothing_but_ipv6(tmp_path: Path) -> None:
    with network({"server": ["fd77::1"], "client": ["fd77::2"]}) as net, server_of(net, tmp_path) as server:
        assert server.url.startswith("http://[fd77::1]:")
        async with call(server.url, KEY) as caller:
            assert {address for address, _ in candidates(caller.answer)} == {"fd77::1"}
            await converse(caller)


async def test_a_conversation_behind_a_translator_of_addresses_within_the_ports_that_are_open(tmp_path: Path) -> None:
    inside, outside, low, high = "10.77.0.1", "203.0.113.7", 50_000, 50_003
    settings = {"webrtc__advertised_addresses": json.dumps([outside]), "webrtc__udp_ports": f"{low}-{high}"}
    machines = {"server": [inside], "client": ["10.77.0.2"]}
    with (
        network(machines, translated={inside: outside}) as net,
        server_of(net, tmp_path, **settings) as server,
    ):
        net.towards("client", "server", Conditions(udp_ports=(low, high)))
        async with call(server.url.replace(inside, outside), KEY) as caller:
            told = candidates(caller.answer)
            assert {address for address, _ in told} == {outside}
            assert all(low <= port <= high for _, port in told)
            await converse(caller)
        assert net.carried("client", "server").blocked == 0
        assert net.carried("client", "server").carried > 100
