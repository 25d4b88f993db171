"""Every name of aiortc and aioice we use that they do not promise to keep, in one place.

A new version of theirs that drops one fails ``tests/server/test_rtc_seam.py``, which says which. Nothing here decides
anything; ``ice`` and ``secure`` call it.
"""

# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# ruff: noqa: SLF001

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from aioice import Connection
from aioice.ice import StunProtocol
from aiortc import RTCCertificate, RTCDtlsTransport, RTCSctpTransport


class SrtpSession(Protocol):
    """``pylibsrtp.Session``, as used. Both directions raise ``pylibsrtp.Error``."""

    def protect(self, packet: bytes) -> bytes: ...

    def protect_rtcp(self, packet: bytes) -> bytes: ...

    def unprotect(self, packet: bytes) -> bytes: ...

    def unprotect_rtcp(self, packet: bytes) -> bytes: ...


class DatagramPath(Protocol):
    """What an ``RTCDtlsTransport`` needs of the transport below it, whose own class it never checks."""

    @property
    def role(self) -> str: ...

    async def _recv(self) -> bytes: ...

    async def _send(self, data: bytes) -> None: ...


def add_protocol(connection: Connection, protocol: StunProtocol) -> None:
    """Let a connection send through one more socket of its own."""
    connection._protocols.append(protocol)


def dtls_over(path: DatagramPath, certificate: RTCCertificate, role: str) -> RTCDtlsTransport:
    """DTLS over any path of datagrams, as ``client`` or ``server``."""
    transport = RTCDtlsTransport(path, [certificate])  # type: ignore[arg-type]
    transport._set_role(role)
    return transport


def srtp_sessions(transport: RTCDtlsTransport) -> tuple[SrtpSession, SrtpSession]:
    """The sessions that decrypt and encrypt media, inbound first, once DTLS is connected."""
    inbound, outbound = transport._rx_srtp, transport._tx_srtp
    assert inbound is not None
    assert outbound is not None
    return inbound, outbound


@dataclass(frozen=True, slots=True)
class Resending:
    """When what was not acknowledged is sent again: at first, then by the round trip within limits (RFC 9260, 6.3)."""

    initial_s: float
    min_s: float
    max_s: float


class Association(RTCSctpTransport):
    """aiortc's SCTP over DTLS, with limits of our own for sending again; its own are 3 s, and never below 1 s."""

    def __init__(self, transport: RTCDtlsTransport, port: int, resending: Resending) -> None:
        super().__init__(transport, port)
        self._resending = resending
        self._rto = resending.initial_s

    def _update_rto(self, R: float) -> None:  # noqa: N803 - aiortc's name
        super()._update_rto(R)
        assert self._srtt is not None
        assert self._rttvar is not None
        limits = self._resending
        self._rto = max(limits.min_s, min(self._srtt + 4 * self._rttvar, limits.max_s))

    def _t3_expired(self) -> None:
        self._rto = min(2 * self._rto, self._resending.max_s)
        super()._t3_expired()
