"""Both ends of a WebRTC connection in one process: our peer with a listener that keeps everything, aiortc's client."""

from __future__ import annotations

import asyncio
import fractions
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import av
import numpy as np
from aiortc import MediaStreamTrack, RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from server.transports.rtc.hub import RtcHub
from server.transports.rtc.port import Channel, CloseReason, IceOptions, PeerOptions, PeerState

LOOPBACK = IceOptions(bind_addresses=("127.0.0.1",), use_ipv6=False)


class Recorder:
    """A listener that keeps what it is told; with ``echo`` it plays back what it hears."""

    def __init__(self, *, echo: bool = False) -> None:
        self.echo = echo
        self.peer = None
        self.parts: list[np.ndarray] = []
        self.states: list[tuple[PeerState, CloseReason | None]] = []
        self.channels: list[Channel] = []
        self.messages: list[str | bytes] = []
        self.changed = asyncio.Event()

    @property
    def heard(self) -> np.ndarray:
        return np.concatenate(self.parts) if self.parts else np.zeros(0, np.int16)

    def on_audio(self, samples: np.ndarray) -> None:
        self.parts.append(samples)
        if self.echo:
            self.peer.play(samples, 16_000)
        self.changed.set()

    def on_channel(self, channel: Channel) -> None:
        self.channels.append(channel)
        channel.on_message = self.on_message
        self.changed.set()

    def on_message(self, message: str | bytes) -> None:
        self.messages.append(message)
        self.changed.set()

    def on_state(self, state: PeerState, reason: CloseReason | None) -> None:
        self.states.append((state, reason))
        self.changed.set()

    async def until(self, condition, limit_s: float = 10.0) -> None:
        """Waits until something told makes ``condition()`` true."""
        with anyio.fail_after(limit_s):
            while not condition():
                self.changed.clear()
                if not condition():
                    await self.changed.wait()

    async def until_state(self, state: PeerState, limit_s: float = 10.0) -> None:
        await self.until(lambda: any(one is state for one, _ in self.states), limit_s)


@asynccontextmanager
async def running_hub(options: PeerOptions | None = None) -> AsyncIterator[RtcHub]:
    hub = RtcHub(options or PeerOptions(ice=LOOPBACK))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hub.run)
        await anyio.lowlevel.checkpoint()
        try:
            yield hub
        finally:
            tasks.cancel_scope.cancel()


class SamplesTrack(MediaStreamTrack):
    """Sends 48 kHz samples in real time, then silence."""

    kind = "audio"

    def __init__(self, samples: np.ndarray) -> None:
        super().__init__()
        self._samples = samples
        self._sent = 0
        self._started = 0.0

    async def recv(self) -> av.AudioFrame:
        if not self._sent:
            self._started = time.monotonic()
        await asyncio.sleep(max(0.0, self._started + self._sent / 48_000 - time.monotonic()))
        piece = self._samples[self._sent : self._sent + 960]
        piece = np.concatenate([piece, np.zeros(960 - len(piece), np.int16)])
        frame = av.AudioFrame.from_ndarray(piece.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = 48_000
        frame.pts = self._sent
        frame.time_base = fractions.Fraction(1, 48_000)
        self._sent += 960
        return frame


class Client:
    """An aiortc client: sends samples, keeps what it hears (48 kHz mono), opens data channels."""

    def __init__(self, samples: np.ndarray | None = None, *, bundle: RTCBundlePolicy | None = None) -> None:
        policy = bundle or RTCBundlePolicy.BALANCED
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=policy))
        self.heard: list[np.ndarray] = []
        self.arrived_ms: list[float] = []
        self._reader: asyncio.Task | None = None
        if samples is not None:
            self.connection.addTrack(SamplesTrack(samples))
        self.connection.on("track", self._on_track)

    async def offer(self) -> str:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return self.connection.localDescription.sdp

    async def take(self, answer: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def connect(self, peer) -> str:
        answer = await peer.answer(await self.offer())
        await self.take(answer)
        return answer

    @property
    def samples(self) -> np.ndarray:
        return np.concatenate(self.heard) if self.heard else np.zeros(0, np.int16)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self.connection.close()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])

    def _on_track(self, track: MediaStreamTrack) -> None:
        self._reader = asyncio.get_running_loop().create_task(self._read(track))

    async def _read(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            self.heard.append(frame.to_ndarray().reshape(-1, 2)[:, 0].copy())
            self.arrived_ms.append(time.monotonic() * 1_000)


def tone(seconds: float, rate_hz: int, hz: float = 440.0, level: int = 9_000) -> np.ndarray:
    return np.rint(level * np.sin(2 * np.pi * hz * np.arange(int(rate_hz * seconds)) / rate_hz)).astype(np.int16)


def pitch_hz(samples: np.ndarray, rate_hz: int) -> float:
    """The loudest frequency."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * rate_hz / len(samples))


def level(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples.astype(float) ** 2)))
