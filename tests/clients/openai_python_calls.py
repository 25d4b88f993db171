"""The whole conversation over WebRTC with the official OpenAI SDK for Python doing the HTTP part.

``client_secrets.create`` mints a key for a client, ``calls.create`` trades an SDP offer for an answer, ``calls.hangup``
ends the call; the SDK has no peer connection, so aiortc is the browser. Variants: ``secret`` (the session travels with
the ephemeral key), ``session`` (an access key, the session travels with the offer).
"""

from __future__ import annotations

import asyncio
import base64
import fractions
import json
import time
from typing import Any

import av
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from dialogue import SAMPLE_RATE_HZ, Action, AnswerCall, Configure, Dialogue, Leave, Speak
from openai import AsyncOpenAI
from openai_python import SESSION, function_output
from program import Arguments, Microphone, Pace, arguments, reported

CHUNK_MS = 20
TAIL_S = 0.3
ICE_LIMIT_S = 5.0
HANGUP_LIMIT_S = 5.0


class MicrophoneTrack(MediaStreamTrack):
    """The microphone as a track: 20 ms frames in real time."""

    kind = "audio"

    def __init__(self, microphone: Microphone) -> None:
        super().__init__()
        self._microphone, self._pace, self._sample = microphone, Pace(microphone.chunk_s), 0

    async def recv(self) -> av.AudioFrame:
        await asyncio.sleep(self._pace.wait_s())
        pcm = self._microphone.chunk()
        frame = av.AudioFrame(format="s16", layout="mono", samples=len(pcm) // 2)
        frame.planes[0].update(pcm)
        frame.sample_rate, frame.pts = SAMPLE_RATE_HZ, self._sample
        frame.time_base = fractions.Fraction(1, SAMPLE_RATE_HZ)
        self._sample += len(pcm) // 2
        return frame


class Call:
    """One call: events over the data channel, and the audio of the track given to the answer it belongs to."""

    def __init__(self, given: Arguments, dialogue: Dialogue) -> None:
        self.dialogue = dialogue
        self.microphone = Microphone(given.clips, CHUNK_MS)
        self.peer = RTCPeerConnection()
        self.channel = self.peer.createDataChannel("oai-events")
        self.over, self.ended = asyncio.Event(), asyncio.Event()
        self._playing, self._playing_until_s = "", 0.0
        self._items: dict[str, str] = {}
        self._held: dict[str, Any] | None = None
        self._reading: asyncio.Task[None] | None = None
        self.peer.addTrack(MicrophoneTrack(self.microphone))
        self.peer.on("track", self._begin_reading)
        self.channel.on("message", lambda message: self._take(json.loads(message)))
        self.channel.on("close", self.ended.set)
        self.peer.on("connectionstatechange", self._changed)

    async def offer(self) -> str:
        await self.peer.setLocalDescription(await self.peer.createOffer())
        return self.peer.localDescription.sdp

    def _changed(self) -> None:
        if self.peer.connectionState in ("closed", "failed"):
            self.ended.set()

    def _begin_reading(self, track: MediaStreamTrack) -> None:
        self._reading = asyncio.create_task(self._read(track))  # noqa: TID251 - aiortc calls back; close() ends it

    async def _read(self, track: MediaStreamTrack) -> None:
        """What is heard while an answer plays goes to the dialogue as that answer's audio."""
        resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
        while True:
            frame = await track.recv()
            assert isinstance(frame, av.AudioFrame)
            pcm = b"".join(bytes(one.planes[0])[: one.samples * 2] for one in resampler.resample(frame))
            if self._playing and time.monotonic() < self._playing_until_s:
                self._feed(self._as_delta(self._playing, pcm))

    def _as_delta(self, response_id: str, pcm: bytes) -> dict[str, Any]:
        """What a WebSocket would have brought."""
        return {
            "type": "response.output_audio.delta",
            "event_id": "from_the_track",
            "response_id": response_id,
            "item_id": self._items.get(response_id, ""),
            "output_index": 0,
            "content_index": 0,
            "delta": base64.b64encode(pcm).decode(),
        }

    def _take(self, event: dict[str, Any]) -> None:
        """An answer is over for the dialogue when it has been played, not when it has been made."""
        match event["type"]:
            case "response.output_item.added":
                self._items[event["response_id"]] = event["item"]["id"]
            case "output_audio_buffer.started":
                self._playing, self._playing_until_s = event["response_id"], float("inf")
            case "output_audio_buffer.stopped" | "output_audio_buffer.cleared":
                self._playing_until_s = time.monotonic() + TAIL_S
                self._feed(event)
                if self._held is not None:
                    asyncio.get_running_loop().call_later(TAIL_S, self._feed, self._held)
                self._held = None
                return
            case "response.done" if self._playing_until_s == float("inf"):
                self._held = event
                return
        self._feed(event)

    def _feed(self, event: dict[str, Any]) -> None:
        for action in self.dialogue.feed(event, time.monotonic()):
            self._act(action)

    def _act(self, action: Action) -> None:
        match action:
            case Configure():
                self._send({"type": "session.update", "session": SESSION})
            case Speak(clip, after_s):
                self.microphone.say(clip, after_s)
            case AnswerCall():
                self._send({"type": "conversation.item.create", "item": function_output(action)})
                self._send({"type": "response.create"})
            case Leave():
                self.over.set()

    def _send(self, event: dict[str, Any]) -> None:
        self.channel.send(json.dumps(event))

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        await self.peer.close()


async def answer(given: Arguments, sdp: str) -> tuple[str, str]:
    """The SDP answer, and the call's id."""
    async with AsyncOpenAI(base_url=f"{given.url}/v1", api_key=given.key) as client:
        if given.variant == "session":
            response = await client.realtime.calls.create(sdp=sdp, session=SESSION)
            return response.text, response.response.headers["location"].rpartition("/")[2]
        secret = await client.realtime.client_secrets.create(session=SESSION)
        assert secret.value.startswith("ek_"), secret
        assert secret.session.type == "realtime", secret
    async with AsyncOpenAI(base_url=f"{given.url}/v1", api_key=secret.value) as browser:
        response = await browser.realtime.calls.create(sdp=sdp)
        return response.text, response.response.headers["location"].rpartition("/")[2]


async def converse(given: Arguments, dialogue: Dialogue) -> None:
    async with asyncio.timeout(given.limit_s):
        call = Call(given, dialogue)
        try:
            sdp, call_id = await answer(given, await call.offer())
            await call.peer.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
            waiting = [asyncio.ensure_future(one.wait()) for one in (call.over, call.ended)]  # noqa: TID251
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            dialogue.report.notes["ended_before_hangup"] = call.ended.is_set()
            async with AsyncOpenAI(base_url=f"{given.url}/v1", api_key=given.key) as client:
                await client.realtime.calls.hangup(call_id)
            async with asyncio.timeout(HANGUP_LIMIT_S):
                await call.ended.wait()
            dialogue.report.notes["hung_up"] = call_id
        finally:
            await call.close()


def main() -> None:
    given = arguments("secret", "session")
    dialogue = Dialogue(f"openai-python calls {given.variant}", handled=("truncate",))
    with reported(dialogue, given.output):
        asyncio.run(converse(given, dialogue))


if __name__ == "__main__":
    main()
