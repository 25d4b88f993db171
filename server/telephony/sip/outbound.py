"""Speech out: a packet each 20 ms from the first to the last of a call (RFC 3550, RFC 3551, RFC 4733).

Where there is nothing to say, comfort noise is sent as ordinary audio: a line that is dead silent sounds cut off, and
packets keep address translators open. Time is passed in; returns packets and sends none. A call drives it from the
clock all calls share.
"""

from __future__ import annotations

import secrets
from bisect import bisect_right
from typing import Final, Protocol

import numpy as np

from audio.codecs.g711 import G711Encoder
from audio.codecs.g722 import G722Encoder
from audio.codecs.libopus import EncoderOptions, LibopusEncoder
from audio.formats import Encoding, Samples
from audio.rtp.packet import RtpPacket
from audio.rtp.telephone_event import EventFrame, KeysPressed
from server.transports.rtc.outbound import SentCounts
from server.transports.rtc.speech_queue import SpeechQueue
from server.wire.sip.offer_answer import Agreed, CodecName

FRAME_MS: Final = 20
_MOST_AT_ONCE: Final = 3
"""Packets sent to catch up after a late call. Further behind, time is skipped."""

_TOLERANCE_MS: Final = 1.0
_NOISE_RMS: Final = 12.0  # 69 dB below full scale
_NOISE_FRAMES: Final = 50
LATENESS_MS: Final = (2, 5, 10, 20, 40)
"""Upper bounds of ``Outbound.late_counts``; one more holds what is above."""


class PayloadEncoder(Protocol):
    """20 ms of samples at ``rate_hz`` to a payload."""

    rate_hz: int

    def encode(self, frame: Samples) -> bytes: ...


class _Plain:
    def __init__(self, codec: G711Encoder | G722Encoder) -> None:
        self.rate_hz = codec.sample_rate_hz
        self._codec = codec

    def encode(self, frame: Samples) -> bytes:
        return self._codec.encode(frame)[0]


class _Opus:
    rate_hz = 24_000

    def __init__(self) -> None:
        self._codec = LibopusEncoder(self.rate_hz, EncoderOptions(bitrate_bps=28_000))

    def encode(self, frame: Samples) -> bytes:
        return self._codec.encode(frame)


def encoder_for(codec: CodecName) -> PayloadEncoder:
    """A new encoder."""
    match codec:
        case "pcmu":
            return _Plain(G711Encoder(Encoding.G711_ULAW))
        case "pcma":
            return _Plain(G711Encoder(Encoding.G711_ALAW))
        case "g722":
            return _Plain(G722Encoder())
        case "opus":
            return _Opus()


