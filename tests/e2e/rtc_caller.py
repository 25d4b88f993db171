"""Somebody who calls over WebRTC, for tests: aiortc's connection, our protocol on it, and ears like a browser's.

Speaks the documented protocol over HTTP, a data channel and Opus. aiortc's own receiver neither conceals nor recovers
what was lost and stalls behind it, which no browser does; so packets are listened to as they come, in real time. Knows
no server code but the reading of packets. Lives in the namespace of the thread that runs it.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import av
import httpx
import numpy as np
from aioice import Candidate, Connection
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransport,
    RTCIceTransportPolicy,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from bench_rtc_client import Microphone, packets_of

from audio.formats import HEARING_RATE_HZ, Samples
from audio.rtp.opus_stream import OpusStream, StreamStats
from audio.rtp.packet import RtpPacket

OPEN_LIMIT_S = 20.0
EVENT_LIMIT_S = 40.0


class Ear:
    """What reaches the caller's ear: samples in real time, with what was lost recovered or concealed."""

    def __init__(self) -> None:
        self._stream = OpusStream(_now_ms())
        self._parts: list[Samples] = []
        self.position = 0
        """Samples so far."""

    @property
    def stats(self) -> StreamStats:
        return self._stream.stats

    def take(self, packet: Any) -> None:
        """One packet, as aiortc has it."""
        plain = RtpPacket(
            packet.sequence_number,
            packet.timestamp,
            packet.payload,
            packet.ssrc,
            packet.payload_type,
            bool(packet.marker),
        )
        self._keep(self._stream.receive(plain, _now_ms()))

    def tick(self) -> None:
        """To be called every 20 ms."""
        self._keep(self._stream.tick(_now_ms()))

    def since(self, position: int) -> Samples:
        """Everything heard from there on."""
        return np.concatenate([np.zeros(0, np.int16), *self._parts])[position:]

    def _keep(self, samples: Samples) -> None:
        self._parts.append(samples)
        self.position += len(samples)


class _Mouth(Microphone):
    """A microphone, whose beat is also that of the ear."""

    def __init__(self, ear: Ear) -> None:
        super().__init__()
        self._ear = ear

    async def recv(self) -> av.Packet:
        self._ear.tick()
        return await super().recv()


class _Path:
    """The datagrams of one aiortc transport, over whichever ICE connection is the newest; it hears all of them."""

    def __init__(self, transport: RTCIceTransport) -> None:
        self._transport = transport
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._pumps: list[asyncio.Task[None]] = []
        self._taken: list[Connection] = []
        self._receive = transport._recv
        transport._recv = self._recv

    def take(self, connection: Connection) -> None:
        """Send over this one from now on."""
        self._transport._send = connection.send
        self._taken.append(connection)
        self._listen_to(connection.recv)

    async def close(self) -> None:
        for connection in self._taken:
            await connection.close()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _recv(self) -> bytes:
        if not self._pumps:
            self._listen_to(self._receive)
        return await self._queue.get()

    def _listen_to(self, receive: Callable[[], Awaitable[bytes]]) -> None:
        async def pump() -> None:
            with suppress(ConnectionError):
                while True:
                    self._queue.put_nowait(await receive())

        self._pumps.append(asyncio.get_running_loop().create_task(pump()))


