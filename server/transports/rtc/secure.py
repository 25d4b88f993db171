"""Encryption of one peer: the DTLS handshake, the SRTP keys it gives, and the process's certificate.

The handshake and what data channels need of DTLS are aiortc's. Media is decrypted and encrypted here by plain calls, so
a packet costs no task and no queue. Knows no SDP and no codec; a peer drives it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import anyio.to_thread
import pylibsrtp
from aiortc import RTCCertificate, RTCDtlsTransport
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters

from server.transports.rtc.aiortc_seam import SrtpSession, dtls_over, srtp_sessions
from server.transports.rtc.description import AnsweredSetup
from server.transports.rtc.link import Link

_RENEW_AFTER_S: Final = 20 * 24 * 3_600
_RTCP_TYPES: Final = range(192, 224)  # RFC 5761 section 4


class Identity:
    """The certificate all peers of this process show; renewed long before its 30 days are over."""

    def __init__(self) -> None:
        self._certificate: RTCCertificate | None = None
        self._made_s = 0.0

    async def certificate(self, now_s: float) -> RTCCertificate:
        """The certificate for a connection that begins at ``now_s`` (monotonic); made off the event loop."""
        current = self._certificate
        if current is None or now_s - self._made_s > _RENEW_AFTER_S:
            current = self._certificate = await anyio.to_thread.run_sync(RTCCertificate.generateCertificate)
            self._made_s = now_s
        return current


def fingerprints_of(certificate: RTCCertificate) -> tuple[tuple[str, str], ...]:
    """What stands in the answer: the SHA-256 digest, which everybody knows."""
    return tuple((one.algorithm, one.value) for one in certificate.getFingerprints() if one.algorithm == "sha-256")


class HandshakeFailed(Exception):
    """The other side is not who its description says, or speaks no DTLS-SRTP we know."""


class SecureTransport:
    """DTLS over a link. ``on_closed`` is called when the other side says goodbye."""

    def __init__(
        self, link: Link, certificate: RTCCertificate, setup: AnsweredSetup, on_closed: Callable[[], None]
    ) -> None:
        self._link = link
        self._on_closed = on_closed
        self._inbound: SrtpSession | None = None
        self._outbound: SrtpSession | None = None
        self.dtls: RTCDtlsTransport = dtls_over(link, certificate, "client" if setup == "active" else "server")
        """What data channels run over."""

    async def start(self, fingerprints: Iterable[tuple[str, str]]) -> None:
        """Shake hands with the owner of ``fingerprints``. Raises HandshakeFailed."""
        remote = RTCDtlsParameters([RTCDtlsFingerprint(name, digest) for name, digest in fingerprints])
        await self.dtls.start(remote)
        if self.dtls.state != "connected":
            raise HandshakeFailed("the DTLS handshake failed")
        self._inbound, self._outbound = srtp_sessions(self.dtls)
        self.dtls.on("statechange", self._state_changed)

    def decrypt(self, data: bytes) -> tuple[bool, bytes] | None:
        """A media datagram: whether it is RTCP, and its plain bytes; None for what is forged, repeated or too early."""
        if self._inbound is None or len(data) < 2:
            return None
        try:
            if data[1] in _RTCP_TYPES:
                return True, self._inbound.unprotect_rtcp(data)
            return False, self._inbound.unprotect(data)
        except pylibsrtp.Error:
            return None

    async def send_rtp(self, packet: bytes) -> None:
        """Raises ConnectionError while there is no path."""
        if self._outbound is None:
            raise ConnectionError("not connected")
        await self._link.send(self._outbound.protect(packet))

    async def send_rtcp(self, packet: bytes) -> None:
        """Raises ConnectionError while there is no path."""
        if self._outbound is None:
            raise ConnectionError("not connected")
        await self._link.send(self._outbound.protect_rtcp(packet))

    async def stop(self) -> None:
        """Say goodbye."""
        self.dtls.remove_all_listeners()
        self._inbound = self._outbound = None
        await self.dtls.stop()

    def _state_changed(self) -> None:
        if self.dtls.state in ("closed", "failed"):
            self._on_closed()
