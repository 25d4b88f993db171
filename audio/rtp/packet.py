"""One RTP packet, as a value and as bytes (RFC 3550 section 5.1).

Owns the header's layout. Knows no encryption and no payload format: whoever has a plain packet calls ``parse``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

_HEADER: Final = struct.Struct("!BBHII")
_VERSION: Final = 2


class RtpFormatError(ValueError):
    """The bytes are no RTP packet."""


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """What receivers need of a packet. ``timestamp`` counts in the payload format's clock (48 kHz for Opus)."""

    sequence: int
    timestamp: int
    payload: bytes
    ssrc: int = 0
    payload_type: int = 0
    marker: bool = False

    @classmethod
    def parse(cls, data: bytes) -> RtpPacket:
        """Raises RtpFormatError. Contributing sources and header extensions are passed over."""
        if len(data) < _HEADER.size:
            raise RtpFormatError("shorter than an RTP header")
        first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
        if first >> 6 != _VERSION:
            raise RtpFormatError("not version 2 of RTP")
        start = _HEADER.size + 4 * (first & 0x0F)
        end = len(data)
        if first & 0x10:
            if end < start + 4:
                raise RtpFormatError("a header extension is cut short")
            start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
        if first & 0x20:
            end -= data[-1]
        if end < start:
            raise RtpFormatError("header and padding are longer than the packet")
        return cls(sequence, timestamp, data[start:end], ssrc, second & 0x7F, second > 0x7F)

    def to_bytes(self) -> bytes:
        """The packet without padding or extensions."""
        second = self.payload_type | (0x80 if self.marker else 0)
        return _HEADER.pack(_VERSION << 6, second, self.sequence, self.timestamp, self.ssrc) + self.payload


def signed_distance(value: int, reference: int, bits: int) -> int:
    """How far ``value`` lies after ``reference`` in a counter of ``bits`` that wraps; negative where before."""
    half = 1 << (bits - 1)
    return ((value - reference + half) & ((1 << bits) - 1)) - half
