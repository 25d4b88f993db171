"""A telephone by hand for benchmarks: SIP over UDP and mu-law RTP at its own pace, nothing of ours in between.

As bench_phone's ``Phone`` it speaks payloads in real time and keeps when the agent's voice came. The faint noise of a
line that is silent is no voice.
"""

from __future__ import annotations

import asyncio
import base64
import re
import secrets
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from audio.codecs.g711 import G711Decoder
from audio.formats import Encoding

FRAME_S = 0.02
VOICE = 500
"""Samples of 16 bits louder than this are the agent's voice."""
LIMIT_S = 10.0
_DECODER = G711Decoder(Encoding.G711_ULAW)


class Datagrams(asyncio.DatagramProtocol):
    """A socket, and what is done with what comes."""

    def __init__(self, take: Any) -> None:
        self._take = take

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._take(data)


async def bound(take: Any) -> asyncio.DatagramTransport:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Datagrams(take), local_addr=("127.0.0.1", 0))
    return transport


def port_of(transport: asyncio.DatagramTransport) -> int:
    return int(transport.get_extra_info("sockname")[1])


async def paced(payloads: list[str], audio: list[tuple[float, int]], *, until_heard: bool) -> AsyncIterator[str]:
    """Each payload when it is due; no more, ``until_heard``, once ``audio`` has grown."""
    began_s, heard = time.perf_counter(), len(audio)
    for number, payload in enumerate(payloads):
        await asyncio.sleep(max(0.0, began_s + number * FRAME_S - time.perf_counter()))
        if until_heard and len(audio) > heard:
            return
        yield payload


@dataclass(slots=True)
class SipPhone:
    """One call that is up."""

    rtp: asyncio.DatagramTransport
    to: tuple[str, int]
    audio: list[tuple[float, int]]
    ssrc: int = field(default_factory=lambda: secrets.randbits(32))
    sequence: int = 0

    async def speak(self, payloads: list[str], *, until_heard: bool = False) -> list[float]:
        """In real time; when each frame was sent."""
        sent = list[float]()
        async for payload in paced(payloads, self.audio, until_heard=until_heard):
            self.sequence += 1
            head = struct.pack("!BBHII", 0x80, 0, self.sequence & 0xFFFF, self.sequence * 160 & 0xFFFFFFFF, self.ssrc)
            self.rtp.sendto(head + base64.b64decode(payload), self.to)
            sent.append(time.perf_counter())
        return sent


class _Signals:
    """The call's SIP messages."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._name = secrets.token_hex(8)
        self._to_tag = ""
        self._came: asyncio.Queue[str] = asyncio.Queue()
        self._transport: asyncio.DatagramTransport | None = None

    async def call(self, rtp_port: int) -> int:
        """Call, and acknowledge; the port their audio goes to."""
        self._transport = await bound(lambda data: self._came.put_nowait(data.decode(errors="replace")))
        sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        self._send("INVITE", 1, f"{sdp}m=audio {rtp_port} RTP/AVP 0\r\n")
        answer = await self._until("SIP/2.0 200")
        tag = re.search(r"^To:.*;tag=(\S+)", answer, re.MULTILINE)
        port = re.search(r"^m=audio (\d+)", answer, re.MULTILINE)
        assert tag is not None
        assert port is not None
        self._to_tag = f";tag={tag[1]}"
        self._send("ACK", 1)
        return int(port[1])

    async def leave(self) -> None:
        self._send("BYE", 2)
        await self._until("SIP/2.0 200")
        assert self._transport is not None
        self._transport.close()

    async def _until(self, start: str) -> str:
        async with asyncio.timeout(LIMIT_S):
            while not (came := await self._came.get()).startswith(start):
                assert not re.match(r"SIP/2.0 [3-6]", came), came
        return came

    def _send(self, method: str, number: int, body: str = "") -> None:
        assert self._transport is not None
        host = f"127.0.0.1:{port_of(self._transport)}"
        typed = "Content-Type: application/sdp\r\n" if body else ""
        text = (
            f"{method} sip:agent@{self._server[0]} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {host};branch=z9hG4bK{self._name}{method};rport\r\nMax-Forwards: 70\r\n"
            f"From: <sip:caller@{host}>;tag={self._name}\r\nTo: <sip:agent@{self._server[0]}>{self._to_tag}\r\n"
            f"Call-ID: {self._name}\r\nCSeq: {number} {method}\r\nContact: <sip:caller@{host}>\r\n{typed}"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )
        self._transport.sendto(text.encode(), self._server)


@asynccontextmanager
async def sip_call(port: int) -> AsyncIterator[SipPhone]:
    """A call to the server on this machine that listens there."""
    audio = list[tuple[float, int]]()

    def came(packet: bytes) -> None:
        now_s, payload = time.perf_counter(), packet[12:]
        if int(np.abs(_DECODER.decode(payload).astype(np.int32)).max(initial=0)) > VOICE:
            audio.append((now_s, len(payload)))

    rtp, signals = await bound(came), _Signals(("127.0.0.1", port))
    try:
        yield SipPhone(rtp, ("127.0.0.1", await signals.call(port_of(rtp))), audio)
        await signals.leave()
    finally:
        rtp.close()
