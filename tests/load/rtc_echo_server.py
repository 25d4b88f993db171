"""The process under test of ``bench_webrtc_media``: WebRTC peers that echo what they hear, ours or stock aiortc's.

One JSON object a line over a loopback socket: ``{"offer": sdp}`` is answered with ``{"answer": sdp}``,
``{"read": true}`` with the CPU time so far, the threads, and how long peers took from offer to first audio.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import uvloop
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaRelay

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from server.transports.rtc.hub import RtcHub  # noqa: E402
from server.transports.rtc.port import Channel, IceOptions, PeerOptions, PeerState  # noqa: E402

LOOPBACK = IceOptions(bind_addresses=("127.0.0.1",), use_ipv6=False)


class Ours:
    """``server.transports.rtc``: hears at 16 kHz, plays the same samples back."""

    def __init__(self) -> None:
        self.hub = RtcHub(PeerOptions(ice=LOOPBACK))
        self.first_audio_ms: list[float] = []

    async def answer(self, offer: str) -> str:
        echo = _Echo(self)
        echo.peer = self.hub.peer(echo)
        return await echo.peer.answer(offer)


class _Echo:
    def __init__(self, owner: Ours) -> None:
        self.owner, self.peer = owner, None
        self.started = time.monotonic()
        self.heard = False

    def on_audio(self, samples: np.ndarray) -> None:
        if not self.heard and self.peer.stats.received_packets:
            self.heard = True
            self.owner.first_audio_ms.append((time.monotonic() - self.started) * 1_000)
        self.peer.play(samples, 16_000)

    def on_channel(self, channel: Channel) -> None:
        pass

    def on_state(self, state: PeerState, reason: str | None) -> None:
        pass


class Stock:
    """aiortc as its examples use it: the remote track goes back through a relay."""

    def __init__(self) -> None:
        self.relay = MediaRelay()
        self.connections: set[RTCPeerConnection] = set()
        self.first_audio_ms: list[float] = []

    async def answer(self, offer: str) -> str:
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connections.add(connection)

        @connection.on("track")
        def on_track(track: MediaStreamTrack) -> None:
            connection.addTrack(self.relay.subscribe(track))

        await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await connection.setLocalDescription(await connection.createAnswer())
        return connection.localDescription.sdp


async def serve(side: Ours | Stock) -> None:
    async def on_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            asked: dict[str, Any] = json.loads(line)
            if "offer" in asked:
                reply: dict[str, Any] = {"answer": await side.answer(asked["offer"])}
            else:
                used = resource.getrusage(resource.RUSAGE_SELF)
                reply = {
                    "cpu_s": used.ru_utime + used.ru_stime,
                    "threads": threading.active_count(),
                    "first_audio_ms": side.first_audio_ms,
                }
            writer.write(json.dumps(reply).encode() + b"\n")
            await writer.drain()

    listener = await asyncio.start_server(on_client, "127.0.0.1", 0, limit=1 << 20)
    print(listener.sockets[0].getsockname()[1], flush=True)
    async with listener, anyio.create_task_group() as tasks:
        if isinstance(side, Ours):
            tasks.start_soon(side.hub.run)
        await anyio.sleep_forever()


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[2])})
    uvloop.run(serve(Ours() if sys.argv[1] == "ours" else Stock()))
