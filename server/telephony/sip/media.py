"""The audio of one call, both ways: its two sockets, packets to samples and back, keys pressed, reports.

Packets go where the first valid one came from (symmetric RTP), and nothing from anywhere else is heard until the call
agrees on another place. Knows no SIP; a call tells it what was agreed, and the clock all calls share drives it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from audio.formats import Encoding, Samples
from audio.rtp.drift import DriftCorrector
from audio.rtp.opus_stream import OpusPayloads
from audio.rtp.packet import RtpFormatError, RtpPacket
from audio.rtp.telephone_event import KeysHeard
from audio.rtp.telephone_payloads import G711Payloads, G722Payloads
from audio.rtp.voice_stream import StreamCodec, VoiceStream
from server.telephony.sip.outbound import Outbound
from server.telephony.sip.ports import RtpPair, RtpPorts
from server.telephony.sip.srtp import MediaKeys
from server.transports.rtc.rtcp import RtcpDesk
from server.wire.sip.offer_answer import Agreed, CodecName

logger = logging.getLogger(__name__)

MAX_QUEUED_MS: Final = 10_000
_TICK_MS: Final = 20.0
_REPORT_MS: Final = 5_000.0
_RTCP_TYPES: Final = range(192, 224)  # RFC 5761 section 4
_CNAME: Final = "convergio-voice"

Place = tuple[str, int]


class MediaEar(Protocol):
    """Who is told of what comes in. All methods return at once."""

    def heard(self, samples: Samples, rate_hz: int) -> None: ...

    def key(self, key: str) -> None: ...

    def spoke(self, ms: int) -> None:
        """So much of what was to be played was sent, since the last ``clear``."""
        ...

    def silent(self) -> None:
        """All there was to say and to press has been sent."""
        ...


def payloads_for(codec: CodecName) -> StreamCodec:
    """What the other side's payloads mean."""
    match codec:
        case "pcmu":
            return G711Payloads(Encoding.G711_ULAW)
        case "pcma":
            return G711Payloads(Encoding.G711_ALAW)
        case "g722":
            return G722Payloads()
        case "opus":
            return OpusPayloads()


