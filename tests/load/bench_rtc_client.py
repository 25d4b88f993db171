"""A benchmark's WebRTC client: a stock aiortc connection that sends speech encoded beforehand, and times what it hears.

Speaks the documented protocol; the only code it shares with the server is the Opus binding, for preparing packets.
Times are seconds of ``time.perf_counter``.
"""

from __future__ import annotations

import asyncio
import fractions
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import av
import httpx
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from bench_client import Seen

from audio.codecs.libopus import EncoderOptions, LibopusEncoder
from audio.codecs.resample import StreamResampler

FRAME = 960
LOUD = 1_000


def packets_of(samples: np.ndarray, rate_hz: int = 16_000) -> list[bytes]:
    """Speech as 20 ms Opus packets."""
    resampler = StreamResampler(rate_hz, 48_000)
    at_48k = np.concatenate([resampler.process(samples), resampler.flush()])
    encoder = LibopusEncoder(48_000, EncoderOptions())
    return [encoder.encode(at_48k[at : at + FRAME]) for at in range(0, len(at_48k) - FRAME + 1, FRAME)]


class Microphone(MediaStreamTrack):
    """Sends what is queued, else silence, a packet every 20 ms."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.queue: deque[bytes] = deque()
        self.sent_at: list[float] = []
        """When each queued packet was handed over."""
        self._silence = packets_of(np.random.default_rng(1).normal(0, 10, 16_000).astype(np.int16))
        self._count = 0
        self._started = 0.0

    async def recv(self) -> av.Packet:
        if not self._count:
            self._started = time.perf_counter()
        await asyncio.sleep(max(0.0, self._started + self._count * 0.02 - time.perf_counter()))
        if self.queue:
            payload = self.queue.popleft()
            self.sent_at.append(time.perf_counter())
        else:
            payload = self._silence[self._count % len(self._silence)]
        packet = av.Packet(payload)
        packet.pts, packet.time_base = self._count * FRAME, fractions.Fraction(1, 48_000)
        self._count += 1
        return packet


class RtcBenchClient:
    """One WebRTC voice session."""

    def __init__(self) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.microphone = Microphone()
        self.connection.addTrack(self.microphone)
        self.channel = self.connection.createDataChannel("convergio.v1")
        self.seen = Seen()
        self.loud_at: list[float] = []
        """When each loud frame came out of the client's own jitter buffer."""
        self.connected_ms = 0.0
        self._changed = asyncio.Event()
        self._tracks: list[asyncio.Task[None]] = []
        self.connection.on("track", self._on_track)
        self.channel.on("message", self._on_message)

    async def connect(self, url: str, settings: dict[str, Any]) -> None:
        """Offer, answer, connect, begin the session. ``connected_ms`` is from the offer to an open channel."""
        opened = asyncio.Event()
        self.channel.on("open", opened.set)
        await self.connection.setLocalDescription(await self.connection.createOffer())
        async with httpx.AsyncClient(trust_env=False) as http:
            began_s = time.perf_counter()
            headers = {"Content-Type": "application/sdp"}
            answer = await http.post(
                f"{url}/v1/voice/webrtc", content=self.connection.localDescription.sdp, headers=headers
            )
            answer.raise_for_status()
        await self.connection.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        async with asyncio.timeout(15):
            await opened.wait()
        self.connected_ms = (time.perf_counter() - began_s) * 1_000
        self.send(type="voice.start", **settings)
        await self.until(lambda: self.seen.first("session.started") is not None)

    def send(self, **message: Any) -> None:
        self.channel.send(json.dumps(message))

    async def until(self, condition: Callable[[], bool], limit_s: float = 30.0) -> None:
        """Wait until what was seen satisfies ``condition``. Raises TimeoutError."""
        async with asyncio.timeout(limit_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def speak(self, packets: list[bytes]) -> None:
        """Say it, in real time; returns when the last of it was handed over."""
        target = len(self.microphone.sent_at) + len(packets)
        self.microphone.queue.extend(packets)
        while len(self.microphone.sent_at) < target:  # noqa: ASYNC110 - aiortc pulls packets; nobody tells
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        for task in self._tracks:
            task.cancel()
            with suppress(asyncio.CancelledError, MediaStreamError):
                await task
        await self.connection.close()

    def _on_message(self, message: str) -> None:
        self.seen.events.append((time.perf_counter(), json.loads(message)))
        self._changed.set()

    def _on_track(self, track: MediaStreamTrack) -> None:
        self._tracks.append(asyncio.create_task(self._listen(track)))  # noqa: TID251 - an event handler of aiortc's

    async def _listen(self, track: MediaStreamTrack) -> None:
        with suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                if isinstance(frame, av.AudioFrame) and np.abs(frame.to_ndarray()).max() > LOUD:
                    self.loud_at.append(time.perf_counter())
                    self._changed.set()


@asynccontextmanager
async def rtc_session(url: str, **settings: Any) -> AsyncIterator[RtcBenchClient]:
    """A started session over WebRTC on ``url``."""
    client = RtcBenchClient()
    try:
        await client.connect(url, settings)
        yield client
    finally:
        await client.close()
