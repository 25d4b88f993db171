"""A WebRTC client of parts: it restarts ICE, lies about itself, vanishes and sends anything, as aiortc's cannot."""

from __future__ import annotations

import asyncio
import contextlib

import aioice
import anyio
from aiortc import RTCCertificate
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters

from audio.rtp.packet import RtpPacket
from server.transports.rtc.aiortc_seam import dtls_over, srtp_sessions

PAYLOAD_TYPE = 111


class RawClient:
    """The offering side: one audio section, and what is asked of it."""

    role = "controlling"

    def __init__(self, *, setup: str = "actpass", fingerprint: str | None = None, hash_name: str = "sha-256") -> None:
        self.setup = setup
        self.hash_name = hash_name
        self.certificate = RTCCertificate.generateCertificate()
        self.fingerprint = fingerprint or next(
            one.value for one in self.certificate.getFingerprints() if one.algorithm == hash_name
        )
        self.ice = None
        self.path = None
        self.packets: list[RtpPacket] = []
        self.answer = ""
        self._dtls_data: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._pumps: list[asyncio.Task] = []
        self._inbound = self._outbound = None
        self.dtls = None

    async def offer(self) -> str:
        """With a new ICE connection each time."""
        self.ice = aioice.Connection(ice_controlling=True, use_ipv6=False)
        await self.ice.gather_candidates()
        return self.describe()

    def describe(self) -> str:
        candidates = "".join(f"a=candidate:{one.to_sdp()}\r\n" for one in self.ice.local_candidates)
        return (
            "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n"
            f"m=audio 9 UDP/TLS/RTP/SAVPF {PAYLOAD_TYPE}\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\n"
            f"a=ice-ufrag:{self.ice.local_username}\r\na=ice-pwd:{self.ice.local_password}\r\n"
            f"a=fingerprint:{self.hash_name} {self.fingerprint}\r\na=setup:{self.setup}\r\n"
            f"a=rtpmap:{PAYLOAD_TYPE} opus/48000/2\r\na=fmtp:{PAYLOAD_TYPE} useinbandfec=1\r\n{candidates}"
        )

    async def take(self, answer: str) -> None:
        """Connect ICE with what the answer says; over the first connection, DTLS too."""
        self.answer = answer
        values = dict(line[2:].partition(":")[::2] for line in answer.splitlines() if line.startswith("a="))
        ice = self.ice
        ice.remote_username, ice.remote_password = values["ice-ufrag"], values["ice-pwd"]
        for line in answer.splitlines():
            if line.startswith("a=candidate:"):
                await ice.add_remote_candidate(aioice.Candidate.from_sdp(line.partition(":")[2]))
        await ice.add_remote_candidate(None)
        await ice.connect()
        self.path = ice
        self._pumps.append(asyncio.get_running_loop().create_task(self._pump(ice)))
        if self.dtls is None:
            name, _, digest = values["fingerprint"].partition(" ")
            self.dtls = dtls_over(self, self.certificate, "server" if values["setup"] == "active" else "client")
            await self.dtls.start(RTCDtlsParameters([RTCDtlsFingerprint(name, digest)]))
            if self.dtls.state == "connected":
                self._inbound, self._outbound = srtp_sessions(self.dtls)

    async def connect(self, peer) -> None:
        await self.take(await peer.answer(await self.offer()))

    async def restart(self, peer) -> None:
        """A new path; the old one is closed once the new one stands."""
        before = self.ice
        answer = await peer.renegotiate(await self.offer())
        await self.take(answer)
        await anyio.sleep(0.3)
        await before.close()

    async def send(self, packet: RtpPacket) -> None:
        await self.path.send(self._outbound.protect(packet.to_bytes()))

    async def send_raw(self, data: bytes) -> None:
        await self.path.send(data)

    async def send_rtcp(self, data: bytes) -> None:
        await self.path.send(self._outbound.protect_rtcp(data))

    def vanish(self) -> None:
        """Gone without a word: the cable is pulled."""
        for protocol in self.ice._protocols:
            protocol.transport.abort()

    async def close(self, *, goodbye: bool = True) -> None:
        if self.dtls is not None and goodbye:
            await self.dtls.stop()
        if self.dtls is not None and self.dtls._task is not None:
            self.dtls._task.cancel()
        for pump in self._pumps:
            pump.cancel()
        if self._pumps:
            await asyncio.wait(self._pumps)
        if self.ice is not None:
            await self.ice.close()

    async def _pump(self, ice) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                data = await ice.recv()
                if 20 <= data[0] < 64:
                    self._dtls_data.put_nowait(data)
                elif self._inbound is not None and not 192 <= data[1] < 224:
                    self.packets.append(RtpPacket.parse(self._inbound.unprotect(data)))

    async def _recv(self) -> bytes:
        return await self._dtls_data.get()

    async def _send(self, data: bytes) -> None:
        await self.path.send(data)
