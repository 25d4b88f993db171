"""The stand-in's WebRTC side: answers a page's offer, plays one side of the data channel and of both tracks.

The same ``StubCall`` as over the socket, so a script need not know which of the two it drives. Made of aiortc, which
cannot restart ICE: a page that tries is told that there is no such peer.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import anyio
import numpy as np
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame
from av.audio.resampler import AudioResampler
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from voice_stub import OUTPUT_HZ, Message, Pcm, StubCall, VoiceStub

if TYPE_CHECKING:
    from aiortc import RTCDataChannel
    from anyio.abc import TaskGroup

TRACK_HZ = 48_000
HEARING_HZ = 16_000
FRAME_MS = 20
FRAME_BYTES = 2 * HEARING_HZ * FRAME_MS // 1000
PATH = "/v1/voice/webrtc"
OPEN_LIMIT_S = 8.0


class VoiceTrack(MediaStreamTrack):
    """The agent's voice in real time: what was said to it, silence when there is nothing left."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[tuple[str, int, Pcm]] = []
        self._frames = 0
        self._began_at: float | None = None
        self._moved = anyio.Condition()
        self.turn_id = ""
        self.played_ms = 0

    def say(self, turn_id: str, pcm: Pcm, start_ms: int) -> None:
        """Adds voice at ``OUTPUT_HZ``."""
        spread = np.repeat(pcm, TRACK_HZ // OUTPUT_HZ)
        step = TRACK_HZ * FRAME_MS // 1000
        for at in range(0, len(spread), step):
            piece = np.zeros(step, np.int16)
            piece[: len(spread) - at] = spread[at : at + step]
            self._waiting.append((turn_id, start_ms + at * 1000 // TRACK_HZ + FRAME_MS, piece))

    def hush(self) -> None:
        """Drops what was not played."""
        self._waiting.clear()

    async def until(self, turn_id: str, ms: int) -> None:
        """Waits until this much of the turn has been played."""
        async with self._moved:
            while self.turn_id != turn_id or self.played_ms < ms:
                await self._moved.wait()

    async def recv(self) -> AudioFrame:
        """The next 20 ms, when they are due."""
        now = anyio.current_time()
        self._began_at = self._began_at or now
        await anyio.sleep(max(0.0, self._began_at + self._frames * FRAME_MS / 1000 - now))
        samples = np.zeros(TRACK_HZ * FRAME_MS // 1000, np.int16)
        if self._waiting:
            self.turn_id, self.played_ms, samples = self._waiting.pop(0)
            async with self._moved:
                self._moved.notify_all()
        frame = AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = TRACK_HZ
        frame.time_base = Fraction(1, TRACK_HZ)
        frame.pts = self._frames * len(samples)
        self._frames += 1
        return frame


class RtcCall(StubCall):
    """A connection over WebRTC."""

    def __init__(self, stub: VoiceStub, number: int) -> None:
        super().__init__(stub)
        self.path = f"{PATH}/peer-{number}"
        self.voice = VoiceTrack()
        self.script = anyio.CancelScope()
        self.early_frames = 0
        """Of what was said before the track could carry it."""
        self._opened = anyio.Event()
        self._peer = RTCPeerConnection()
        self._channel: RTCDataChannel | None = None
        self._microphone: MediaStreamTrack | None = None
        self._peer.on("datachannel", self._on_channel)
        self._peer.on("track", self._on_track)
        self._peer.on("connectionstatechange", self._on_state)

    async def answer(self, offer: str) -> str:
        """The answer to an offer."""
        await self._peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        self._peer.addTrack(self.voice)
        await self._peer.setLocalDescription(await self._peer.createAnswer())
        return self._peer.localDescription.sdp

    async def opens(self) -> bool:
        """Whether the page reaches this peer; one that is not reached is dropped."""
        with anyio.move_on_after(OPEN_LIMIT_S):
            await self._opened.wait()
            return not self.closed.is_set()
        await self.drop()
        return False

    async def hear(self) -> None:
        """Takes the microphone in until the call is over, as frames of 20 ms at 16 kHz."""
        resampler = AudioResampler(format="s16", layout="mono", rate=HEARING_HZ)
        heard = b""
        while not self.closed.is_set() and self._microphone is not None:
            try:
                frame = await self._microphone.recv()
            except MediaStreamError:
                return
            heard += b"".join(part.to_ndarray().tobytes() for part in resampler.resample(frame))
            while len(heard) >= FRAME_BYTES:
                await self.took(heard[:FRAME_BYTES])
                heard = heard[FRAME_BYTES:]

    async def send_text(self, text: str) -> None:
        if self._channel is not None and self._channel.readyState == "open":
            self._channel.send(text)

    async def send(self, kind: str, request_id: str = "session", **fields: Any) -> None:
        if kind == "voice.interrupted":
            self.voice.hush()
        await super().send(kind, request_id, **fields)

    async def send_audio(self, turn_id: str, pcm: Pcm, start_ms: int = 0) -> None:
        self.voice.say(turn_id, pcm, start_ms)

    async def heard(self, turn_id: str, ms: int) -> None:
        await self.voice.until(turn_id, ms)

    async def start(self, **fields: Any) -> Message:
        opus = {"codec": "opus", "sample_rate": TRACK_HZ}
        return await self._started({"input": opus, "output": opus}, fields)

    async def drop(self, code: int = 1011) -> None:
        self._opened.set()
        await self.took(None)
        await self._peer.close()

    async def vanish(self) -> None:
        """Nothing comes any more and nothing is said about it: the network is gone."""
        for transport in self._peer._RTCPeerConnection__iceTransports:
            await transport._connection.close()

    def _on_channel(self, channel: RTCDataChannel) -> None:
        self._channel = channel
        channel.on("message", self._on_message)
        self._opened.set()

    async def _on_message(self, text: str) -> None:
        message = json.loads(text)
        if message["type"] != "voice.chunk":
            await self.took(text)
            return
        said = base64.b64decode(message["bytes_base64"])
        for at in range(0, len(said), FRAME_BYTES):
            self.early_frames += 1
            await self.took(said[at : at + FRAME_BYTES])

    def _on_track(self, track: MediaStreamTrack) -> None:
        self._microphone = track

    async def _on_state(self) -> None:
        if self._peer.connectionState in {"failed", "closed"} and not self.closed.is_set():
            await self.took(None)


@dataclass
class RtcStub(VoiceStub):
    """The server with WebRTC. ``webrtc``: offers are answered, or refused, or answered by nobody who is there."""

    webrtc: Literal["on", "off", "unreachable"] = "on"
    may_answer: anyio.Event | None = None
    """Where there is one, offers are answered once it is set."""
    peers: list[RtcCall] = field(default_factory=list[RtcCall])
    offers: list[str] = field(default_factory=list[str])
    patches: list[str] = field(default_factory=list[str])
    trickled: anyio.Event = field(default_factory=anyio.Event)
    restarts: int = 0
    ended: list[str] = field(default_factory=list[str])
    ice_servers: list[Message] = field(default_factory=list[Message])

    def rtc_routes(self, tasks: TaskGroup) -> list[Route]:
        self._tasks = tasks
        return [
            Route(f"{PATH}/ice-servers", self._ice_servers),
            Route(PATH, self._offer, methods=["POST"]),
            Route(f"{PATH}/{{peer}}", self._change, methods=["PATCH"]),
            Route(f"{PATH}/{{peer}}", self._end, methods=["DELETE"]),
        ]

    async def _ice_servers(self, _request: Request) -> Response:
        if self.webrtc == "off":
            return _refusal("WebRTC is switched off.")
        return JSONResponse({"request_id": "r", "ice_servers": self.ice_servers, "ttl_s": 600})

    async def _offer(self, request: Request) -> Response:
        offered = (await request.body()).decode()
        self.offers.append(offered)
        if self.webrtc == "off":
            return _refusal("WebRTC is switched off.")
        if self.may_answer is not None:
            await self.may_answer.wait()
        call = RtcCall(self, len(self.offers))
        self.peers.append(call)
        answer = await call.answer(offered)
        if self.webrtc == "unreachable":
            await call.drop()
        else:
            self._tasks.start_soon(self._converse, call)
        headers = {"Location": call.path, "ETag": '"1"', "Content-Type": "application/sdp"}
        return Response(answer, status_code=201, headers=headers)

    async def _change(self, request: Request) -> Response:
        if request.headers["content-type"] == "application/sdp":
            self.restarts += 1
            return _refusal("There is no such peer.")
        fragment = (await request.body()).decode()
        self.patches.append(fragment)
        if "a=end-of-candidates" in fragment:
            self.trickled.set()
        return Response(status_code=204)

    async def _end(self, request: Request) -> Response:
        self.ended.append(request.url.path)
        for call in self.peers:
            if call.path == request.url.path:
                await call.drop()
        return Response(status_code=204)

    async def hang_up(self) -> None:
        for call in self.peers:
            await call.drop()
            call.script.cancel()

    async def _converse(self, call: RtcCall) -> None:
        if not await call.opens():
            return
        self.calls.append(call)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(call.hear)
                with call.script:
                    await self.script(call)
                    await call.closed.wait()
        except* Exception as group_error:  # noqa: BLE001 - told to the test when it ends
            self.failures.extend(group_error.exceptions)
        await call.drop()


def _refusal(message: str) -> Response:
    error = {"code": "request.invalid", "message": message, "retryable": False}
    return JSONResponse({"request_id": "r", "error": error}, status_code=404)
