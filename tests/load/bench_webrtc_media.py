"""What a WebRTC conversation costs: CPU of an echoing peer, ours beside stock aiortc's, under the same load.

``python tests/load/bench_webrtc_media.py [peers ...]``. The peers under test live in a process of their own on one core
(``rtc_echo_server``), their clients in this one on another: aiortc connections that send speech encoded beforehand.
Prints milliseconds of CPU per second of conversation, and how long connecting takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import fractions
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import av
import numpy as np
import uvloop
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from audio.codecs.libopus import EncoderOptions, LibopusEncoder  # noqa: E402
from audio.codecs.resample import StreamResampler  # noqa: E402
from audio.wav import read_wav  # noqa: E402

SECONDS = 15.0
SETTLE_S = 2.0
SPEECH = ROOT / "tests" / "fixtures" / "speech" / "goforward.wav"


def speech_packets() -> list[bytes]:
    samples, rate_hz = read_wav(SPEECH)
    resampler = StreamResampler(rate_hz, 48_000)
    samples = np.concatenate([resampler.process(samples), resampler.flush()])
    encoder = LibopusEncoder(48_000, EncoderOptions())
    return [encoder.encode(samples[at : at + 960]) for at in range(0, len(samples) - 959, 960)]


class PacketTrack(MediaStreamTrack):
    """Encoded packets in real time, over and over."""

    kind = "audio"

    def __init__(self, packets: list[bytes], start: int) -> None:
        super().__init__()
        self._packets, self._at, self._sent = packets, start, 0
        self._started = 0.0

    async def recv(self) -> av.Packet:
        if not self._sent:
            self._started = time.monotonic()
        await asyncio.sleep(max(0.0, self._started + self._sent * 0.02 - time.monotonic()))
        packet = av.Packet(self._packets[self._at % len(self._packets)])
        packet.pts, packet.time_base = self._sent * 960, fractions.Fraction(1, 48_000)
        self._at, self._sent = self._at + 1, self._sent + 1
        return packet


class Client:
    def __init__(self, packets: list[bytes], start: int) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connection.addTrack(PacketTrack(packets, start))
        self.connection.on("track", self._on_track)
        self.frames = 0
        self.loud = 0
        self.reader: asyncio.Task | None = None

    async def connect(self, signalling: Signalling) -> float:
        """Milliseconds from sending the offer until connected."""
        await self.connection.setLocalDescription(await self.connection.createOffer())
        started = time.monotonic()
        answer = await signalling.ask({"offer": self.connection.localDescription.sdp})
        connected = asyncio.Event()
        self.connection.on(
            "connectionstatechange", lambda: connected.set() if self.connection.connectionState == "connected" else None
        )
        await self.connection.setRemoteDescription(RTCSessionDescription(answer["answer"], "answer"))
        await asyncio.wait_for(connected.wait(), 20)
        return (time.monotonic() - started) * 1_000

    def _on_track(self, track: MediaStreamTrack) -> None:
        self.reader = asyncio.get_running_loop().create_task(self._read(track))

    async def _read(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                self.frames += 1
                self.loud += int(np.abs(frame.to_ndarray()).max() > 1_000)


class Signalling:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, question: dict) -> dict:
        self._writer.write(json.dumps(question).encode() + b"\n")
        return json.loads(await self._reader.readline())


@contextlib.asynccontextmanager
async def server(side: str, core: int) -> AsyncIterator[Signalling]:
    program = Path(__file__).with_name("rtc_echo_server.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, program, side, str(core), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        port = int(await process.stdout.readline())
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        yield Signalling(reader, writer)
        writer.close()
    finally:
        process.kill()
        await process.wait()


async def measure(side: str, peers: int, packets: list[bytes], core: int) -> dict[str, float]:
    async with server(side, core) as signalling:
        clients = [Client(packets, 7 * n) for n in range(peers)]
        connecting = [await client.connect(signalling) for client in clients]
        await asyncio.sleep(SETTLE_S)
        before, frames = await signalling.ask({"read": True}), sum(client.frames for client in clients)
        started = time.monotonic()
        await asyncio.sleep(SECONDS)
        after = await signalling.ask({"read": True})
        elapsed = time.monotonic() - started
        heard = sum(client.frames for client in clients) - frames
        loud = sum(client.loud for client in clients)
        for client in clients:
            await client.connection.close()
        for client in clients:
            if client.reader is not None:
                client.reader.cancel()
    cpu_ms = (after["cpu_s"] - before["cpu_s"]) * 1_000 / elapsed
    return {
        "cpu_ms_per_session_s": cpu_ms / peers,
        "core_percent": cpu_ms / 10,
        "threads": after["threads"],
        "echoed_percent": 100 * heard / (50 * elapsed * peers),
        "loud_frames": loud,
        "connected_ms": statistics.median(connecting),
        "connected_worst_ms": max(connecting),
        "first_audio_ms": statistics.median(after["first_audio_ms"] or [float("nan")]),
    }


async def main() -> None:
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    counts = [int(argument) for argument in sys.argv[1:]] or [1, 25]
    packets = speech_packets()
    for peers in counts:
        for side in ("stock", "ours"):
            figures = await measure(side, peers, packets, cores[0])
            text = "  ".join(f"{name} {value:.1f}" for name, value in figures.items())
            print(f"{side:5} x{peers}: {text}", flush=True)


if __name__ == "__main__":
    uvloop.run(main())
