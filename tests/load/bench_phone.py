"""How many mu-law calls one core holds: zero-delay engines, Twilio's protocol and SIP, real frames in real time.

The server runs on one core, the carrier on the other. Each call speaks about three seconds every six and hears answers
of two. What is measured: last speech sample -> first audio, beside the same over the voice socket; how late the frames
of an answer come, against playing without a pause from its first frame on; CPU; and calls that come and go.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import hmac
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import websockets
from websockets.asyncio.client import ClientConnection

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench_capacity import TURN_S, scripted_server
from bench_client import last_speech_sample, percentiles, session, silence
from bench_speech import clip
from sip_caller import FRAME_S, paced, sip_call

from audio.codecs.g711 import G711Encoder
from audio.codecs.resample import StreamResampler
from audio.formats import Encoding

TOKEN = "0123456789abcdef0123456789abcdef"
CLIP = "librivox_0930"


def line(samples: np.ndarray) -> list[str]:
    """16 kHz samples as Twilio's payloads."""
    coded = G711Encoder(Encoding.G711_ULAW).encode(StreamResampler(16_000, 8_000).process(samples))[0]
    whole = len(coded) - len(coded) % 160
    return [base64.b64encode(coded[at : at + 160]).decode() for at in range(0, whole, 160)]


@dataclass(slots=True)
class Figures:
    """Ms, of all calls together."""

    waits: list[float] = field(default_factory=list[float])
    lateness: list[float] = field(default_factory=list[float])
    unanswered: int = 0
    """Turns without an answer within 2.5 s."""


