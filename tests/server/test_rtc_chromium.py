"""A real browser: its offer, its microphone, its silence, its hidden address, and a new path in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import numpy as np
import pytest
from e2e import browser as browser_flags
from e2e.browser import chromium, needs_chromium, write_wav
from rtc_peers import Recorder, level, running_hub, tone

from server.transports.rtc.port import IceOptions, PeerOptions, PeerState

pytestmark = [pytest.mark.browser, needs_chromium]

CONNECT = """async ({microphone, video}) => {
  const pc = window.pc = new RTCPeerConnection();
  window.got = [];
  if (video) pc.addTransceiver('video', {direction: 'recvonly'});
  if (microphone) {
    const constraints = {echoCancellation: false, noiseSuppression: false, autoGainControl: false};
    const stream = await navigator.mediaDevices.getUserMedia({audio: constraints});
    stream.getTracks().forEach(track => pc.addTrack(track, stream));
  } else {
    pc.addTransceiver('audio', {direction: 'recvonly'});
  }
  const channel = window.channel = pc.createDataChannel('events');
  channel.onopen = () => channel.send('hello');
  channel.onmessage = event => got.push(event.data);
  pc.ontrack = event => {
    if (event.track.kind !== 'audio') return;
    const audio = window.audio = new Audio();
    audio.srcObject = event.streams[0];
    audio.play();
  };
  await pc.setLocalDescription(await pc.createOffer());
  await new Promise(done => {
    if (pc.iceGatheringState === 'complete') done();
    pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && done();
  });
  return pc.localDescription.sdp;
}"""

RESTART = """async () => {
  await pc.setLocalDescription(await pc.createOffer({iceRestart: true}));
  return pc.localDescription.sdp;
}"""

INBOUND = """async () => {
  let found = null;
  (await pc.getStats()).forEach(one => { if (one.type === 'inbound-rtp' && one.kind === 'audio') found = one; });
  return found;
}"""


@asynccontextmanager
async def page_of(browser) -> AsyncIterator:
    """A page that may use the microphone: served, not a file."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
        writer.write(head)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        page = await browser.new_page()
        page.set_default_timeout(15_000)
        await page.goto(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        yield page
    finally:
        server.close()


async def connect(page, peer, *, microphone: bool, video: bool = False) -> tuple[str, str]:
    offer = await page.evaluate(CONNECT, {"microphone": microphone, "video": video})
    answer = await peer.answer(offer)
    await take(page, answer)
    return offer, answer


async def take(page, answer: str) -> None:
    await page.evaluate("sdp => pc.setRemoteDescription({type: 'answer', sdp})", answer)


async def until(condition, limit_s: float = 15.0) -> None:
    with anyio.fail_after(limit_s):
        while not await condition():  # noqa: ASYNC110 - the page tells nobody
            await anyio.sleep(0.05)


async def test_a_browser_talks_listens_and_changes_its_path():
    async with running_hub(PeerOptions(ice=IceOptions(include_loopback=True))) as hub, chromium() as browser:
        listener = Recorder()
        peer = hub.peer(listener)
        async with page_of(browser) as page:
            _, answer = await connect(page, peer, microphone=True, video=True)
            assert "m=video 0 " in answer
            await listener.until(lambda: listener.messages == ["hello"] and len(listener.heard) > 32_000)
            assert level(listener.heard) > 500  # the built-in beep
            assert peer.stats.lost_packets == 0
            await listener.channels[0].send("world")
            peer.play(tone(3, 24_000), 24_000)

            async def heard_by_the_page() -> bool:
                inbound = await page.evaluate(INBOUND)
                return inbound is not None and inbound["totalAudioEnergy"] > 0.01

            await until(heard_by_the_page)
            assert await page.evaluate("got") == ["world"]

            received = peer.stats.received_packets
            await take(page, await peer.renegotiate(await page.evaluate(RESTART)))
            await listener.until(lambda: peer.stats.received_packets > received + 100)
            await listener.channels[0].send("again")

            async def got_again() -> bool:
                return "again" in await page.evaluate("got")

            await until(got_again)
            assert await page.evaluate("pc.connectionState") == "connected"
            assert peer.stats.lost_packets <= 5
            assert [state for state, _ in listener.states] == [PeerState.CONNECTED]

            await page.evaluate("pc.close()")
            assert await peer.wait_closed() == "closed_by_peer"


async def test_a_browser_that_saves_its_silence_is_heard_in_step(tmp_path: Path):
    """A tone, three seconds of silence, over and over; with DTX the silence is not sent, and yet takes its time."""
    samples = np.concatenate([tone(2, 48_000, hz=330), np.zeros(3 * 48_000, np.int16)])
    microphone = write_wav(tmp_path / "microphone.wav", samples, 48_000)
    options = PeerOptions(ice=IceOptions(include_loopback=True), ask_for_dtx=True)
    async with running_hub(options) as hub, chromium(microphone) as browser:
        listener = Recorder()
        peer = hub.peer(listener)
        async with page_of(browser) as page:
            await connect(page, peer, microphone=True)
            await listener.until_state(PeerState.CONNECTED)
            started = anyio.current_time()
            await anyio.sleep(9)  # the browser's time, which nothing can hurry
            elapsed_ms = (anyio.current_time() - started) * 1_000
            stats = peer.stats
            assert stats.silence_ms > 1_500
            assert stats.received_packets < 400
            assert stats.lost_packets == 0
            assert len(listener.heard) / 16 == pytest.approx(elapsed_ms, abs=250)
            loud = listener.heard[np.abs(listener.heard) > 1_000]
            assert len(loud) > 16_000
            await peer.close()


async def test_a_browser_that_hides_its_address_is_found(monkeypatch):
    """Without leave to use the microphone a browser's host candidates are mDNS names."""
    monkeypatch.setattr(browser_flags, "FLAGS", [flag for flag in browser_flags.FLAGS if "fake-ui" not in flag])
    async with running_hub(PeerOptions(ice=IceOptions(include_loopback=True))) as hub, chromium() as browser:
        listener = Recorder()
        peer = hub.peer(listener)
        async with page_of(browser) as page:
            offer, answer = await connect(page, peer, microphone=False)
            hidden = [line for line in offer.splitlines() if line.startswith("a=candidate") and ".local " in line]
            assert hidden
            assert "a=sendonly" in answer
            await listener.until(lambda: listener.messages == ["hello"])
            peer.play(tone(2, 24_000), 24_000)

            async def heard_by_the_page() -> bool:
                inbound = await page.evaluate(INBOUND)
                return inbound is not None and inbound["packetsReceived"] > 50

            await until(heard_by_the_page)
            await peer.close()
