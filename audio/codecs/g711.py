"""G.711: telephony's 8-bit logarithmic companding at 8 kHz, mu-law and A-law.

Stateless table look-ups; the tables are built once, from the definition in ITU-T G.711 (tables 1a-2b). 16-bit
samples are first cut to the 14 (mu-law) or 13 bits (A-law) of uniform PCM the recommendation compands, by dropping low
bits. Output equals that of the C library routines most telephony software descends from, and of ``audioop``.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from audio.codecs.port import MAX_PAYLOAD_MS, require_at_most
from audio.formats import Encoding, Samples, ms_to_samples

_RATE_HZ: Final = 8_000
_MAX_BYTES: Final = ms_to_samples(MAX_PAYLOAD_MS, _RATE_HZ)

_Bytes = npt.NDArray[np.uint8]


class G711Decoder:
    """``audio.codecs.port.Decoder`` for ``Encoding.G711_ULAW`` or ``G711_ALAW``; every byte is valid."""

    sample_rate_hz = _RATE_HZ

    def __init__(self, encoding: Encoding) -> None:
        self._table = _DECODE[encoding]

    def decode(self, payload: bytes) -> Samples:
        """Raises AudioFormatError for more than ``MAX_PAYLOAD_MS``."""
        require_at_most(payload, _MAX_BYTES)
        return self._table.take(np.frombuffer(payload, dtype=np.uint8))


class G711Encoder:
    """``audio.codecs.port.Encoder`` for ``Encoding.G711_ULAW`` or ``G711_ALAW``: nothing is held back."""

    sample_rate_hz = _RATE_HZ

    def __init__(self, encoding: Encoding) -> None:
        self._table = _ENCODE[encoding]

    def encode(self, samples: Samples) -> list[bytes]:
        return [self._table.take(samples.view(np.uint16)).tobytes()] if len(samples) else []

    def flush(self) -> list[bytes]:
        return []


def _every_sample() -> npt.NDArray[np.int64]:
    """All 16-bit values, in the order of their unsigned reading: the index of the encoding tables."""
    return np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int64)


def _segment(magnitude: npt.NDArray[np.int64], first_end: int) -> npt.NDArray[np.int64]:
    """Which of the eight segments a magnitude lies in; the first ends at ``first_end``, each next is twice as long."""
    ends = np.array([(first_end + 1) * 2**k - 1 for k in range(8)], dtype=np.int64)
    return np.searchsorted(ends, magnitude, side="left").astype(np.int64)


def _ulaw_encode_table() -> _Bytes:
    linear = _every_sample() >> 2
    magnitude = np.minimum(np.abs(linear), 8_158) + 33
    segment = _segment(magnitude, 0x3F)
    code = (segment << 4) | ((magnitude >> (segment + 1)) & 0x0F)
    return (code ^ np.where(linear < 0, 0x7F, 0xFF)).astype(np.uint8)


def _alaw_encode_table() -> _Bytes:
    linear = _every_sample() >> 3
    magnitude = np.where(linear < 0, ~linear, linear)
    segment = _segment(magnitude, 0x1F)
    code = (segment << 4) | ((magnitude >> np.maximum(segment, 1)) & 0x0F)
    return (code ^ np.where(linear < 0, 0x55, 0xD5)).astype(np.uint8)


def _ulaw_decode_table() -> Samples:
    code = ~np.arange(256, dtype=np.int64) & 0xFF
    segment, step = (code >> 4) & 0x07, code & 0x0F
    magnitude = (((2 * step + 33) << segment) - 33) << 2
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _alaw_decode_table() -> Samples:
    code = np.arange(256, dtype=np.int64) ^ 0x55
    segment, step = (code >> 4) & 0x07, code & 0x0F
    magnitude = np.where(segment == 0, 2 * step + 1, (2 * step + 33) << np.maximum(segment - 1, 0)) << 3
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


_DECODE: Final = {Encoding.G711_ULAW: _ulaw_decode_table(), Encoding.G711_ALAW: _alaw_decode_table()}
_ENCODE: Final = {Encoding.G711_ULAW: _ulaw_encode_table(), Encoding.G711_ALAW: _alaw_encode_table()}

for _table in (*_DECODE.values(), *_ENCODE.values()):
    _table.setflags(write=False)