@dataclass(slots=True)
class Phone:
    """One call: sends frames, plays what comes without a buffer's help, and sends marks back as they are reached."""

    socket: ClientConnection
    audio: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    chunk: int = 0
    played_until_s: float = 0.0

    async def start(self) -> None:
        await self._send({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        media = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
        start = {"streamSid": "MZ1", "callSid": "CA1", "mediaFormat": media, "customParameters": {}}
        await self._send({"event": "start", "start": start, "streamSid": "MZ1"})

    async def speak(self, payloads: list[str], *, until_heard: bool = False) -> list[float]:
        """In real time; when each frame was sent."""
        sent = list[float]()
        async for payload in paced(payloads, self.audio, until_heard=until_heard):
            self.chunk += 1
            frame = (
                f'{{"event":"media","streamSid":"MZ1","media":{{"track":"inbound","chunk":"{self.chunk}",'
                f'"timestamp":"{self.chunk * 20}","payload":"{payload}"}}}}'
            )
            await self.socket.send(frame)
            sent.append(time.perf_counter())
        return sent

    async def read(self) -> None:
        with suppress(websockets.ConnectionClosed):
            await self._read()

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        async for raw in self.socket:
            now_s, message = time.perf_counter(), json.loads(raw)
            if message["event"] == "media":
                length = len(message["media"]["payload"]) * 3 // 4
                self.audio.append((now_s, length))
                self.played_until_s = max(now_s, self.played_until_s) + length / 8_000
            elif message["event"] == "mark":
                back = json.dumps(message)
                loop.call_later(max(0.0, self.played_until_s - now_s), lambda back=back: self._later(back))

    def _later(self, frame: str) -> None:
        self._echo = asyncio.ensure_future(self._reached(frame))  # noqa: TID251 - a benchmark's client

    async def _reached(self, frame: str) -> None:
        with suppress(websockets.ConnectionClosed):
            await self.socket.send(frame)

    async def _send(self, message: dict[str, object]) -> None:
        await self.socket.send(json.dumps(message))

    _echo: object = None


@asynccontextmanager
async def call(url: str) -> AsyncIterator[Phone]:
    """A call that has been greeted."""
    signed = hmac.new(TOKEN.encode(), b"wss://voice.example.org/v1/phone/twilio", hashlib.sha1).digest()
    headers = {"X-Twilio-Signature": base64.b64encode(signed).decode()}
    address = url.replace("http", "ws", 1) + "/v1/phone/twilio"
    async with (
        websockets.connect(
            address, additional_headers=headers, compression=None, ping_interval=None, open_timeout=60
        ) as socket,
        asyncio.TaskGroup() as tasks,
    ):
        phone = Phone(socket)
        reader = tasks.create_task(phone.read())
        await phone.start()
        try:
            yield phone
        finally:
            await socket.close()
            reader.cancel()


class Talker(Protocol):
    """A call that is up, over whatever it is."""

    audio: list[tuple[float, int]]
    """When the agent's voice came, and how many bytes of it."""

    async def speak(self, payloads: list[str], *, until_heard: bool = False) -> list[float]: ...


Dial = Callable[[], AbstractAsyncContextManager[Talker]]


def late(audio: list[tuple[float, int]], first: int) -> list[float]:
    """How late each frame of the answer came that began with audio ``first``, in ms; gaps of a second end it."""
    began_s, length = audio[first]
    due_s, found = began_s + length / 8_000, list[float]()
    for at_s, length in audio[first + 1 :]:
        if at_s - due_s > 1.0:
            break
        found.append(max(0.0, at_s - due_s) * 1_000)
        due_s = max(due_s, at_s) + length / 8_000
    return found


async def converse(dial: Dial, turns: int, delay_s: float, figures: Figures) -> None:
    """One call's turns."""
    samples = clip(CLIP)
    speech, end = line(np.concatenate([samples, silence(2.5)])), last_speech_sample(samples) // 320
    quiet = line(silence(TURN_S))
    await asyncio.sleep(delay_s)
    async with dial() as phone:
        await phone.speak(quiet[:100])
        for _ in range(turns):
            began_s, heard = time.perf_counter(), len(phone.audio)
            sent = await phone.speak(speech, until_heard=True)
            if len(phone.audio) == heard:
                figures.unanswered += 1
                await phone.speak(quiet[: int((TURN_S - (time.perf_counter() - began_s)) / FRAME_S)])
                continue
            figures.waits.append((phone.audio[heard][0] - sent[min(end, len(sent) - 1)]) * 1_000)
            rest_s = TURN_S - (time.perf_counter() - began_s)
            await phone.speak(quiet[: max(0, int(rest_s / FRAME_S))])
            figures.lateness += late(phone.audio, heard)


async def over_socket(url: str, turns: int) -> list[float]:
    """The same waits over the voice socket, which has the same turn-taking."""
    speech, waits = clip(CLIP), list[float]()
    end = last_speech_sample(speech)
    async with session(url) as client:
        for _ in range(turns):
            heard, sent = len(client.seen.audio), len(client.sent_at)
            padded = np.concatenate([speech, silence(2.5)])
            await client.speak(padded, stop=lambda heard=heard: len(client.seen.audio) > heard)
            waits.append((client.seen.audio[heard][0] - client.sent_at[sent + end // 320]) * 1_000)
            await client.speak(silence(3.0))
    return waits


async def load(dial: Dial, calls: int, turns: int) -> Figures:
    """All calls' turns, spread over the period."""
    figures = Figures()
    async with asyncio.TaskGroup() as tasks:
        for number in range(calls):
            tasks.create_task(converse(dial, turns, number * TURN_S / calls, figures))
    return figures


async def come_and_go(url: str, calls: int, at_once: int) -> float:
    """Calls that are greeted and break off, ``at_once`` at a time; seconds they took."""
    room, began_s = asyncio.Semaphore(at_once), time.perf_counter()

    async def one() -> None:
        async with room, call(url) as phone:
            async with asyncio.timeout(30):
                while not phone.audio:  # noqa: ASYNC110 - there is no event for it
                    await asyncio.sleep(0.02)
            phone.socket.transport.abort()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(calls):
            tasks.create_task(one())
    return time.perf_counter() - began_s


def run(port: int, steps: list[int], turns: int, passing: int) -> None:
    """Print the figures."""
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {1})
    with scripted_server(port, program="phone_server.py") as server:
        socket = asyncio.run(over_socket(server.url, 4))
        dials: dict[str, Dial] = {"Twilio": lambda: call(server.url), "SIP": lambda: sip_call(port + 1)}
        print(f"  last speech -> first audio, socket   {percentiles(socket)} ms")
        for over, dial in dials.items():
            waits = asyncio.run(load(dial, 1, 4)).waits
            print(f"  last speech -> first audio, {over:6s}   {percentiles(waits)} ms")
        print("  calls           last speech -> first audio, ms     frames late by, ms          CPU, ms   core  memory")
        print("                                                                                  a second")
        for calls, over in [(calls, over) for over in dials for calls in steps]:
            before, _ = server.usage()
            began_s = time.perf_counter()
            figures = asyncio.run(load(dials[over], calls, turns))
            took_s = time.perf_counter() - began_s
            cpu_s, rss_kib = server.usage()
            cost = (cpu_s - before) * 1_000 / (calls * (turns * TURN_S + 2))
            print(
                f"  {calls:5d} {over:6s}    {percentiles(figures.waits)}   {percentiles(figures.lateness)}"
                f"   {cost:6.1f}        {(cpu_s - before) / took_s:4.0%}   {rss_kib // 1024} MiB"
                f"   {figures.unanswered} unanswered",
                flush=True,
            )
        if passing:
            _, before_kib = server.usage()
            took_s = asyncio.run(come_and_go(server.url, passing, 20))
            time.sleep(2)
            _, after_kib = server.usage()
            memory = f"{before_kib // 1024} -> {after_kib // 1024} MiB"
            print(f"  {passing} calls that broke off: {took_s:.0f} s, memory {memory}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=18_190)
    parser.add_argument("--calls", type=int, nargs="*", default=[25, 100])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--passing", type=int, default=1_000)
    arguments = parser.parse_args()
    run(arguments.port, arguments.calls, arguments.turns, arguments.passing)