class CallMedia:
    """Both directions of one call. ``open`` makes it; whoever did calls ``close``."""

    def __init__(self, ports: RtpPorts, pair: RtpPair, ear: MediaEar) -> None:
        self._ports = ports
        self._pair = pair
        self._ear = ear
        self._rtp: asyncio.DatagramTransport | None = None
        self._rtcp: asyncio.DatagramTransport | None = None
        self._agreed: Agreed | None = None
        self._keys: MediaKeys | None = None
        self._stream: VoiceStream | None = None
        self._drift: DriftCorrector | None = None
        self._rate_hz = 0
        self._events = KeysHeard()
        self._source: Place | None = None
        self._closed = False
        self._ticked_ms = self._report_ms = 0.0
        self._told_ms = 0
        self._busy = False
        self.outbound: Outbound | None = None
        self.last_heard_ms = 0.0
        self._reports: RtcpDesk | None = None

    @classmethod
    async def open(cls, ports: RtpPorts, ear: MediaEar) -> CallMedia:
        """Take two ports and listen. Raises NoPorts."""
        pair = ports.take()
        media = cls(ports, pair, ear)
        loop = asyncio.get_running_loop()
        try:
            media._rtp, _ = await loop.create_datagram_endpoint(lambda: _Reader(media.received), sock=pair.rtp)
            media._rtcp, _ = await loop.create_datagram_endpoint(lambda: _Reader(media.received_rtcp), sock=pair.rtcp)
        except BaseException:
            media.close()
            raise
        return media

    @property
    def port(self) -> int:
        return self._pair.port

    @property
    def closed(self) -> bool:
        """Whether its ports are given back."""
        return self._closed

    def close(self) -> None:
        """Give the ports back; nothing is heard or sent any more."""
        if self._closed:
            return
        self._closed = True
        for transport in (self._rtp, self._rtcp):
            if transport is not None:
                transport.abort()
        self._ports.give_back(self._pair)

    def agree(self, agreed: Agreed, now_ms: float) -> None:
        """What audio is from now on; what did not change goes on as it was."""
        before, self._agreed = self._agreed, agreed
        if before is None or (before.host, before.port) != (agreed.host, agreed.port):
            self._source = None
        if self._keys is None or self._keys.name != (agreed.suite, agreed.our_key, agreed.their_key):
            self._keys = MediaKeys(agreed)
        if before is None or (before.codec, before.payload_type) != (agreed.codec, agreed.payload_type):
            self._begin(agreed, now_ms)
        elif before.event_type != agreed.event_type and self.outbound is not None:
            self.outbound.take_events_as(agreed.event_type)
        self.last_heard_ms = now_ms
        if not agreed.speaks and self.outbound is not None:
            self.outbound.pause()

    def received(self, data: bytes, source: Place) -> None:
        """A datagram on the port of RTP."""
        agreed, keys = self._agreed, self._keys
        if agreed is None or keys is None or len(data) < 2:
            return
        if self._source is not None and source != self._source:
            return  # a stranger
        if data[1] in _RTCP_TYPES:
            self._report_came(data)
            return
        plain = keys.open_rtp(data)
        try:
            packet = None if plain is None else RtpPacket.parse(plain)
        except RtpFormatError:
            return
        if packet is None or packet.payload_type not in (agreed.payload_type, agreed.event_type, agreed.noise_type):
            return
        self._source = source
        self._take(packet, agreed, _now_ms())

    def received_rtcp(self, data: bytes, source: Place) -> None:
        """A datagram on the port of RTCP."""
        if self._source is not None and source[0] == self._source[0]:
            self._report_came(data)

    async def tick(self, at_ms: float) -> None:
        """``clock.Ticked``: whoever listens may fail, the clock all calls share must not."""
        try:
            self.due(at_ms)
        except Exception:
            logger.exception("call media failed")
            self.close()

    def due(self, now_ms: float) -> None:
        """What the clock brings: silence heard, packets due. To be called every 10 ms or so."""
        agreed, outbound = self._agreed, self.outbound
        if agreed is None or outbound is None or self._closed:
            return
        if self._stream is not None and now_ms - self._ticked_ms >= _TICK_MS:
            self._ticked_ms = now_ms
            self._hand_on(self._stream.tick(now_ms))
        if agreed.speaks:
            for packet in outbound.poll(now_ms):
                self._send(packet)
            self._tell_progress(outbound)
        if now_ms >= self._report_ms:
            self._report_ms = now_ms + _REPORT_MS
            self._send_report(now_ms)

    def _begin(self, agreed: Agreed, now_ms: float) -> None:
        """Another codec: streams begin anew; what waits to be said is said in it."""
        codec = payloads_for(agreed.codec)
        self._rate_hz = codec.sample_rate_hz
        self._stream = VoiceStream(codec, now_ms)
        self._drift = DriftCorrector(codec.clock_hz, codec.sample_rate_hz)
        waiting = self.outbound
        self.outbound = Outbound(agreed, MAX_QUEUED_MS)
        if waiting is not None:
            self.outbound.take_over(waiting)
        self._reports = RtcpDesk(self.outbound.ssrc, _CNAME)
        self._report_ms = now_ms + _REPORT_MS

    def _take(self, packet: RtpPacket, agreed: Agreed, now_ms: float) -> None:
        assert self._stream is not None
        assert self._drift is not None
        self.last_heard_ms = now_ms
        audio = packet.payload_type == agreed.payload_type
        if audio:
            self._drift.arrived(packet.ssrc, packet.timestamp, now_ms)
        elif packet.payload_type == agreed.event_type:
            key = self._events.receive(packet)
            if key is not None:
                self._ear.key(key)
        self._hand_on(self._stream.receive(packet, now_ms, audio=audio))

    def _hand_on(self, samples: Samples) -> None:
        if len(samples) and self._drift is not None:
            self._ear.heard(self._drift.correct(samples), self._rate_hz)

    def _tell_progress(self, outbound: Outbound) -> None:
        spoken = outbound.spoken_ms
        if spoken < self._told_ms:
            self._told_ms = 0
        if spoken - self._told_ms >= 100 or (spoken > self._told_ms and outbound.queue.empty):
            self._told_ms = spoken
            self._ear.spoke(spoken)
        busy = not (outbound.queue.empty and outbound.keys.idle)
        if self._busy and not busy:
            self._ear.silent()
        self._busy = busy

    def _send(self, packet: bytes) -> None:
        assert self._agreed is not None
        assert self._keys is not None
        place = self._source or (self._agreed.host, self._agreed.port)
        if self._rtp is not None and place[0] not in ("", "0.0.0.0", "::"):  # noqa: S104 - an old way to say hold
            sealed = self._keys.seal_rtp(packet)
            if sealed is not None:
                with suppress(OSError, ValueError):  # an address of another family, says uvloop
                    self._rtp.sendto(sealed, place)

    def _send_report(self, now_ms: float) -> None:
        agreed, stream, reports = self._agreed, self._stream, self._reports
        if agreed is None or agreed.rtcp_port is None or stream is None or reports is None or self.outbound is None:
            return
        if self._source is None or self._keys is None or self._rtp is None or self._rtcp is None:
            return
        compound = reports.compound(now_ms, self.outbound.counts(now_ms), stream.ssrc, stream.report())
        muxed = agreed.rtcp_port == agreed.port
        place = self._source if muxed else (self._source[0], agreed.rtcp_port)
        sealed = self._keys.seal_rtcp(compound)
        if sealed is not None:
            with suppress(OSError, ValueError):
                (self._rtp if muxed else self._rtcp).sendto(sealed, place)

    def _report_came(self, data: bytes) -> None:
        plain = None if self._keys is None else self._keys.open_rtcp(data)
        if plain is not None and self._reports is not None:
            self._reports.receive(plain, _now_ms())


class _Reader(asyncio.DatagramProtocol):
    def __init__(self, receive: Callable[[bytes, Place], None]) -> None:
        self._receive = receive

    def datagram_received(self, data: bytes, addr: tuple[str, int] | tuple[str, int, int, int]) -> None:
        self._receive(data, (addr[0], addr[1]))

    def error_received(self, exc: Exception) -> None:
        """An ICMP error: whether anything still comes is watched elsewhere."""


def _now_ms() -> float:
    return asyncio.get_running_loop().time() * 1_000