class Outbound:
    """The sending side of one call's audio, as agreed."""

    def __init__(self, agreed: Agreed, max_queued_ms: int) -> None:
        self._encoder = encoder_for(agreed.codec)
        self._clock_hz = 48_000 if agreed.codec == "opus" else 8_000
        self._payload_type = agreed.payload_type
        self._event_type = agreed.event_type
        self._frame_units = self._clock_hz // 50
        self._noise = _Noise(self._encoder.rate_hz)
        self.queue = SpeechQueue(max_queued_ms)
        self.queue.rate_hz = self._encoder.rate_hz
        self.keys = KeysPressed(agreed.event_clock_hz)
        self.late_counts = [0] * (len(LATENESS_MS) + 1)
        """How late packets were sent."""
        self.ssrc = secrets.randbits(32)
        self._sequence = secrets.randbits(15)  # away from the wrap, which SRTP could mistake if the first ones are lost
        self._timestamp = secrets.randbits(31)
        self._due_ms: float | None = None
        self._speaking = False
        self._packets = 0
        self._payload_bytes = 0
        self.spoken_ms = 0
        """How much speech was sent since ``clear``."""

    @property
    def rate_hz(self) -> int:
        """The rate speech is sent at without resampling."""
        return self._encoder.rate_hz

    @property
    def can_press(self) -> bool:
        """Whether the other side takes keys as events."""
        return self._event_type is not None

    def clear(self) -> None:
        """Drop what was not sent."""
        self.queue.clear()
        self.spoken_ms = 0

    def take_events_as(self, event_type: int | None) -> None:
        """Keys are sent with another payload type from now on."""
        self._event_type = event_type

    def take_over(self, other: Outbound) -> None:
        """Say what another, whose codec is no longer agreed, had still to say."""
        self.spoken_ms = other.spoken_ms
        for samples, rate_hz in other.queue.take():
            self.queue.play(samples, rate_hz)

    def counts(self, now_ms: float) -> SentCounts | None:
        """For a sender report at ``now_ms``; None while nothing was sent."""
        if self._due_ms is None:
            return None
        timestamp = self._timestamp + int((now_ms - self._due_ms) * self._clock_hz / 1_000)
        return SentCounts(self._packets & 0xFFFFFFFF, self._payload_bytes & 0xFFFFFFFF, timestamp & 0xFFFFFFFF)

    def pause(self) -> None:
        """Nothing is sent until ``poll`` is called again, whose time then counts anew."""
        if self._due_ms is not None:
            self._due_ms = None
            self._speaking = False

    def poll(self, now_ms: float) -> list[bytes]:
        """The packets due by now, plain RTP. To be called every 5-20 ms."""
        if self._due_ms is None:
            self._due_ms = now_ms
        packets: list[bytes] = []
        while self._due_ms <= now_ms + _TOLERANCE_MS:
            if len(packets) >= _MOST_AT_ONCE:
                self._skip_to(now_ms)
                break
            self.late_counts[bisect_right(LATENESS_MS, now_ms - self._due_ms)] += 1
            packets += self._next_packets()
            self._due_ms += FRAME_MS
        return packets

    def _skip_to(self, now_ms: float) -> None:
        assert self._due_ms is not None
        frames = max(1, int((now_ms - self._due_ms) // FRAME_MS))
        self._timestamp += frames * self._frame_units
        self._due_ms += frames * FRAME_MS

    def _next_packets(self) -> list[bytes]:
        event = None if self._event_type is None else self.keys.frame()
        packets = self._audio_packet() if event is None else self._event_packets(event)
        self._timestamp += self._frame_units
        return packets

    def _audio_packet(self) -> list[bytes]:
        frame = self.queue.frame()
        begins = frame is not None and not self._speaking
        self._speaking = frame is not None
        self.spoken_ms += FRAME_MS if frame is not None else 0
        payload = self._encoder.encode(self._noise.next() if frame is None else frame)
        return [self._packet(payload, self._payload_type, self._timestamp, begins)]

    def _event_packets(self, event: EventFrame) -> list[bytes]:
        assert self._event_type is not None
        pressed = self._timestamp - event.frames_ago * self._frame_units
        return [
            self._packet(payload, self._event_type, pressed, event.marker and not at)
            for at, payload in enumerate(event.payloads)
        ]

    def _packet(self, payload: bytes, payload_type: int, timestamp: int, marker: bool) -> bytes:
        packet = RtpPacket(self._sequence, timestamp & 0xFFFFFFFF, payload, self.ssrc, payload_type, marker)
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._packets += 1
        self._payload_bytes += len(payload)
        return packet.to_bytes()


class _Noise:
    """A second of faint noise, over and over."""

    def __init__(self, rate_hz: int) -> None:
        generator = np.random.default_rng(0)
        noise = generator.normal(0.0, _NOISE_RMS, rate_hz * _NOISE_FRAMES // 50)
        self._frames: list[Samples] = np.split(noise.astype(np.int16), _NOISE_FRAMES)
        self._at = 0

    def next(self) -> Samples:
        self._at = (self._at + 1) % _NOISE_FRAMES
        return self._frames[self._at]
