"""One sender's packets, as the network brings them, to samples in order, whatever the codec.

Whoever listens counts samples, so this stream's total keeps pace with the sender: what was lost is recovered from the
next packet's in-band FEC or concealed; a long loss and a sender's silence (DTX: timestamps go on, packets do not)
become silence of their exact length, made in real time by ``tick`` while nothing comes and reconciled when packets do.
What comes after silence has stood in for it is cut. Time is passed in, in milliseconds of any monotonic clock. Knows no
socket; a connection drives it. What a payload means is a ``StreamCodec``'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import numpy as np

from audio.errors import AudioFormatError
from audio.formats import Samples
from audio.rtp.packet import RtpPacket
from audio.rtp.reception import Reception, ReceptionReport
from audio.rtp.reorder import MAX_FORWARD, Ordered, ReorderBuffer, ReorderOptions
from audio.rtp.timeline import Timeline

_FRAME_MS: Final = 20
_PAUSE_MS: Final = 200
_AHEAD_MS: Final = 1_000
"""Further ahead of the clock than this, timestamps have jumped: the network cannot bring anything early."""

_NO_SAMPLES: Final = np.zeros(0, np.int16)
_NO_SAMPLES.setflags(write=False)


class StreamCodec(Protocol):
    """What payloads of one stream mean. Timestamps count at ``clock_hz``, samples at ``sample_rate_hz``."""

    clock_hz: int
    sample_rate_hz: int
    step_units: int
    """Lengths concealed are multiples of this, in timestamps."""

    def decode(self, payload: bytes) -> Samples:
        """Raises AudioFormatError."""
        ...

    def conceal(self, samples: int) -> Samples:
        """Something like what went before, in place of what was lost."""
        ...

    def can_recover(self, next_payload: bytes) -> bool:
        """Whether a packet holds its predecessor once more."""
        ...

    def recover(self, next_payload: bytes, samples: int) -> Samples:
        """The predecessor of this packet."""
        ...

    def says_quiet(self, payload: bytes) -> bool:
        """Whether the sender will be silent after this."""
        ...

    def reset(self) -> None:
        """Another stream begins."""
        ...


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What is made of a bad network.

    After ``quiet_slack_ms`` without a packet a sender known to be silent gets silence; any other only after
    ``stall_ms``, because what a stalled network holds back is speech, and comes at once when it moves again. Loss is
    concealed for ``conceal_ms``, beyond that it is silence. A stream never runs further than ``surplus_ms`` ahead of
    the clock.
    """

    reorder: ReorderOptions = field(default_factory=ReorderOptions)
    quiet_slack_ms: float = 60.0
    stall_ms: float = 500.0
    conceal_ms: int = 100
    surplus_ms: int = 2_000


@dataclass(frozen=True, slots=True)
class StreamStats:
    """Packets received, lost, recovered, concealed, late (of no use), sent twice, not valid; silence put in.

    What is lost and neither recovered nor concealed, in a long loss, is silence.
    """

    received: int
    lost: int
    recovered: int
    concealed: int
    late: int
    duplicates: int
    invalid: int
    silence_ms: int
    jitter_ms: float
    wait_ms: float


