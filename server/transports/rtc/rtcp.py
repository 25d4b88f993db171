"""RTCP of one peer: what we report, and what we learn from reports (RFC 3550 section 6.4).

Keeps the two clocks apart: NTP time here is a monotonic clock, which the RFC allows and nobody synchronises with.
Feedback for video or retransmission (PLI, NACK, REMB) is passed over. Time is passed in; nothing is sent here.
"""

from __future__ import annotations

import struct
from typing import Final

from aiortc.rtp import (
    RtcpPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
)

from audio.rtp.reception import ReceptionReport
from server.transports.rtc.outbound import SentCounts

_CNAME: Final = 1
_MAX_ROUND_TRIP_MS: Final = 60_000.0


class RtcpDesk:
    """Reports out and in, for our one stream (``ssrc``) and the other side's one."""

    def __init__(self, ssrc: int, cname: str) -> None:
        self.ssrc = ssrc
        self._cname = cname.encode()
        self._last_report = 0
        self._last_report_ms = 0.0
        self.round_trip_ms: float | None = None
        self.outbound_loss: float | None = None
        """Share of our packets lost lately, 0 to 1."""
        self.outbound_jitter_ms: float | None = None

    def compound(
        self, now_ms: float, sent: SentCounts | None, heard_ssrc: int | None, heard: ReceptionReport | None
    ) -> bytes:
        """A sender report, or a receiver report where nothing was sent, and who we are."""
        blocks: list[RtcpReceiverInfo] = []
        if heard is not None and heard_ssrc is not None:
            blocks.append(self._block(now_ms, heard_ssrc, heard))
        if sent is None:
            report: RtcpSrPacket | RtcpRrPacket = RtcpRrPacket(self.ssrc, blocks)
        else:
            sender = RtcpSenderInfo(_ntp(now_ms), sent.timestamp, sent.packets, sent.payload_bytes)
            report = RtcpSrPacket(self.ssrc, sender, blocks)
        source = RtcpSdesPacket([RtcpSourceInfo(self.ssrc, [(_CNAME, self._cname)])])
        return bytes(report) + bytes(source)

    def receive(self, data: bytes, now_ms: float) -> None:
        """A plain compound packet. One that cannot be read is passed over."""
        try:
            packets = RtcpPacket.parse(data)
        except (ValueError, IndexError, struct.error):
            return
        for packet in packets:
            if isinstance(packet, RtcpSrPacket):
                self._last_report = _middle(packet.sender_info.ntp_timestamp)
                self._last_report_ms = now_ms
            if isinstance(packet, RtcpSrPacket | RtcpRrPacket):
                for block in packet.reports:
                    if block.ssrc == self.ssrc:
                        self._learn(block, now_ms)

    def _block(self, now_ms: float, ssrc: int, heard: ReceptionReport) -> RtcpReceiverInfo:
        delay = int((now_ms - self._last_report_ms) * 65.536) if self._last_report else 0
        return RtcpReceiverInfo(
            ssrc=ssrc,
            fraction_lost=heard.fraction_lost,
            packets_lost=heard.packets_lost,
            highest_sequence=heard.highest_sequence,
            jitter=heard.jitter,
            lsr=self._last_report,
            dlsr=min(delay, 0xFFFFFFFF),
        )

    def _learn(self, block: RtcpReceiverInfo, now_ms: float) -> None:
        self.outbound_loss = block.fraction_lost / 256
        self.outbound_jitter_ms = block.jitter / 48
        if block.lsr:
            taken_ms = ((_middle(_ntp(now_ms)) - block.lsr - block.dlsr) & 0xFFFFFFFF) / 65.536
            if taken_ms < _MAX_ROUND_TRIP_MS:
                self.round_trip_ms = taken_ms


def _ntp(now_ms: float) -> int:
    return int(now_ms * ((1 << 32) / 1_000)) & 0xFFFFFFFFFFFFFFFF


def _middle(ntp: int) -> int:
    return ntp >> 16 & 0xFFFFFFFF
