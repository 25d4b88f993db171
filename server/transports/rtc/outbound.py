"""Speech out: 20 ms of Opus each 20 ms, as RTP, while there is something to say (RFC 3550, RFC 7587).

After the last of it come a few frames of silence, so that the other side's decoder ends cleanly, then nothing: the next
talkspurt begins with the marker bit, its timestamp moved on by the time that passed. Time is passed in; returns packets
and sends none. A peer drives it from the shared clock.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from audio.codecs.libopus import EncoderOptions, LibopusEncoder
from audio.formats import Samples
from audio.rtp.packet import RtpPacket
from server.transports.rtc.offer import OfferedAudio
from server.transports.rtc.speech_queue import SpeechQueue

_FRAME_MS: Final = 20.0
_FRAME_UNITS: Final = 960
_UNITS_PER_MS: Final = 48
_MOST_AT_ONCE: Final = 3
"""Packets sent to catch up after a late call. Further behind, time is skipped."""

_TRAILING_FRAMES: Final = 15
_SILENT_BYTES: Final = 2
_TOLERANCE_MS: Final = 1.0


@dataclass(frozen=True, slots=True)
class SentCounts:
    """What a sender report says (RFC 3550 section 6.4.1)."""

    packets: int
    payload_bytes: int
    timestamp: int


def encoder_options(options: EncoderOptions, audio: OfferedAudio) -> EncoderOptions:
    """Ours, within what the other side asks for."""
    bitrate = min(options.bitrate_bps, audio.max_bitrate_bps or options.bitrate_bps)
    return replace(options, bitrate_bps=bitrate, in_band_fec=options.in_band_fec and audio.fec)


class Outbound:
    """The sending side of one peer's audio."""

    def __init__(self, ssrc: int, payload_type: int, options: EncoderOptions, max_queued_ms: int) -> None:
        self.queue = SpeechQueue(max_queued_ms)
        self._ssrc = ssrc
        self._payload_type = payload_type
        self._options = options
        self._encoder: LibopusEncoder | None = None
        self._silence: Samples = np.zeros(0, np.int16)
        self._sequence = secrets.randbits(15)  # away from the wrap, which SRTP could mistake if the first ones are lost
        self._timestamp = secrets.randbits(32)
        self._due_ms: float | None = None
        self._next_ms: float | None = None
        self._trailing = 0
        self._marker = False
        self._packets = 0
        self._payload_bytes = 0

    @property
    def active(self) -> bool:
        """Whether there is something to send now or soon."""
        return self._due_ms is not None or not self.queue.empty

    def counts(self, now_ms: float) -> SentCounts | None:
        """For a sender report at ``now_ms``; None while nothing was sent."""
        if self._next_ms is None:
            return None
        timestamp = self._timestamp + int((now_ms - self._next_ms) * _UNITS_PER_MS)
        return SentCounts(self._packets & 0xFFFFFFFF, self._payload_bytes & 0xFFFFFFFF, timestamp & 0xFFFFFFFF)

    def poll(self, now_ms: float) -> list[bytes]:
        """The packets due by now, plain RTP. To be called every 5-20 ms."""
        if self._due_ms is None:
            if self.queue.empty:
                return []
            self._begin(now_ms)
        packets: list[bytes] = []
        while self._due_ms is not None and self._due_ms <= now_ms + _TOLERANCE_MS:
            if len(packets) == _MOST_AT_ONCE:
                self._skip_to(now_ms)
                break
            packet = self._next_packet()
            if packet is not None:
                packets.append(packet)
        return packets

    def _begin(self, now_ms: float) -> None:
        """A talkspurt begins now."""
        if self._encoder is None:
            rate_hz = self.queue.rate_hz
            self._encoder = LibopusEncoder(rate_hz, self._options)
            self._silence = np.zeros(rate_hz // 50, np.int16)
        self._skip_to(now_ms)
        self._marker = True

    def _skip_to(self, now_ms: float) -> None:
        if self._next_ms is not None:
            self._timestamp += max(0, int((now_ms - self._next_ms) * _UNITS_PER_MS))
        self._due_ms = self._next_ms = now_ms

    def _next_packet(self) -> bytes | None:
        assert self._encoder is not None
        assert self._due_ms is not None
        frame = self.queue.frame()
        if frame is not None:
            if self._trailing:
                self._trailing = 0
                self._encoder.set_dtx(self._options.dtx)
        else:
            if not self._trailing:
                self._encoder.set_dtx(True)
            self._trailing += 1
            if self._trailing > _TRAILING_FRAMES:
                self._due_ms = None
                return None
        payload = self._encoder.encode(self._silence if frame is None else frame)
        packet = RtpPacket(
            sequence=self._sequence,
            timestamp=self._timestamp & 0xFFFFFFFF,
            payload=payload,
            ssrc=self._ssrc,
            payload_type=self._payload_type,
            marker=self._marker,
        )
        self._marker = False
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._timestamp += _FRAME_UNITS
        self._next_ms = self._due_ms + _FRAME_MS
        # The first packet of the encoder's own silence tells the other side to expect no more.
        ended = frame is None and len(payload) <= _SILENT_BYTES
        self._due_ms = None if ended else self._next_ms
        self._packets += 1
        self._payload_bytes += len(payload)
        return packet.to_bytes()
