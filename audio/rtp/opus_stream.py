"""One sender's Opus packets to samples for hearing (RFC 7587): the codec side of ``audio.rtp.voice_stream``."""

from __future__ import annotations

from typing import Final

from audio.codecs.libopus import LibopusDecoder, packet_has_fec
from audio.formats import HEARING_RATE_HZ, Samples
from audio.rtp.voice_stream import StreamOptions, StreamStats, VoiceStream

__all__ = ["CLOCK_HZ", "OpusPayloads", "OpusStream", "OpusStreamOptions", "StreamStats"]

CLOCK_HZ: Final = 48_000
"""Timestamps of Opus count at 48 kHz, whatever is encoded (RFC 7587 section 4.1)."""

_DTX_BYTES: Final = 2
"""A packet this short holds no audio: its sender goes silent."""

OpusStreamOptions = StreamOptions


class OpusPayloads:
    """``StreamCodec`` for Opus, to mono int16 at ``HEARING_RATE_HZ``."""

    clock_hz = CLOCK_HZ
    sample_rate_hz = HEARING_RATE_HZ
    step_units = CLOCK_HZ // 400  # 2.5 ms: libopus conceals multiples of it

    def __init__(self) -> None:
        self._decoder = LibopusDecoder(HEARING_RATE_HZ)

    def decode(self, payload: bytes) -> Samples:
        return self._decoder.decode(payload)

    def conceal(self, samples: int) -> Samples:
        return self._decoder.conceal(samples)

    def can_recover(self, next_payload: bytes) -> bool:
        return packet_has_fec(next_payload)

    def recover(self, next_payload: bytes, samples: int) -> Samples:
        return self._decoder.decode_fec(next_payload, samples)

    def says_quiet(self, payload: bytes) -> bool:
        return len(payload) <= _DTX_BYTES

    def reset(self) -> None:
        self._decoder.reset()


class OpusStream(VoiceStream):
    """Packets of one sender in, mono int16 at ``HEARING_RATE_HZ`` out."""

    def __init__(self, now_ms: float, options: OpusStreamOptions | None = None) -> None:
        super().__init__(OpusPayloads(), now_ms, options)