class Caller:
    """One connection. ``events`` are the server's messages, as they came."""

    def __init__(self, url: str, key: str, ice: RTCConfiguration | None = None) -> None:
        self.url = url
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.ear = Ear()
        self.microphone = _Mouth(self.ear)
        self.connection = RTCPeerConnection(ice or RTCConfiguration(iceServers=[]))
        self.connection.addTrack(self.microphone)
        self.channel = self.connection.createDataChannel("convergio.v1")
        self._path = _Path(self.connection.getTransceivers()[0].sender.transport.transport)
        self.events: list[dict[str, Any]] = []
        self.offer = self.answer = ""
        self.location = ""
        self._changed = asyncio.Event()
        self._drain: asyncio.Task[None] | None = None
        self.connection.on("track", self._on_track)
        self.channel.on("message", self._on_message)

    # --- connecting ---

    async def connect(self, limit_s: float = OPEN_LIMIT_S) -> None:
        """From the offer to an open channel. Raises TimeoutError, httpx.HTTPError."""
        opened = asyncio.Event()
        self.channel.on("open", opened.set)
        async with asyncio.timeout(limit_s):
            await self.connection.setLocalDescription(await self.connection.createOffer())
            self.offer, kind = _wants_fec(self.connection.localDescription.sdp), {"Content-Type": "application/sdp"}
            async with self._http() as http:
                response = await http.post(f"{self.url}/v1/voice/webrtc", content=self.offer, headers=kind)
            response.raise_for_status()
            self.answer, self.location = response.text, response.headers["Location"]
            await self.connection.setRemoteDescription(RTCSessionDescription(self.answer, "answer"))
            await opened.wait()

    async def start(self, **settings: Any) -> dict[str, Any]:
        """Begin a session: its ``session.started``."""
        self.send(type="voice.start", **settings)
        return await self.until("session.started")

    async def resume(self, session_id: str, last_event_id: int) -> dict[str, Any]:
        """Go on with a session: its ``session.resumed``."""
        self.send(type="session.resume", session_id=session_id, last_event_id=last_event_id)
        return await self.until("session.resumed")

    async def restart_ice(self) -> str:
        """A new way to the server, from whatever addresses there are now (RFC 9725, section 4.3.2): its answer."""
        connection = Connection(ice_controlling=True, components=1)
        await connection.gather_candidates()
        offer = _restarting(self.offer, connection)
        async with self._http() as http:
            kind = {"Content-Type": "application/sdp", "If-Match": "*"}
            response = await http.patch(f"{self.url}{self.location}", content=offer, headers=kind)
        answer = response.raise_for_status().text
        values = dict(line[2:].partition(":")[::2] for line in answer.splitlines() if line.startswith("a="))
        connection.remote_username, connection.remote_password = values["ice-ufrag"], values["ice-pwd"]
        for line in answer.splitlines():
            if line.startswith("a=candidate:"):
                await connection.add_remote_candidate(Candidate.from_sdp(line.partition(":")[2]))
        await connection.add_remote_candidate(None)
        await connection.connect()
        self._path.take(connection)
        return answer

    async def hang_up(self) -> None:
        """End the conversation as the contract has it."""
        async with self._http() as http:
            (await http.delete(f"{self.url}{self.location}")).raise_for_status()

    async def close(self) -> None:
        """Let go of everything."""
        await self.connection.close()
        await self._path.close()
        if self._drain is not None:
            self._drain.cancel()
            await asyncio.wait([self._drain])

    # --- talking ---

    def send(self, **message: Any) -> None:
        self.channel.send(json.dumps(message))

    async def speak(self, samples: Samples) -> None:
        """Say it, in real time (16 kHz); returns when the last of it was handed over."""
        packets = packets_of(samples)
        target = len(self.microphone.sent_at) + len(packets)
        self.microphone.queue.extend(packets)
        async with asyncio.timeout(len(samples) / HEARING_RATE_HZ + 20):
            while len(self.microphone.sent_at) < target:  # noqa: ASYNC110 - aiortc pulls packets; nobody tells
                await asyncio.sleep(0.02)

    def of(self, kind: str, **fields: Any) -> list[dict[str, Any]]:
        """The events of a kind with these fields."""
        return [event for event in self.events if event["type"] == kind and fields.items() <= event.items()]

    async def until(self, kind: str, nth: int = 1, *, limit_s: float = EVENT_LIMIT_S, **fields: Any) -> dict[str, Any]:
        """The nth event of a kind with these fields. Raises TimeoutError, with what came instead."""
        await self.wait(lambda: len(self.of(kind, **fields)) >= nth, f"{nth} {kind} {fields}", limit_s)
        return self.of(kind, **fields)[nth - 1]

    async def wait(self, happened: Callable[[], object], what: str, limit_s: float = EVENT_LIMIT_S) -> None:
        """Until it has happened, looked at with each event and a few times a second."""
        try:
            async with asyncio.timeout(limit_s):
                while not happened():
                    self._changed.clear()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(0.1):
                            await self._changed.wait()
        except TimeoutError:
            raise TimeoutError(f"not in {limit_s} s: {what}; came: {[one['type'] for one in self.events]}") from None

    async def heard(self, since: int, silence_ms: int = 600) -> Samples:
        """What was heard from a position on, once it has been silent for so long after sound."""
        silence = HEARING_RATE_HZ * silence_ms // 1_000

        def over() -> bool:
            samples = self.ear.since(since)
            loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > 200)
            return len(loud) > 0 and len(samples) - int(loud[-1]) > silence

        await self.wait(over, "an answer to the ear and silence after it", 30.0)
        return self.ear.since(since)

    # --- what aiortc calls ---

    def _on_message(self, message: str) -> None:
        self.events.append(json.loads(message))
        self._changed.set()

    def _on_track(self, track: MediaStreamTrack) -> None:
        (receiver,) = (one.receiver for one in self.connection.getTransceivers() if one.receiver.track is track)
        handle = receiver._handle_rtp_packet

        async def listen(packet: Any, arrival_time_ms: int) -> None:
            self.ear.take(packet)
            await handle(packet, arrival_time_ms)

        receiver._handle_rtp_packet = listen
        self._drain = asyncio.get_running_loop().create_task(_drained(track))

    def _http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(trust_env=False, headers=self.headers, timeout=15)


