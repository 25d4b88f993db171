"""Packets back into their order, without holding any of them longer than it must.

A packet that is next in order comes out at once. Only behind a gap packets wait, and only as long as packets here have
lately been late (a decaying peak of what was measured, between a floor and a ceiling). Time is passed in. Driven by a
stream's receiver; knows nothing of what packets hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from audio.rtp.packet import RtpPacket, signed_distance

MAX_FORWARD: Final = 1_000
"""A longer step in the numbering is no loss but a sender that began anew."""

_MAX_BACKWARD: Final = 500
_REMEMBERED: Final = 128
_DECAY: Final = 0.999
"""Of the lateness remembered, per packet: it halves in 14 s of 20 ms packets."""

_MARGIN: Final = 1.25

Ordered = tuple[int, RtpPacket]
"""A packet and its place in the stream: its sequence number, no longer wrapping. A step of more than one is a loss."""


@dataclass(frozen=True, slots=True)
class ReorderOptions:
    """How long to wait for what is missing, and how many packets may wait behind it."""

    floor_ms: float = 20.0
    ceiling_ms: float = 120.0
    max_held: int = 64


class ReorderBuffer:
    """The order of one stream (one SSRC).

    Attributes:
        received: packets that came, each once.
        duplicates: packets that came again, dropped.
        late: packets that came after they were given up, dropped.
        lost: packets given up (late ones are still among them).
        reordered: packets that came after one that follows them, in time.
        restarts: times the sender's numbering jumped too far to be a loss.
    """

    def __init__(self, options: ReorderOptions | None = None) -> None:
        self._options = options or ReorderOptions()
        self._next: int | None = None
        self._held: dict[int, tuple[RtpPacket, float]] = {}
        self._seen = 0  # bit k: whether packet _next - 1 - k came
        self._given_up: dict[int, float] = {}
        self._lateness_ms = 0.0
        self._restart_at: int | None = None
        self.received = 0
        self.duplicates = 0
        self.late = 0
        self.lost = 0
        self.reordered = 0
        self.restarts = 0

    @property
    def wait_ms(self) -> float:
        """How long a packet now waits for those missing before it."""
        return min(self._options.ceiling_ms, max(self._options.floor_ms, self._lateness_ms * _MARGIN))

    @property
    def waiting(self) -> bool:
        """Whether packets are held behind a gap."""
        return bool(self._held)

    def push(self, packet: RtpPacket, now_ms: float) -> list[Ordered]:
        """One packet as it arrives: those that may go on, in order."""
        if self._next is None:
            self._next = packet.sequence
        step = signed_distance(packet.sequence, self._next & 0xFFFF, 16)
        if not -_MAX_BACKWARD <= step <= MAX_FORWARD:
            if packet.sequence != self._restart_at:  # believed once the packet after it comes (RFC 3550 A.1)
                self._restart_at = (packet.sequence + 1) & 0xFFFF
                return []
            step = self._restart(step)
        self._restart_at = None
        index = self._next + step
        if step < 0:
            self._came_too_late(index, now_ms)
            return []
        if index in self._held:
            self.duplicates += 1
            return []
        self.received += 1
        if step == 0 and not self._held:
            self._pass(index)
            return [(index, packet)]
        return self._hold(index, packet, now_ms)

    def expire(self, now_ms: float) -> list[Ordered]:
        """The packets that have waited long enough; to be called often, and before anything is done by the clock."""
        ready: list[Ordered] = []
        while self._held and now_ms - self._oldest_ms() >= self.wait_ms:
            ready += self._skip_gap(now_ms)
        return ready

    def _hold(self, index: int, packet: RtpPacket, now_ms: float) -> list[Ordered]:
        ready: list[Ordered] = []
        overtaken_ms = [arrived_ms for held, (_, arrived_ms) in self._held.items() if held > index]
        if overtaken_ms:  # those before it wait for another, and say nothing about this one
            self.reordered += 1
            self._was_late_by(now_ms - min(overtaken_ms))
        self._held[index] = (packet, now_ms)
        if len(self._held) > self._options.max_held:
            ready += self._skip_gap(now_ms)
        return ready + self._run() + self.expire(now_ms)

    def _run(self) -> list[Ordered]:
        """What is held without a gap before it."""
        ready: list[Ordered] = []
        while self._next in self._held:
            index = self._next
            packet, _ = self._held.pop(index)
            self._pass(index)
            ready.append((index, packet))
        return ready

    def _skip_gap(self, now_ms: float) -> list[Ordered]:
        assert self._next is not None
        first, noticed_ms = min(self._held), self._oldest_ms()
        missing = first - self._next
        self.lost += missing
        self._seen = (self._seen << missing) & ((1 << _REMEMBERED) - 1)
        for index in range(max(self._next, first - _REMEMBERED), first):
            self._given_up[index] = min(noticed_ms, now_ms)
        while len(self._given_up) > _REMEMBERED:
            self._given_up.pop(next(iter(self._given_up)))
        self._next = first
        return self._run()

    def _pass(self, index: int) -> None:
        self._next = index + 1
        self._seen = (self._seen << 1 | 1) & ((1 << _REMEMBERED) - 1)
        self._lateness_ms *= _DECAY

    def _came_too_late(self, index: int, now_ms: float) -> None:
        assert self._next is not None
        behind = self._next - 1 - index
        if self._seen >> behind & 1:
            self.duplicates += 1
            return
        self.late += 1
        self._seen |= 1 << behind if behind < _REMEMBERED else 0
        noticed_ms = self._given_up.pop(index, None)
        if noticed_ms is not None:
            self._was_late_by(now_ms - noticed_ms)

    def _was_late_by(self, ms: float) -> None:
        self._lateness_ms = max(self._lateness_ms, min(ms, self._options.ceiling_ms))

    def _oldest_ms(self) -> float:
        return min(arrived_ms for _, arrived_ms in self._held.values())

    def _restart(self, step: int) -> int:
        """Go on from a new place in the numbering: what waited is given up."""
        assert self._next is not None
        self.restarts += 1
        self._held.clear()
        self._given_up.clear()
        self._seen = 0
        self._next += step
        # Indices only grow, so that whoever follows sees a jump forward rather than time running back.
        if step < 0:
            self._next += 1 << 16
        return 0