class VoiceStream:
    """Packets of one sender in, mono int16 at the codec's ``sample_rate_hz`` out, in order and at the sender's pace.

    A change of SSRC, or a jump of timestamps or sequence numbers that is no loss, goes on where samples stand.
    """

    def __init__(self, codec: StreamCodec, now_ms: float, options: StreamOptions | None = None) -> None:
        self._options = options or StreamOptions()
        self._codec = codec
        self._ms = codec.clock_hz // 1_000
        self._frame = _FRAME_MS * self._ms
        self._timeline = Timeline(codec.clock_hz, codec.sample_rate_hz)
        self._reorder = ReorderBuffer(self._options.reorder)
        self._reception = Reception(codec.clock_hz)
        self._started_ms = now_ms
        self._ssrc: int | None = None
        self._last_index = 0
        self._last_units = self._frame
        self._quiet = True
        self._behind: _Behind | None = None
        self._recovered = self._concealed = self._useless = self._invalid = self._silence = 0
        self._before = (0, 0, 0, 0)  # of reorder buffers of earlier SSRCs
        self._timeline.arrived(0, now_ms)

    @property
    def ssrc(self) -> int | None:
        """Whose packets these are."""
        return self._ssrc

    @property
    def made(self) -> int:
        """Samples made in all."""
        return self._timeline.made

    @property
    def stats(self) -> StreamStats:
        """Counts since the stream began."""
        order = tuple(map(sum, zip(self._before, self._order_counts(), strict=True)))
        return StreamStats(
            received=order[0],
            lost=order[1],
            recovered=self._recovered,
            concealed=self._concealed,
            late=order[2] + self._useless,
            duplicates=order[3],
            invalid=self._invalid,
            silence_ms=self._silence // self._ms,
            jitter_ms=self._reception.jitter_ms,
            wait_ms=self._reorder.wait_ms,
        )

    def report(self) -> ReceptionReport | None:
        """What to tell the sender over RTCP."""
        return self._reception.report()

    def receive(self, packet: RtpPacket, now_ms: float, *, audio: bool = True) -> Samples:
        """The samples a packet brings: those that waited for it too, or none while something before it is missing.

        A packet of the stream that holds no ``audio`` (a key pressed, a description of the background) only has its
        place in the numbering: it is no loss.
        """
        if not audio:
            packet = replace(packet, payload=b"")
        if packet.ssrc != self._ssrc:
            self._begin(packet, now_ms)
        self._reception.add(packet, now_ms)
        ready = self._reorder.push(packet, now_ms)
        if len(ready) == 1:
            return _joined(self._place(*ready[0], now_ms))
        return self._place_all(ready, now_ms)

    def tick(self, now_ms: float) -> Samples:
        """What the clock alone brings: packets given up on, silence where nothing comes. Every 10-50 ms."""
        samples = self._place_all(self._reorder.expire(now_ms), now_ms)
        if self._reorder.waiting:
            return samples
        slack_ms = self._options.quiet_slack_ms if self._quiet else self._options.stall_ms
        missing = self._timeline.due(now_ms, slack_ms) - self._timeline.position
        if missing < self._frame:
            return samples
        if not self._quiet:
            self._quiet = True
            missing = self._timeline.due(now_ms, self._options.quiet_slack_ms) - self._timeline.position
        return _joined([samples, *self._fill_silence(missing // self._frame * self._frame)])

    def _place_all(self, ready: list[Ordered], now_ms: float) -> Samples:
        return _joined([part for index, packet in ready for part in self._place(index, packet, now_ms)])

    def _place(self, index: int, packet: RtpPacket, now_ms: float) -> list[Samples]:
        """One packet, next in order, with whatever is missing before it."""
        timeline, missing = self._timeline, index - self._last_index - 1
        self._last_index = index
        if not packet.payload:
            self._quiet = True
            return []
        start = timeline.extend(packet.timestamp)
        if missing >= MAX_FORWARD or start > timeline.due(now_ms, 0) + _AHEAD_MS * self._ms:
            timeline.restart(start)
        timeline.arrived(start, now_ms)
        if self._surplus(now_ms):
            self._useless += 1
            timeline.shift(start + self._last_units)
            return []
        parts: list[Samples] = []
        if start > timeline.position:
            parts += self._bridge(start - timeline.position, missing, packet)
        try:
            decoded = self._codec.decode(packet.payload)
        except AudioFormatError:
            self._invalid += 1
            return parts
        units = self._last_units = self._units(len(decoded))
        self._quiet = self._codec.says_quiet(packet.payload)
        if start + units <= timeline.position:
            self._useless += 1
            if not self._sender_paused(packet, missing, start, now_ms):
                return parts
            timeline.restart(start)
            timeline.arrived(start, now_ms)
        else:
            self._behind = None
        count = timeline.advance(start + units)
        return [*parts, decoded[-count:] if count else _NO_SAMPLES]

    def _bridge(self, gap: int, missing: int, packet: RtpPacket) -> list[Samples]:
        """Samples for ``gap`` units before ``packet``, in which ``missing`` packets were lost."""
        parts: list[Samples] = []
        lost = min(gap, missing * self._last_units)
        fec = 0
        if missing:
            if lost >= self._last_units and self._codec.can_recover(packet.payload):
                fec = self._last_units
            step = self._codec.step_units
            concealed = min(lost - fec, self._options.conceal_ms * self._ms) // step * step
            parts += self._conceal(concealed)
            gap -= concealed
            self._concealed += min(missing - (fec > 0), -(-concealed // self._last_units))
            self._recovered += fec > 0
        parts += self._fill_silence(gap - fec)
        if fec:
            count = self._timeline.advance(self._timeline.position + fec)
            parts.append(self._codec.recover(packet.payload, self._samples(fec))[-count:])
        return parts

    def _conceal(self, units: int) -> list[Samples]:
        parts: list[Samples] = []
        while units > 0:
            step = min(units, self._frame)
            count = self._timeline.advance(self._timeline.position + step)
            parts.append(self._codec.conceal(self._samples(step))[-count:])
            units -= step
        return parts

    def _fill_silence(self, units: int) -> list[Samples]:
        if units <= 0:
            return []
        self._silence += units
        return [np.zeros(self._timeline.advance(self._timeline.position + units), np.int16)]

    def _sender_paused(self, packet: RtpPacket, missing: int, start: int, now_ms: float) -> bool:
        """Whether packets that come after their time come so because the sender's timestamps stood still.

        The network may have held them back instead: then they come in faster than they last.
        """
        if packet.marker and not missing and self._timeline.position - start > _PAUSE_MS * self._ms:
            return True
        if self._behind is None:
            self._behind = _Behind(start, now_ms)
        media_ms = (start - self._behind.start) / self._ms
        return media_ms >= 200 and now_ms - self._behind.since_ms >= 0.8 * media_ms

    def _surplus(self, now_ms: float) -> bool:
        made_ms = self._timeline.made * 1_000 // self._codec.sample_rate_hz
        return made_ms > now_ms - self._started_ms + self._options.surplus_ms

    def _units(self, samples: int) -> int:
        return samples * self._codec.clock_hz // self._codec.sample_rate_hz

    def _samples(self, units: int) -> int:
        return units * self._codec.sample_rate_hz // self._codec.clock_hz

    def _begin(self, packet: RtpPacket, now_ms: float) -> None:
        """A new sender, or the first: its packets are counted anew, samples go on where they stand."""
        self._before = tuple(map(sum, zip(self._before, self._order_counts(), strict=True)))
        self._ssrc = packet.ssrc
        self._codec.reset()
        self._reorder = ReorderBuffer(self._options.reorder)
        self._reception = Reception(self._codec.clock_hz)
        self._last_index = packet.sequence - 1
        self._behind = None
        self._timeline.restart(packet.timestamp)
        self._timeline.arrived(packet.timestamp, now_ms)

    def _order_counts(self) -> tuple[int, ...]:
        order = self._reorder
        return (order.received, order.lost, order.late, order.duplicates)


@dataclass(frozen=True, slots=True)
class _Behind:
    """Where and when packets began to come wholly after their time."""

    start: int
    since_ms: float


def _joined(parts: list[Samples]) -> Samples:
    parts = [part for part in parts if len(part)]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else _NO_SAMPLES
