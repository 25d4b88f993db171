"""The ports media comes in on: a pair per call, RTP on the even one, RTCP on the next (RFC 3550 section 11).

Owns the range and which of it are taken; sockets belong to whoever took them.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass

from server.telephony.port import CallControlError


class NoPorts(CallControlError):
    """Every port of the range is taken."""


@dataclass(slots=True)
class RtpPair:
    """Two bound sockets, not yet read."""

    port: int
    rtp: socket.socket
    rtcp: socket.socket

    def close(self) -> None:
        self.rtp.close()
        self.rtcp.close()


class RtpPorts:
    """Pairs of one range on one address of this machine, handed out in turn: a port that was just free is used last."""

    def __init__(self, bind: str, first: int, last: int) -> None:
        self._bind = bind
        self._family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        self._even = range(first + first % 2, last, 2)
        self._next = 0
        self._taken: set[int] = set()

    @property
    def taken(self) -> int:
        """How many pairs are in use."""
        return len(self._taken)

    def take(self) -> RtpPair:
        """A pair that is free here and on this machine. Raises NoPorts."""
        for _ in range(len(self._even)):
            port = self._even[self._next % len(self._even)]
            self._next += 1
            if port in self._taken:
                continue
            pair = self._open(port)
            if pair is not None:
                self._taken.add(port)
                return pair
        raise NoPorts("No port is free for another call.")

    def give_back(self, pair: RtpPair) -> None:
        """Close a pair's sockets and let others have it."""
        pair.close()
        self._taken.discard(pair.port)

    def _open(self, port: int) -> RtpPair | None:
        opened: list[socket.socket] = []
        try:
            for number in (port, port + 1):
                opened.append(socket.socket(self._family, socket.SOCK_DGRAM))
                opened[-1].setblocking(False)
                opened[-1].bind((self._bind, number))
        except OSError:  # taken by others, or no file may be opened
            for each in opened:
                each.close()
            return None
        return RtpPair(port, *opened)