@asynccontextmanager
async def call(url: str, key: str = "", ice: RTCConfiguration | None = None) -> AsyncIterator[Caller]:
    """A connected caller, gone afterwards."""
    caller = Caller(url, key, ice)
    try:
        await caller.connect()
        yield caller
    finally:
        await caller.close()


async def relay_only(url: str, key: str) -> RTCConfiguration:
    """The ICE servers this server tells its clients of, and nothing but their relays."""
    async with httpx.AsyncClient(trust_env=False, headers={"Authorization": f"Bearer {key}"}, timeout=15) as http:
        told = (await http.get(f"{url}/v1/voice/webrtc/ice-servers")).raise_for_status().json()
    servers = [RTCIceServer(one["urls"], one.get("username"), one.get("credential")) for one in told["ice_servers"]]
    return RTCConfiguration(iceServers=servers, iceTransportPolicy=RTCIceTransportPolicy.RELAY)


def _wants_fec(offer: str) -> str:
    """What every browser offers: to be sent what was lost once more, in the packet after it (RFC 7587, section 6.1)."""
    return re.sub(r"(a=rtpmap:(\d+) opus/48000/2\r\n)", r"\1a=fmtp:\2 minptime=10;useinbandfec=1\r\n", offer)


def _restarting(offer: str, connection: Connection) -> str:
    """An offer with another ICE connection's credentials and candidates."""
    lines: list[str] = []
    for line in offer.splitlines():
        if line.startswith("a=ice-ufrag:"):
            lines += [f"a=candidate:{one.to_sdp()}" for one in connection.local_candidates]
            lines.append(f"a=ice-ufrag:{connection.local_username}")
        elif line.startswith("a=ice-pwd:"):
            lines.append(f"a=ice-pwd:{connection.local_password}")
        elif not line.startswith("a=candidate:"):
            lines.append(line)
    return "\r\n".join(lines) + "\r\n"


async def _drained(track: MediaStreamTrack) -> None:
    with suppress(MediaStreamError):
        while True:
            await track.recv()


def _now_ms() -> float:
    return time.monotonic() * 1_000
