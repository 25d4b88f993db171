"""What RTCP tells a sender about its packets: RFC 3550 section 6.4.1 and appendix A.3 and A.8.

Pure counting over what arrives, in whatever order. Driven by a stream's receiver.
"""

from __future__ import annotations

from dataclasses import dataclass

from audio.rtp.packet import RtpPacket, signed_distance


@dataclass(frozen=True, slots=True)
class ReceptionReport:
    """The numbers of one report block. ``jitter`` counts in the payload's clock, ``fraction_lost`` in 1/256."""

    highest_sequence: int
    packets_lost: int
    fraction_lost: int
    jitter: int


class Reception:
    """Arrival statistics of one stream (one SSRC) whose payload runs at ``clock_hz``."""

    def __init__(self, clock_hz: int) -> None:
        self._units_per_ms = clock_hz / 1_000
        self._base: int | None = None
        self._highest = 0
        self._received = 0
        self._expected_before = 0
        self._received_before = 0
        self._transit: float | None = None
        self._jitter = 0.0

    @property
    def jitter_ms(self) -> float:
        """Mean deviation of packet spacing (RFC 3550 section 6.4.1)."""
        return self._jitter / self._units_per_ms

    def add(self, packet: RtpPacket, now_ms: float) -> None:
        """Count a packet as it arrives."""
        self._received += 1
        if self._base is None:
            self._base = self._highest = packet.sequence
        else:
            self._highest = max(
                self._highest, self._highest + signed_distance(packet.sequence, self._highest & 0xFFFF, 16)
            )
        transit = now_ms * self._units_per_ms - packet.timestamp
        if self._transit is not None:
            change = abs(transit - self._transit)
            if change < self._units_per_ms * 10_000:  # a wrapped or restarted timestamp is no jitter
                self._jitter += (change - self._jitter) / 16
        self._transit = transit

    def report(self) -> ReceptionReport | None:
        """The report since the last one; None before the first packet."""
        if self._base is None:
            return None
        expected = self._highest - self._base + 1
        expected_now, received_now = expected - self._expected_before, self._received - self._received_before
        self._expected_before, self._received_before = expected, self._received
        lost_now = expected_now - received_now
        fraction = min(255, (lost_now << 8) // expected_now) if expected_now > 0 and lost_now > 0 else 0
        lost = max(-(1 << 23), min((1 << 23) - 1, expected - self._received))
        return ReceptionReport(self._highest & 0xFFFFFFFF, lost, fraction, int(self._jitter))
