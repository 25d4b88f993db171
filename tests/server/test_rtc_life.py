"""A peer's life: it connects, its path may change, and whatever happens nothing of it is left."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from dataclasses import replace
from pathlib import Path

import aioice.ice
import anyio
import numpy as np
import pytest
from aiortc import RTCBundlePolicy
from rtc_peers import LOOPBACK, Client, Recorder, running_hub, tone
from rtc_raw_client import PAYLOAD_TYPE, RawClient

from audio.codecs.libopus import EncoderOptions, LibopusEncoder
from audio.rtp.packet import RtpPacket
from audio.wav import read_wav
from server.transports.rtc.hub import RtcHub
from server.transports.rtc.port import BadOffer, IceOptions, IceUnavailable, PeerClosed, PeerOptions, PeerState

SPEECH = Path(__file__).parents[1] / "fixtures" / "speech" / "goforward.wav"
IPV4 = PeerOptions(ice=IceOptions(use_ipv6=False))


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def settled(condition, limit_s: float = 5.0) -> None:
    with anyio.fail_after(limit_s):
        while not condition():  # noqa: ASYNC110 - the other side's state, which tells nobody
            await anyio.sleep(0.01)


class Speaker:
    """Sends a tone, a packet each 20 ms, until told to stop."""

    def __init__(self, client: RawClient) -> None:
        self.client = client
        self.sent = 0
        self._encoder = LibopusEncoder(16_000, EncoderOptions())
        self._tone = tone(60, 16_000)

    async def speak(self) -> None:
        while True:
            payload = self._encoder.encode(self._tone[self.sent * 320 : self.sent * 320 + 320])
            await self.client.send(RtpPacket(self.sent, self.sent * 960, payload, 5, PAYLOAD_TYPE))
            self.sent += 1
            await anyio.sleep(0.02)


async def test_an_ice_restart_keeps_the_association_and_loses_no_speech():
    async with running_hub(IPV4) as hub:
        listener = Recorder()
        peer = hub.peer(listener)
        client = RawClient()
        await client.connect(peer)
        await listener.until_state(PeerState.CONNECTED)
        speaker = Speaker(client)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(speaker.speak)
            await listener.until(lambda: len(listener.heard) > 8_000)
            first = client.ice
            await client.restart(peer)
            assert client.ice is not first
            count = len(listener.heard)
            await listener.until(lambda: len(listener.heard) > count + 8_000)
            peer.play(tone(0.5, 16_000), 16_000)
            await settled(lambda: len(client.packets) >= 25)
            tasks.cancel_scope.cancel()
        assert [state for state, _ in listener.states] == [PeerState.CONNECTED]
        assert peer.stats.lost_packets <= 2
        assert np.abs(listener.heard[-1_600:]).max() > 4_000
        await client.close()
        assert await peer.wait_closed() == "closed_by_peer"


async def test_a_restart_that_does_not_connect_leaves_the_old_path_in_use():
    async with running_hub(replace(IPV4, connect_limit_s=0.5)) as hub:
        listener = Recorder()
        peer = hub.peer(listener)
        client = RawClient()
        await client.connect(peer)
        await listener.until_state(PeerState.CONNECTED)
        kept = client.ice
        await peer.renegotiate(await client.offer())
        await client.ice.close()
        client.ice = kept  # what is closed in the end
        await anyio.sleep(0.8)
        await client.send(
            RtpPacket(1, 960, LibopusEncoder(16_000, EncoderOptions()).encode(tone(0.02, 16_000)), 5, 111)
        )
        await settled(lambda: peer.stats.received_packets == 1)
        assert peer.state is PeerState.CONNECTED
        await client.close()


async def test_a_restart_may_overtake_a_first_path_that_never_stands():
    async with running_hub(IPV4) as hub:
        listener = Recorder()
        peer = hub.peer(listener)
        client = RawClient()
        await peer.answer(await client.offer())
        await client.ice.close()
        await client.take(await peer.renegotiate(await client.offer()))
        await listener.until_state(PeerState.CONNECTED)
        await client.close()
        assert await peer.wait_closed() == "closed_by_peer"


async def test_speech_over_a_lossy_path_is_recovered_and_counted():
    async with running_hub(IPV4) as hub:
        listener = Recorder()
        peer = hub.peer(listener)
        client = RawClient()
        await client.connect(peer)
        await listener.until_state(PeerState.CONNECTED)
        encoder = LibopusEncoder(16_000, EncoderOptions(expected_loss_percent=30))
        voice, rate_hz = read_wav(SPEECH)
        assert rate_hz == 16_000
        for n in range(100):
            payload = encoder.encode(voice[n * 320 : n * 320 + 320])
            if n % 10 != 5:
                await client.send(RtpPacket(n, n * 960, payload, 5, PAYLOAD_TYPE))
            await anyio.sleep(0.005)
        await settled(lambda: peer.stats.lost_packets == 10)
        stats = peer.stats
        assert stats.received_packets == 90
        assert stats.recovered_packets + stats.concealed_packets == 10
        assert stats.recovered_packets > 0
        await client.close()


async def test_an_offer_that_changes_nothing_is_answered_with_the_same_credentials():
    async with running_hub(IPV4) as hub:
        peer = hub.peer(Recorder())
        client = RawClient()
        await client.connect(peer)
        again = await peer.renegotiate(client.describe())
        for name in ("ice-ufrag", "ice-pwd", "fingerprint", "setup"):
            lines = [line for line in client.answer.splitlines() if line.startswith(f"a={name}:")]
            assert [line for line in again.splitlines() if line.startswith(f"a={name}:")] == lines
        other = RawClient()
        with pytest.raises(BadOffer, match="certificate"):
            await peer.renegotiate(await other.offer())
        await other.ice.close()
        await client.close()


async def test_a_client_that_only_listened_may_begin_to_speak():
    async with running_hub(IPV4) as hub:
        listener = Recorder()
        peer = hub.peer(listener)
        client = RawClient()
        answer = await peer.answer((await client.offer()).replace("a=sendrecv", "a=recvonly"))
        assert "a=sendonly" in answer
        await client.take(answer)
        await listener.until_state(PeerState.CONNECTED)
        await anyio.sleep(0.2)
        assert listener.parts == []
        assert "a=sendrecv" in await peer.renegotiate(client.describe())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Speaker(client).speak)
            await listener.until(lambda: len(listener.heard) > 8_000)
            tasks.cancel_scope.cancel()
        await client.close()


@pytest.mark.parametrize("setup", ["actpass", "active", "passive"])
@pytest.mark.parametrize("hash_name", ["sha-256", "sha-384", "sha-512"])
async def test_every_role_and_fingerprint_connects(setup, hash_name):
    async with running_hub(IPV4) as hub:
        listener = Recorder()
        peer = hub.peer(listener)
        client = RawClient(setup=setup, hash_name=hash_name)
        await client.connect(peer)
        await listener.until_state(PeerState.CONNECTED)
        assert f"a=setup:{'passive' if setup == 'active' else 'active'}" in client.answer
        await peer.close()
        assert listener.states[-1] == (PeerState.CLOSED, "closed_here")
        await client.close()


async def test_a_client_that_is_not_who_its_offer_says_is_not_connected():
    async with running_hub(IPV4) as hub:
        listener = Recorder()
        peer = hub.peer(listener)
        client = RawClient(fingerprint=":".join(["AB"] * 32))
        with anyio.move_on_after(5):
            await client.connect(peer)
        assert await peer.wait_closed() == "connect_failed"
        assert listener.states == [(PeerState.CLOSED, "connect_failed")]
        await client.close()


async def test_a_client_that_never_comes_is_given_up():
    async with running_hub(replace(IPV4, connect_limit_s=0.3)) as hub:
        listener = Recorder()
        peer = hub.peer(listener)
        client = RawClient()
        before = open_files()
        await peer.answer(await client.offer())
        assert await peer.wait_closed() == "connect_timeout"
        assert listener.states == [(PeerState.CLOSED, "connect_timeout")]
        await client.ice.close()
        assert open_files() <= before


async def test_a_client_that_vanishes_is_missed_then_given_up():
    options = replace(IPV4, disconnected_after_s=0.5, lost_after_s=1.2)
    async with running_hub(options) as hub:
        listener = Recorder()
        peer = hub.peer(listener)
        client = RawClient()
        await client.connect(peer)
        await listener.until_state(PeerState.CONNECTED)
        client.vanish()
        assert await peer.wait_closed() == "connection_lost"
        assert [state for state, _ in listener.states] == [
            PeerState.CONNECTED,
            PeerState.DISCONNECTED,
            PeerState.CLOSED,
        ]
        await client.close(goodbye=False)


async def test_a_client_that_no_longer_consents_is_given_up(monkeypatch):
    monkeypatch.setattr(aioice.ice, "CONSENT_INTERVAL", 0.05)
    monkeypatch.setattr(aioice.ice, "CONSENT_FAILURES", 2)
    async with running_hub(IPV4) as hub:
        peer = hub.peer(Recorder())
        client = RawClient()
        await client.connect(peer)
        client.vanish()
        with anyio.fail_after(5):
            assert await peer.wait_closed() == "connection_lost"
        await client.close(goodbye=False)


async def test_a_peer_that_comes_back_is_connected_again():
    options = replace(IPV4, disconnected_after_s=0.4)
    async with running_hub(options) as hub:
        listener = Recorder()
        peer = hub.peer(listener)
        client = RawClient()
        await client.connect(peer)
        await listener.until_state(PeerState.DISCONNECTED)
        await client.send_raw(b"\x80\x6f" + bytes(20))
        await listener.until(lambda: listener.states[-1][0] is PeerState.CONNECTED)
        await client.close()


async def test_a_hub_that_stops_says_goodbye_to_every_peer():
    listeners = [Recorder() for _ in range(3)]
    clients = [RawClient() for _ in listeners]
    async with running_hub(IPV4) as hub:
        for listener, client in zip(listeners, clients, strict=True):
            await client.connect(hub.peer(listener))
            await listener.until_state(PeerState.CONNECTED)
    for listener, client in zip(listeners, clients, strict=True):
        assert listener.states[-1] == (PeerState.CLOSED, "closed_here")
        await settled(lambda client=client: client.dtls.state == "closed")
        await client.close()


async def test_a_listener_that_raises_ends_its_own_peer_only(caplog):
    class Broken(Recorder):
        def on_audio(self, samples):
            raise RuntimeError("no")

    async with running_hub(IPV4) as hub:
        broken, sound = Broken(), Recorder()
        peers = [hub.peer(broken), hub.peer(sound)]
        clients = [RawClient(), RawClient()]
        for peer, client in zip(peers, clients, strict=True):
            await client.connect(peer)
        assert await peers[0].wait_closed() == "internal_error"
        await sound.until(lambda: len(sound.heard) > 3_200)
        assert peers[1].state is PeerState.CONNECTED
        for client in clients:
            await client.close()


async def test_what_comes_too_late_is_refused():
    async with running_hub(IPV4) as hub:
        peer = hub.peer(Recorder())
        await peer.close()
        assert await peer.wait_closed() == "closed_here"
        client = RawClient()
        with pytest.raises(PeerClosed):
            await peer.answer(await client.offer())
        with pytest.raises(PeerClosed):
            await peer.renegotiate("v=0")
        await peer.add_candidates("a=candidate:1 1 udp 1 127.0.0.1 9 typ host")
        assert peer.play(tone(0.1, 16_000), 16_000) == 0
        assert peer.clear() == 0
        await client.ice.close()


async def test_without_a_running_hub_nothing_is_answered_and_nothing_is_left():
    peer = RtcHub(IPV4).peer(Recorder())
    client = RawClient()
    offer = await client.offer()
    before = open_files()
    with pytest.raises(PeerClosed, match="not running"):
        await peer.answer(offer)
    assert open_files() == before
    assert await peer.wait_closed() == "connect_failed"
    await client.ice.close()


async def test_a_range_of_ports_that_is_taken_is_said_and_leaves_nothing():
    ice = replace(LOOPBACK, port_min=47_210, port_max=47_211)
    async with running_hub(PeerOptions(ice=ice)) as hub:
        clients = [RawClient() for _ in range(3)]
        peers = [hub.peer(Recorder()) for _ in clients]
        answers = [await peers[n].answer(await clients[n].offer()) for n in range(2)]
        ports = {line.split()[5] for answer in answers for line in answer.splitlines() if "typ host" in line}
        assert ports == {"47210", "47211"}
        with pytest.raises(IceUnavailable, match="47210 to 47211 is taken"):
            await peers[2].answer(await clients[2].offer())
        await peers[0].close()
        late = hub.peer(Recorder())
        assert " 4721" in await late.answer(clients[2].describe())
        for client in clients:
            await client.ice.close()


@pytest.mark.timeout(120)
async def test_a_hundred_peers_come_and_go_and_leave_nothing():
    async with running_hub(PeerOptions(ice=LOOPBACK)) as hub:

        async def one() -> None:
            listener = Recorder(echo=True)
            peer = listener.peer = hub.peer(listener)
            client = Client(tone(1, 48_000), bundle=RTCBundlePolicy.MAX_BUNDLE)
            channel = client.connection.createDataChannel("events")
            channel.on("open", lambda: channel.send("hello"))
            await client.connect(peer)
            await listener.until(lambda: listener.messages and peer.stats.received_packets, 20)
            await client.close()
            await peer.wait_closed()

        async def ten() -> None:
            async with anyio.create_task_group() as tasks:
                for _ in range(10):
                    tasks.start_soon(one)

        def left() -> tuple[int, int, int]:
            gc.collect()
            # The client encodes in the loop's executor, whose threads stay.
            threads = [one for one in threading.enumerate() if not one.name.startswith("asyncio_")]
            return len(asyncio.all_tasks()), len(threads), open_files()

        await ten()
        await anyio.sleep(0.2)
        before = left()
        for _ in range(10):
            await ten()
        await settled(lambda: left() == before)
