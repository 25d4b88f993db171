"""A peer and a stock aiortc client: voices both ways, data channels, and offers of every shape."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import numpy as np
import pytest
from aiortc import RTCBundlePolicy
from rtc_peers import LOOPBACK, Client, Recorder, level, pitch_hz, running_hub, tone

from audio.codecs.resample import StreamResampler
from audio.wav import read_wav
from server.transports.rtc.port import ChannelClosed, PeerOptions, PeerState

SPEECH = Path(__file__).parents[1] / "fixtures" / "speech" / "goforward.wav"
OPTIONS = PeerOptions(ice=LOOPBACK)


async def until(condition, limit_s: float = 10.0) -> None:
    with anyio.fail_after(limit_s):
        while not condition():  # noqa: ASYNC110 - the client tells nobody
            await anyio.sleep(0.01)


async def test_a_tone_is_heard_and_comes_back_with_its_pitch_and_level():
    async with running_hub() as hub:
        listener = Recorder(echo=True)
        peer = listener.peer = hub.peer(listener)
        client = Client(tone(30, 48_000))
        await client.connect(peer)
        await until(lambda: len(listener.heard) > 40_000 and len(client.samples) > 110_000)
        heard, returned = listener.heard[-16_000:], client.samples[-48_000:]
        assert pitch_hz(heard, 16_000) == pytest.approx(440, abs=2)
        assert pitch_hz(returned, 48_000) == pytest.approx(440, abs=2)
        sent = level(tone(1, 48_000))
        assert level(heard) == pytest.approx(sent, rel=0.4)
        assert level(returned) == pytest.approx(sent, rel=0.5)
        assert peer.stats.lost_packets == 0
        assert peer.stats.received_packets > 100
        await client.close()
        assert await peer.wait_closed() == "closed_by_peer"


async def test_speech_arrives_as_it_was_said():
    samples, rate_hz = read_wav(SPEECH)
    resampler = StreamResampler(rate_hz, 48_000)
    async with running_hub() as hub:
        listener = Recorder()
        client = Client(np.concatenate([resampler.process(samples), resampler.flush()]))
        await client.connect(hub.peer(listener))
        await until(lambda: len(listener.heard) > len(samples) + 8_000, 15)
        await client.close()
    heard = listener.heard
    size = 1 << (len(heard) + len(samples)).bit_length()
    product = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(samples, size)))
    assert product.max() / np.linalg.norm(heard.astype(float)) / np.linalg.norm(samples.astype(float)) > 0.7


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 24_000, 48_000])
async def test_a_voice_of_any_rate_is_spoken_at_its_own_pitch_and_pace(rate_hz):
    async with running_hub() as hub:
        listener = Recorder()
        peer = hub.peer(listener)
        client = Client(tone(0.1, 48_000))
        await client.connect(peer)
        await listener.until_state(PeerState.CONNECTED)
        started = anyio.current_time()
        assert peer.play(tone(1.0, rate_hz), rate_hz) == rate_hz
        assert peer.queued_ms == pytest.approx(1_000, abs=1)
        await until(lambda: peer.played_samples == rate_hz)
        assert 0.8 < anyio.current_time() - started < 1.6
        assert peer.queued_ms == 0
        await until(lambda: len(client.samples) > 48_000)
        loud = client.samples[np.flatnonzero(np.abs(client.samples) > 2_000)]
        assert len(loud) > 20_000
        assert pitch_hz(client.samples[:60_000], 48_000) == pytest.approx(440, abs=3)
        await client.close()


async def test_barge_in_empties_the_queue_at_once():
    async with running_hub() as hub:
        listener = Recorder()
        peer = hub.peer(listener)
        client = Client(tone(0.1, 48_000))
        await client.connect(peer)
        await listener.until_state(PeerState.CONNECTED)
        peer.play(tone(5, 24_000), 24_000)
        await until(lambda: peer.played_samples >= 12_000)
        played = peer.played_samples
        assert peer.clear() == 5 * 24_000 - played
        assert (peer.queued_ms, peer.played_samples) == (0, played)
        sent = peer.stats.sent_packets
        await anyio.sleep(0.6)
        assert peer.stats.sent_packets - sent < 18  # a little silence, then nothing
        await client.close()


async def test_what_is_played_before_the_connection_stands_is_said_when_it_does():
    async with running_hub() as hub:
        peer = hub.peer(Recorder())
        client = Client(tone(0.1, 48_000))
        answer = await peer.answer(await client.offer())
        assert peer.play(tone(0.5, 24_000), 24_000) == 12_000
        assert peer.play(tone(20, 24_000), 24_000) == 9.5 * 24_000  # and no more than the bound
        await client.take(answer)
        await until(lambda: len(client.samples) > 10_000)
        await client.close()


async def test_reports_give_both_sides_round_trip_and_loss():
    async with running_hub() as hub:
        listener = Recorder(echo=True)
        peer = listener.peer = hub.peer(listener)
        client = Client(tone(10, 48_000))
        await client.connect(peer)
        await until(lambda: peer.stats.round_trip_ms is not None)
        assert 0 <= peer.stats.round_trip_ms < 1_000
        assert peer.stats.outbound_loss == 0
        assert peer.stats.outbound_jitter_ms < 100
        reports = [one for one in (await client.connection.getStats()).values() if one.type == "remote-inbound-rtp"]
        assert reports[0].packetsLost == 0
        await client.close()


@pytest.mark.parametrize("bundle", list(RTCBundlePolicy))
async def test_messages_go_both_ways(bundle):
    async with running_hub() as hub:
        listener = Recorder()
        peer = hub.peer(listener)
        client = Client(tone(1, 48_000), bundle=bundle)
        received: list[str | bytes] = []
        channel = client.connection.createDataChannel("oai-events", protocol="v1")
        channel.on("message", received.append)
        channel.on("open", lambda: [channel.send("one"), channel.send(b"two"), channel.send("x" * 60_000)])
        await client.connect(peer)
        await listener.until(lambda: len(listener.messages) == 3)
        assert listener.messages == ["one", b"two", "x" * 60_000]
        (opened,) = listener.channels
        assert (opened.label, opened.protocol, opened.open) == ("oai-events", "v1", True)
        for message in ("", "three", b"four" * 10_000, b""):
            await opened.send(message)
        await until(lambda: len(received) == 4)
        assert received == ["", "three", b"four" * 10_000, b""]
        await client.close()


async def test_a_session_may_have_data_channels_only_and_many_of_them():
    async with running_hub(replace(OPTIONS, max_channels=3)) as hub:
        listener = Recorder()
        peer = hub.peer(listener)
        client = Client()
        channels = [client.connection.createDataChannel(f"channel {n}") for n in range(5)]
        await client.connect(peer)
        await listener.until(lambda: len(listener.channels) == 3)
        await until(lambda: sum(channel.readyState == "closed" for channel in channels) == 2)
        assert peer.play(tone(0.1, 16_000), 16_000) == 0
        assert peer.stats.received_packets == 0
        closed: list[bool] = []
        listener.channels[0].on_close = lambda: closed.append(True)
        listener.channels[0].close()
        await until(lambda: closed == [True])
        with pytest.raises(ChannelClosed):
            await listener.channels[0].send("too late")
        await client.close()


async def test_messages_have_a_bound_in_length_and_in_number():
    async with running_hub(replace(OPTIONS, send_buffer_bytes=100_000, send_limit_s=5)) as hub:
        listener = Recorder()
        peer = hub.peer(listener)
        client = Client()
        received: list[bytes] = []
        channel = client.connection.createDataChannel("data")
        channel.on("message", received.append)
        await client.connect(peer)
        await listener.until(lambda: listener.channels)
        opened = listener.channels[0]
        with pytest.raises(ValueError, match="too long"):
            await opened.send(bytes(65_537))
        for n in range(30):
            await opened.send(bytes([n]) * 65_000)
            assert opened._channel.bufferedAmount <= 100_000
        await until(lambda: len(received) == 30)
        assert [message[0] for message in received] == list(range(30))
        await client.close()


async def test_a_channel_that_is_not_read_is_given_up_after_the_limit():
    async with running_hub(replace(OPTIONS, send_buffer_bytes=65_536, send_limit_s=0.3)) as hub:
        listener = Recorder()
        peer = hub.peer(listener)
        client = Client()
        client.connection.createDataChannel("data")
        await client.connect(peer)
        await listener.until(lambda: listener.channels)
        client.connection.sctp.transport._task.cancel()  # the client no longer reads

        async def fill() -> None:
            for _ in range(60):
                await listener.channels[0].send(bytes(60_000))

        with pytest.raises(ChannelClosed, match="does not take"):
            await fill()
        await peer.close()
        await client.close()


async def test_messages_that_come_before_anybody_listens_are_kept():
    class Late(Recorder):
        def on_channel(self, channel):
            self.channels.append(channel)
            self.changed.set()

    async with running_hub() as hub:
        listener = Late()
        client = Client()
        channel = client.connection.createDataChannel("data")
        channel.on("open", lambda: [channel.send("a"), channel.send("b")])
        await client.connect(hub.peer(listener))
        await listener.until(lambda: listener.channels)
        await anyio.sleep(0.2)
        listener.channels[0].on_message = listener.on_message
        assert listener.messages == ["a", "b"]
        await client.close()


async def test_a_client_that_only_listens_is_spoken_to():
    async with running_hub() as hub:
        listener = Recorder()
        peer = hub.peer(listener)
        client = Client()
        client.connection.addTransceiver("audio", direction="recvonly")
        answer = await client.connect(peer)
        assert "a=sendonly" in answer
        peer.play(tone(2, 24_000), 24_000)
        await until(lambda: len(client.samples) > 40_000)
        assert listener.parts == []
        await client.close()


async def test_a_client_that_only_speaks_is_heard():
    async with running_hub() as hub:
        listener = Recorder()
        peer = hub.peer(listener)
        client = Client(tone(5, 48_000))
        client.connection.getTransceivers()[0].direction = "sendonly"
        answer = await client.connect(peer)
        assert "a=recvonly" in answer
        assert "a=ssrc" not in answer
        await listener.until(lambda: len(listener.heard) > 16_000)
        assert peer.stats.sent_packets == 0
        await client.close()


async def test_candidates_may_come_after_the_offer():
    async with running_hub() as hub:
        listener = Recorder()
        peer = hub.peer(listener)
        client = Client(tone(5, 48_000))
        offer = await client.offer()
        lines = offer.split("\r\n")
        candidates = [line for line in lines if line.startswith("a=candidate")]
        bare = "\r\n".join(line for line in lines if not line.startswith(("a=candidate", "a=end-of")))
        answer = await peer.answer(bare)
        await peer.add_candidates("a=candidate:nonsense\r\na=candidate:1 1 udp 1 somewhere.local 9 typ host\r\n")
        await peer.add_candidates("\r\n".join([*candidates, "a=end-of-candidates"]))
        await client.take(answer)
        await listener.until(lambda: len(listener.heard) > 3_200)
        await client.close()


async def test_a_client_behind_a_name_that_cannot_be_resolved_is_found_by_its_checks():
    async with running_hub() as hub:
        listener = Recorder()
        peer = hub.peer(listener)
        client = Client(tone(5, 48_000))
        offer = await client.offer()
        hidden = "\r\n".join(
            line.replace(line.split(" ")[4], "0b0a6d5c-6c5b-4b5e-9f0e-2d8d8e0f8f00.local")
            if line.startswith("a=candidate")
            else line
            for line in offer.split("\r\n")
        )
        started = anyio.current_time()
        answer = await peer.answer(hidden)
        assert anyio.current_time() - started < 0.5
        await client.take(answer)
        await listener.until(lambda: len(listener.heard) > 3_200)
        await client.close()
