"""Requests we receive, until their answer has arrived: RFC 3261 section 17.2, with RFC 6026's state for accepted ones.

Pure, like its counterpart. A 2xx to an INVITE is sent again until its ACK comes, which the RFC leaves to the core: it
is part of this machine here, since it is the same kind of timer.
"""

from __future__ import annotations

from typing import Final, Literal

from server.wire.sip.client_transaction import TimerValues
from server.wire.sip.flow import Flow
from server.wire.sip.message import Request, Response

ServerState = Literal["trying", "proceeding", "accepted", "completed", "confirmed", "terminated"]
ServerNews = Literal["nothing", "unacknowledged"]

Key = tuple[str, ...]
_OLD: Final = "2543"


def server_key(request: Request) -> Key:
    """What retransmissions, ACK and CANCEL are matched by (section 17.2.3). Raises SipSyntaxError."""
    via = request.via
    method = "INVITE" if request.method in ("ACK", "CANCEL") else request.method
    if via.unique:
        return via.branch, via.host.lower(), str(via.port or ""), method
    number, _ = request.cseq
    return _OLD, request.sender.tag or "", request.call_id, str(number), f"{via.host}:{via.port}", method


class ServerTransaction:
    """One request of the other side's."""

    def __init__(self, request: Request, flow: Flow, timers: TimerValues, key: Key, tag: str) -> None:
        self.request = request
        self.flow = flow
        self.key = key
        self.invite = request.method == "INVITE"
        self.tag = tag
        """Ours, in answers to a request that has none yet (section 8.2.6.2): the same in all."""
        self.state: ServerState = "trying"
        self.refused = False
        """Whether its final answer was no."""
        self._timers = timers
        self._last: bytes | None = None
        self._interval_s = timers.t1_s
        self._resend_s: float | None = None
        self._end_s: float | None = None

    @property
    def dialog(self) -> tuple[str, int, str, str]:
        """What the ACK of a 2xx is matched by: Call-ID, CSeq number, their tag, ours (section 13.3.1.4)."""
        request = self.request
        return request.call_id, request.cseq[0], request.sender.tag or "", request.recipient.tag or self.tag

    @property
    def due(self) -> float | None:
        times = [at for at in (self._resend_s, self._end_s) if at is not None]
        return min(times) if times else None

    @property
    def answerable(self) -> bool:
        """Whether no final response was given yet."""
        return self.state in ("trying", "proceeding")

    def repeated(self) -> bytes | None:
        """The request came again: what to send again."""
        return None if self.state in ("confirmed", "terminated") else self._last

    def respond(self, response: Response, now_s: float) -> bytes | None:
        """Answer; None where a final answer was given before."""
        if not self.answerable:
            return None
        self._last = response.to_bytes()
        if not response.final:
            self.state = "proceeding"
            return self._last
        if not self.invite:
            self.state = "completed"
            self.refused = not response.success
            self._end_s = now_s if self.flow.reliable else now_s + self._timers.give_up_s
            return self._last
        accepted = response.success
        self.refused = not accepted
        self.state = "accepted" if accepted else "completed"
        self._end_s = now_s + self._timers.give_up_s
        if accepted or not self.flow.reliable:
            self._resend_s = now_s + self._timers.t1_s
        return self._last

    def acknowledged(self, now_s: float) -> None:
        """An ACK came: nothing is sent again."""
        self._resend_s = None
        if self.state == "completed":
            self.state = "confirmed"
            self._end_s = now_s if self.flow.reliable else now_s + self._timers.t4_s
        elif self.state == "accepted":
            self.state = "confirmed"
            self._end_s = now_s + self._timers.give_up_s

    def tick(self, now_s: float) -> tuple[bytes | None, ServerNews]:
        """What time brings: bytes to send again, or the news that no ACK came."""
        if self._end_s is not None and now_s >= self._end_s:
            missed = self.state == "accepted"
            self.state = "terminated"
            self._resend_s = self._end_s = None
            return None, "unacknowledged" if missed else "nothing"
        if self._resend_s is not None and now_s >= self._resend_s:
            self._interval_s = min(2 * self._interval_s, self._timers.t2_s)
            self._resend_s = now_s + self._interval_s
            return self._last, "nothing"
        return None, "nothing"
