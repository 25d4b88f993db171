"""The audio of one peer, both ways: decrypted packets to samples, samples to packets, and the reports about both.

Knows no SDP and no connection: what is to be sent is returned. A peer drives it, with the time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from audio.formats import Samples
from audio.rtp.opus_stream import OpusStream
from audio.rtp.packet import RtpFormatError, RtpPacket
from server.transports.rtc.description import answered_direction
from server.transports.rtc.offer import OfferedAudio
from server.transports.rtc.outbound import Outbound, encoder_options
from server.transports.rtc.port import PeerOptions, PeerStats
from server.transports.rtc.rtcp import RtcpDesk

_TICK_MS: Final = 20.0
_REPORT_MS: Final = 5_000.0
_FIRST_REPORT_MS: Final = 500.0


@dataclass(frozen=True, slots=True)
class Due:
    """Packets to send now, plain: RTP, and RTCP or nothing."""

    rtp: list[bytes]
    rtcp: bytes | None


class Media:
    """Both directions of one audio section. ``on_samples`` takes what is heard."""

    def __init__(
        self, audio: OfferedAudio, options: PeerOptions, rtcp: RtcpDesk, on_samples: Callable[[Samples], None]
    ) -> None:
        encoder = encoder_options(options.opus, audio)
        self.outbound = Outbound(rtcp.ssrc, audio.payload_type, encoder, options.max_queued_ms)
        self._payload_type = audio.payload_type
        self._direction = answered_direction(audio.direction)
        self._on_samples = on_samples
        self._rtcp = rtcp
        self._started = False
        self._stream: OpusStream | None = None
        self._ticked_ms = 0.0
        self._report_ms = 0.0

    def redirect(self, audio: OfferedAudio, now_ms: float) -> None:
        """A later offer may change who speaks (hold and resume)."""
        self._direction = answered_direction(audio.direction)
        if self._started:
            self._listen(now_ms)

    def start(self, now_ms: float) -> None:
        """The connection stands: the clock of what is heard begins."""
        self._started = True
        self._listen(now_ms)
        self._report_ms = now_ms + _FIRST_REPORT_MS

    def receive(self, is_rtcp: bool, data: bytes, now_ms: float) -> None:
        """One decrypted packet."""
        if is_rtcp:
            self._rtcp.receive(data, now_ms)
            return
        if self._stream is None:
            return
        try:
            packet = RtpPacket.parse(data)
        except RtpFormatError:
            return
        if packet.payload_type == self._payload_type:
            self._hand_on(self._stream.receive(packet, now_ms))

    def tick(self, now_ms: float) -> Due | None:
        """What the clock brings: silence heard, packets due. To be called every 10 ms or so."""
        if self._stream is not None and now_ms - self._ticked_ms >= _TICK_MS:
            self._ticked_ms = now_ms
            self._hand_on(self._stream.tick(now_ms))
        packets = self.outbound.poll(now_ms) if self.outbound.active and self._speaks else []
        report = None
        if now_ms >= self._report_ms:
            self._report_ms = now_ms + _REPORT_MS
            report = self._compound(now_ms)
        return Due(packets, report) if packets or report else None

    def stats(self) -> PeerStats:
        """Counts so far."""
        heard = None if self._stream is None else self._stream.stats
        sent = self.outbound.counts(0.0)
        return PeerStats(
            received_packets=heard.received if heard else 0,
            lost_packets=heard.lost if heard else 0,
            recovered_packets=heard.recovered if heard else 0,
            concealed_packets=heard.concealed if heard else 0,
            late_packets=heard.late if heard else 0,
            duplicate_packets=heard.duplicates if heard else 0,
            silence_ms=heard.silence_ms if heard else 0,
            inbound_jitter_ms=heard.jitter_ms if heard else 0.0,
            reorder_wait_ms=heard.wait_ms if heard else 0.0,
            sent_packets=sent.packets if sent else 0,
            sent_bytes=sent.payload_bytes if sent else 0,
            round_trip_ms=self._rtcp.round_trip_ms,
            outbound_loss=self._rtcp.outbound_loss,
            outbound_jitter_ms=self._rtcp.outbound_jitter_ms,
        )

    @property
    def _hears(self) -> bool:
        return self._direction in ("sendrecv", "recvonly")

    @property
    def _speaks(self) -> bool:
        return self._direction in ("sendrecv", "sendonly")

    def _listen(self, now_ms: float) -> None:
        """From now on; on hold, what is heard is silence."""
        if self._hears and self._stream is None:
            self._stream = OpusStream(now_ms)

    def _hand_on(self, samples: Samples) -> None:
        if len(samples):
            self._on_samples(samples)

    def _compound(self, now_ms: float) -> bytes:
        stream = self._stream
        ssrc, report = (None, None) if stream is None else (stream.ssrc, stream.report())
        return self._rtcp.compound(now_ms, self.outbound.counts(now_ms), ssrc, report)
