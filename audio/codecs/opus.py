"""Opus packets (RFC 6716), through libopus.

One payload is one packet, without a container: the receiver keeps them in order. Both directions carry the codec's
look-ahead as a constant lag of 312 samples at 48 kHz (6.5 ms, the "pre-skip" of RFC 7845): a stream of bare packets
names no pre-skip to remove, and a fifth of a chunk does not matter to anything that listens. Nothing is lost to it:
``flush`` sends as much silence as brings the last sample out at the other end.

Knows no network; lost packets are simply absent (the in-band FEC the encoder adds is for receivers that use it).
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (PyAV's stubs leave the stream parameter of Packet open.)

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.error import FFmpegError

from audio.codecs.port import require_at_most
from audio.errors import AudioFormatError
from audio.formats import Samples

DECODED_RATE_HZ: Final = 48_000
ENCODER_RATES_HZ: Final = (8_000, 16_000, 24_000, 48_000)
"""Rates the encoder takes without resampling."""

MAX_PACKET_BYTES: Final = 7_662
"""The largest packet of six 20 ms frames: 120 ms, the longest audio a packet may hold (RFC 6716, section 3.2)."""

_FRAMES_PER_S: Final = 50
_LOOKAHEAD_AT_48K: Final = 312
_EXPECTED_LOSS_PERCENT: Final = 10


@dataclass(frozen=True, slots=True)
class OpusOptions:
    """What encoding may cost. ``complexity`` is libopus' 0 (fastest) to 10 (best).

    Per 20 ms of speech at 24 kbit/s an encoder takes about 70 us of CPU at complexity 0, 150 us at 5, 190 us at 10;
    decoding takes 25 us.

    Raises:
        ValueError: outside what libopus takes.
    """

    bitrate_bps: int = 24_000
    complexity: int = 5

    def __post_init__(self) -> None:
        if not 6_000 <= self.bitrate_bps <= 510_000:
            raise ValueError(f"Opus takes 6000 to 510000 bit/s, not {self.bitrate_bps}")
        if not 0 <= self.complexity <= 10:
            raise ValueError(f"Opus complexity is 0 to 10, not {self.complexity}")


class OpusDecoder:
    """``audio.codecs.port.Decoder`` for packets of any bandwidth, frame size and channel count; mono at 48 kHz."""

    sample_rate_hz = DECODED_RATE_HZ

    def __init__(self) -> None:
        self._codec = AudioCodecContext.create("libopus", "r")
        self._codec.sample_rate = DECODED_RATE_HZ
        self._codec.layout = "mono"
        self._codec.format = "s16"
        self._codec.open()

    def decode(self, payload: bytes) -> Samples:
        """Raises AudioFormatError for a packet that is empty, too long or not valid."""
        require_at_most(payload, MAX_PACKET_BYTES)
        if not payload:
            # libavcodec would take it for the end of the stream and refuse every packet after it.
            raise AudioFormatError("an Opus packet has at least one byte")
        try:
            frames = self._codec.decode(av.Packet(payload))
        except FFmpegError as error:
            raise AudioFormatError("not a valid Opus packet") from error
        return np.concatenate([np.empty(0, np.int16), *(frame.to_ndarray()[0] for frame in frames)], dtype=np.int16)


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
        self._codec = _open_encoder(sample_rate_hz, options)

    def encode(self, samples: Samples) -> list[bytes]:
        if not len(samples):
            return []
        self._idle = False
        held = np.concatenate([self._waiting, samples])
        whole = len(held) - len(held) % self._frame_samples
        self._waiting = held[whole:]
        return [
            packet
            for start in range(0, whole, self._frame_samples)
            for packet in self._encode_frame(held[start : start + self._frame_samples])
        ]

    def flush(self) -> list[bytes]:
        if self._idle:
            return []
        tail = len(self._waiting) + self._lookahead_samples
        padding = self._lookahead_samples + -tail % self._frame_samples
        packets = self.encode(np.zeros(padding, np.int16))
        self._idle = True
        return packets

    def _encode_frame(self, samples: Samples) -> list[bytes]:
        frame = av.AudioFrame(format="s16", layout="mono", samples=self._frame_samples)
        frame.sample_rate = self.sample_rate_hz
        frame.planes[0].update(samples.tobytes())
        return [bytes(packet) for packet in self._codec.encode(frame)]


def _open_encoder(sample_rate_hz: int, options: OpusOptions) -> AudioCodecContext:
    codec = AudioCodecContext.create("libopus", "w")
    codec.sample_rate = sample_rate_hz
    codec.layout = "mono"
    codec.format = "s16"
    codec.bit_rate = options.bitrate_bps
    codec.options = {
        "application": "voip",
        "frame_duration": "20",
        "fec": "1",
        "packet_loss": str(_EXPECTED_LOSS_PERCENT),
        "compression_level": str(options.complexity),
    }
    codec.open()
    return codec
