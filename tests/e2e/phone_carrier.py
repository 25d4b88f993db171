"""A carrier of telephone calls, for tests: written after the carriers' documents and models, sharing no code with ours.

``TwilioCarrier`` signs with Twilio's own library, buffers and plays what it gets in real time, and sends marks back
when they are reached, as Twilio does. Speech goes in as mu-law, 20 ms at a time.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import numpy as np
from twilio.request_validator import RequestValidator
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.scripted_server import eventually

PUBLIC = "https://voice.example.org"
TOKEN = "0123456789abcdef0123456789abcdef"
ACCOUNT = "AC" + "0" * 32
TWILIO = {
    "account_sid": ACCOUNT,
    "auth_token": TOKEN,
    "number": "+15550100999",
    "api_url": "http://127.0.0.1:9",
}
"""Its REST API is nowhere, unless a test brings one."""
TELEPHONY: dict[str, Any] = {"public_url": PUBLIC, "twilio": TWILIO, "greeting": "Hello there.", "greeting_after_s": 0}
FRAME = 160
BIAS, CLIP = 0x84, 32_635


def ulaw(samples: np.ndarray) -> bytes:
    """Mu-law by the book (G.711's segments, sample by sample), not by our tables."""
    coded = bytearray()
    for sample in samples.tolist():
        sign = 0x80 if sample < 0 else 0
        magnitude = min(abs(sample), CLIP) + BIAS
        exponent = magnitude.bit_length() - 8
        coded.append(~(sign | (exponent << 4) | ((magnitude >> (exponent + 3)) & 0x0F)) & 0xFF)
    return bytes(coded)


def linear(coded: bytes) -> np.ndarray:
    """Mu-law back to samples."""
    values: list[int] = []
    for byte in coded:
        inverted = ~byte & 0xFF
        magnitude = (((inverted & 0x0F) << 3) + BIAS) << ((inverted >> 4) & 0x07)
        values.append(BIAS - magnitude if inverted & 0x80 else magnitude - BIAS)
    return np.array(values, np.int16)


def narrowed(samples: np.ndarray) -> np.ndarray:
    """16 kHz to 8 kHz: a plain low pass, every second sample."""
    taps = np.sinc(np.arange(-16, 17) / 2) * np.hamming(33)
    filtered = np.convolve(samples.astype(np.float64), taps / taps.sum(), mode="same")
    return np.clip(filtered[::2], -32_768, 32_767).astype(np.int16)


def signed(url: str, form: dict[str, str] | None = None) -> dict[str, str]:
    """The header Twilio's own library makes for this address."""
    return {"X-Twilio-Signature": RequestValidator(TOKEN).compute_signature(url, form or {})}


@dataclass
class TwilioCarrier:
    """One stream of Twilio's. ``heard`` is what the caller has heard, ``buffered`` what Twilio would play yet."""

    ws: ClientConnection
    parameters: dict[str, str] = field(default_factory=dict[str, str])
    heard: bytearray = field(default_factory=bytearray)
    buffered: list[bytes | str] = field(default_factory=list[bytes | str])
    messages: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    arrivals: list[float] = field(default_factory=list[float])
    cleared: int = 0
    closed: int | None = None
    chunk: int = 0

    async def start(self, **media: Any) -> None:
        """``connected`` and ``start``."""
        await self._send({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        given = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1, **media}
        start = {"accountSid": ACCOUNT, "streamSid": "MZ1", "callSid": "CA1", "tracks": ["inbound"]}
        inside = {**start, "mediaFormat": given, "customParameters": self.parameters}
        await self._send({"event": "start", "sequenceNumber": "1", "start": inside, "streamSid": "MZ1"})

    async def say(self, samples: np.ndarray, *, real_time: bool = False) -> None:
        """16 kHz samples, as the line carries them."""
        coded = ulaw(narrowed(samples))
        began_s = time.monotonic()
        for number, at in enumerate(range(0, len(coded), FRAME)):
            await self.send_audio(coded[at : at + FRAME])
            if real_time:
                await anyio.sleep(max(0.0, began_s + (number + 1) * 0.02 - time.monotonic()))

    async def send_audio(self, payload: bytes) -> None:
        self.chunk += 1
        timestamp = str(self.chunk * 20)
        media = {"track": "inbound", "chunk": str(self.chunk), "timestamp": timestamp}
        media["payload"] = base64.b64encode(payload).decode()
        await self._send({"event": "media", "sequenceNumber": str(self.chunk + 1), "media": media, "streamSid": "MZ1"})

    async def press(self, digits: Iterable[str]) -> None:
        for digit in digits:
            await self._send({"event": "dtmf", "streamSid": "MZ1", "dtmf": {"track": "inbound_track", "digit": digit}})

    async def stop(self) -> None:
        await self._send({"event": "stop", "streamSid": "MZ1", "stop": {"accountSid": ACCOUNT, "callSid": "CA1"}})

    async def until_heard(self, ms: int, within_s: float = 20.0) -> None:
        await eventually(lambda: len(self.heard) >= ms * 8, within_s)

    async def until_closed(self, within_s: float = 20.0) -> None:
        await eventually(lambda: self.closed is not None, within_s)

    @property
    def marks(self) -> list[str]:
        return [message["mark"]["name"] for message in self.messages if message["event"] == "mark"]

    async def listen(self) -> None:
        """Take in what comes, until the end."""
        try:
            while True:
                await self._take(json.loads(await self.ws.recv()))
        except ConnectionClosed as gone:
            self.closed = 1006 if gone.rcvd is None else gone.rcvd.code

    async def play(self) -> None:
        """Play what is buffered in real time, marks as they come."""
        due_s = time.monotonic()
        while True:
            if not self.buffered:
                await anyio.sleep(0.005)
                due_s = time.monotonic()
                continue
            item = self.buffered.pop(0)
            if isinstance(item, str):
                await self._reached(item)
                continue
            self.heard += item
            due_s += len(item) / 8_000
            await anyio.sleep(max(0.0, due_s - time.monotonic()))

    async def _take(self, message: dict[str, Any]) -> None:
        assert message["streamSid"] == "MZ1"
        self.messages.append(message)
        match message["event"]:
            case "media":
                self.arrivals.append(time.monotonic())
                self.buffered.append(base64.b64decode(message["media"]["payload"], validate=True))
            case "mark":
                self.buffered.append(message["mark"]["name"])
            case "clear":
                self.cleared += 1
                dropped, self.buffered = self.buffered, []
                for item in dropped:
                    if isinstance(item, str):
                        await self._reached(item)
            case other:
                raise AssertionError(f"Twilio knows no {other}")

    async def _reached(self, name: str) -> None:
        await self._send({"event": "mark", "streamSid": "MZ1", "mark": {"name": name}})

    async def _send(self, message: dict[str, Any]) -> None:
        try:
            await self.ws.send(json.dumps(message))
        except ConnectionClosed:
            return


@asynccontextmanager
async def twilio_call(
    url: str, *, started: bool = True, headers: dict[str, str] | None = None, **parameters: str
) -> AsyncGenerator[TwilioCarrier]:
    """A call over Twilio's stream, to the server at ``url`` (http)."""
    given = signed(f"ws{PUBLIC.removeprefix('http')}/v1/phone/twilio") if headers is None else headers
    address = f"ws{url.removeprefix('http')}/v1/phone/twilio"
    caller = {"caller": "+15550100123", "callee": "+15550100999", **parameters}
    async with connect(address, proxy=None, compression=None, additional_headers=given) as ws:
        carrier = TwilioCarrier(ws, caller)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(carrier.listen)
            tasks.start_soon(carrier.play)
            if started:
                await carrier.start()
            yield carrier
            tasks.cancel_scope.cancel()


def own_tasks() -> set[str]:
    """The names of what runs in this process's loop, for tests that nothing is left."""
    return {task.get_name() for task in asyncio.all_tasks() if not task.done()}
