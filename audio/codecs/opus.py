"""Opus packets (RFC 6716), through libopus.

One payload is one packet, without a container: the receiver keeps them in order. Both directions carry the codec's
look-ahead as a constant lag of 312 samples at 48 kHz (6.5 ms, the "pre-skip" of RFC 7845): a stream of bare packets
names no pre-skip to remove, and a fifth of a chunk does not matter to anything that listens. Nothing is lost to it:
``flush`` sends as much silence as brings the last sample out at the other end.

Knows no network; lost packets are simply absent (``audio.rtp`` is for streams that lose some).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from audio.codecs.libopus import EncoderOptions, LibopusDecoder, LibopusEncoder
from audio.codecs.port import require_at_most
from audio.formats import Samples

DECODED_RATE_HZ: Final = 48_000
ENCODER_RATES_HZ: Final = (8_000, 16_000, 24_000, 48_000)
"""Rates the encoder takes without resampling."""

MAX_PACKET_BYTES: Final = 7_662
"""The largest packet of six 20 ms frames: 120 ms, the longest audio a packet may hold (RFC 6716, section 3.2)."""

_FRAMES_PER_S: Final = 50
_LOOKAHEAD_AT_48K: Final = 312


@dataclass(frozen=True, slots=True)
class OpusOptions:
    """What encoding may cost. ``complexity`` is libopus' 0 (fastest) to 10 (best).

    Per 20 ms of speech at 24 kbit/s an encoder takes about 55 us of CPU at complexity 0, 180 us at 5, 230 us at 10;
    decoding takes 30 us, straight to 16 kHz 18 us.

    Raises:
        ValueError: outside what libopus takes.
    """

    bitrate_bps: int = 24_000
    complexity: int = 5

    def __post_init__(self) -> None:
        EncoderOptions(self.bitrate_bps, self.complexity)


class OpusDecoder:
    """``audio.codecs.port.Decoder`` for packets of any bandwidth, frame size and channel count, to mono.

    Raises:
        ValueError: libopus does not decode to ``sample_rate_hz``.
    """

    def __init__(self, sample_rate_hz: int = DECODED_RATE_HZ) -> None:
        self.sample_rate_hz = sample_rate_hz
        self._codec = LibopusDecoder(sample_rate_hz)

    def decode(self, payload: bytes) -> Samples:
        """Raises AudioFormatError for a packet that is empty, too long or not valid."""
        require_at_most(payload, MAX_PACKET_BYTES)
        return self._codec.decode(payload)


class OpusEncoder:
    """``audio.codecs.port.Encoder``: packets of 20 ms, tuned for speech, with in-band FEC.

    Raises:
        ValueError: ``sample_rate_hz`` is not one of ``ENCODER_RATES_HZ``.
    """

    def __init__(self, sample_rate_hz: int, options: OpusOptions) -> None:
        if sample_rate_hz not in ENCODER_RATES_HZ:
            raise ValueError(f"Opus encodes {ENCODER_RATES_HZ} Hz, not {sample_rate_hz}")
        self.sample_rate_hz = sample_rate_hz
        self._frame_samples = sample_rate_hz // _FRAMES_PER_S
        self._lookahead_samples = _LOOKAHEAD_AT_48K * sample_rate_hz // DECODED_RATE_HZ
        self._waiting = np.empty(0, np.int16)
        self._idle = True
        self._codec = LibopusEncoder(sample_rate_hz, EncoderOptions(options.bitrate_bps, options.complexity))

    def encode(self, samples: Samples) -> list[bytes]:
        if not len(samples):
            return []
        self._idle = False
        held = np.concatenate([self._waiting, samples])
        whole = len(held) - len(held) % self._frame_samples
        self._waiting = held[whole:]
        return [
            self._codec.encode(held[start : start + self._frame_samples])
            for start in range(0, whole, self._frame_samples)
        ]

    def flush(self) -> list[bytes]:
        if self._idle:
            return []
        tail = len(self._waiting) + self._lookahead_samples
        padding = self._lookahead_samples + -tail % self._frame_samples
        packets = self.encode(np.zeros(padding, np.int16))
        self._idle = True
        return packets
