"""A real TURN server takes our credentials and carries a conversation."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from rtc_peers import Recorder, running_hub, tone
from rtc_raw_client import PAYLOAD_TYPE, RawClient

from audio.codecs.libopus import EncoderOptions, LibopusEncoder
from audio.rtp.packet import RtpPacket
from server.transports.rtc.port import IceOptions, PeerOptions, PeerState, TurnServer
from server.transports.rtc.turn_credentials import turn_credentials

TURNSERVER = shutil.which("turnserver")
SECRET = "north"
needs_turnserver = pytest.mark.skipif(TURNSERVER is None, reason="coturn is not installed")


@pytest.fixture
def turn_port(tmp_path: Path) -> Iterator[int]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [
            TURNSERVER,
            *("-n", "--no-cli", "--no-tls", "--no-dtls", "--allow-loopback-peers", "--log-file=stdout"),
            *("--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", f"--listening-port={port}"),
            *("--use-auth-secret", f"--static-auth-secret={SECRET}", "--realm=voice.test"),
            *(f"--userdb={tmp_path / 'users'}", f"--pidfile={tmp_path / 'pid'}"),
            *("--min-port=47400", "--max-port=47420"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(5)


def options(port: int, secret: str, transport: str = "udp") -> PeerOptions:
    made = turn_credentials(secret, "server", time.time(), 600)  # noqa: TID251 - a real server checks the real hour
    relay = TurnServer("127.0.0.1", port, made.username, made.password, transport)
    return PeerOptions(ice=IceOptions(bind_addresses=("127.0.0.1",), turn_server=relay))


@needs_turnserver
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_conversation_goes_through_the_relay_when_nothing_else_is_reachable(turn_port, transport):
    async with running_hub(options(turn_port, SECRET, transport)) as hub:
        listener = Recorder(echo=True)
        peer = listener.peer = hub.peer(listener)
        client = RawClient()
        answer = await peer.answer(await client.offer())
        relayed = [line.split() for line in answer.splitlines() if "typ relay" in line]
        ports = {int(words[5]) for words in relayed}
        assert all(47_400 <= port <= 47_420 for port in ports)
        hear_check = client.ice.request_received
        # What comes straight from the server is lost on the way.
        client.ice.request_received = lambda message, addr, socket: (
            hear_check(message, addr, socket) if addr[1] in ports else None
        )
        await client.take("\r\n".join(line for line in answer.splitlines() if "typ host" not in line))
        await listener.until_state(PeerState.CONNECTED)
        assert client.ice._nominated[1].remote_addr[1] in ports
        encoder = LibopusEncoder(16_000, EncoderOptions())
        for n in range(25):
            payload = encoder.encode(tone(0.02, 16_000))
            await client.send(RtpPacket(n, n * 960, payload, 5, PAYLOAD_TYPE))
            await anyio.sleep(0.02)
        await listener.until(lambda: peer.stats.received_packets == 25)
        with anyio.fail_after(5):
            while len(client.packets) < 10:  # noqa: ASYNC110 - the client tells nobody
                await anyio.sleep(0.01)
        await peer.close()
        await client.close()


@needs_turnserver
async def test_credentials_of_another_secret_get_no_relay(turn_port):
    async with running_hub(options(turn_port, "south")) as hub:
        peer = hub.peer(Recorder())
        client = RawClient()
        answer = await peer.answer(await client.offer())
        assert "typ relay" not in answer
        assert "typ host" in answer
        await peer.close()
        await client.ice.close()
