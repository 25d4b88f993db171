"""Requests we send, until they are answered: RFC 3261 section 17.1, with RFC 6026's state for answered INVITEs.

Pure machines: time is passed in (seconds, monotonic), timers are deadlines in ``due``, and what is to be done comes
back as values. Driven by ``server.wire.sip.transactions``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from server.wire.sip.flow import Flow
from server.wire.sip.message import Headers, Request, Response

ClientState = Literal["calling", "proceeding", "accepted", "completed", "terminated"]


@dataclass(frozen=True, slots=True)
class TimerValues:
    """RFC 3261 table 4, in seconds."""

    t1_s: float = 0.5
    t2_s: float = 4.0
    t4_s: float = 5.0

    @property
    def give_up_s(self) -> float:
        """Timers B, F, H, J, L and M."""
        return 64 * self.t1_s


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step asks for: bytes to send, a response to hand on, or the news that none will come."""

    send: bytes | None = None
    response: Response | None = None
    timed_out: bool = False


_NOTHING: Final = Outcome()


class ClientTransaction:
    """One request of ours. ``due`` is when ``tick`` has something to do."""

    def __init__(self, request: Request, flow: Flow, timers: TimerValues, now_s: float) -> None:
        self.request = request
        self.flow = flow
        self.invite = request.method == "INVITE"
        self.state: ClientState = "calling"
        self._timers = timers
        self._bytes = request.to_bytes()
        self.abandoned = False
        """Whoever asked no longer wants it: it is cancelled once that is allowed."""
        self.taken: str | None = None
        """The tag of the one who accepted and was taken: another who accepts, too, is let go."""
        self._cancelled = False
        self._ack: bytes | None = None
        self._interval_s = timers.t1_s
        self._resend_s: float | None = None if flow.reliable else now_s + timers.t1_s
        self._end_s: float | None = now_s + timers.give_up_s

    @property
    def key(self) -> tuple[str, str]:
        """What responses are matched by (section 17.1.3)."""
        return self.request.via.branch, self.request.method

    @property
    def due(self) -> float | None:
        times = [at for at in (self._resend_s, self._end_s) if at is not None]
        return min(times) if times else None

    def start(self) -> Outcome:
        return Outcome(send=self._bytes)

    def receive(self, response: Response, now_s: float) -> Outcome:
        """A response that matches."""
        if self.state == "terminated":
            return _NOTHING
        if self.state == "completed":
            return Outcome(send=self._ack)
        if self.state == "accepted":
            return Outcome(response=response) if response.success else _NOTHING
        if not response.final:
            self.state = "proceeding"
            if self.invite:
                self._resend_s = None
                self._end_s = self._end_s if self._cancelled else None
            else:
                self._interval_s = self._timers.t2_s
            return Outcome(response=response)
        return self._finish(response, now_s)

    def tick(self, now_s: float) -> Outcome:
        """What time brings."""
        if self._end_s is not None and now_s >= self._end_s:
            unanswered = self.state in ("calling", "proceeding")
            self.state = "terminated"
            self._resend_s = self._end_s = None
            return Outcome(timed_out=unanswered)
        if self._resend_s is not None and now_s >= self._resend_s:
            longest = self._timers.give_up_s if self.invite else self._timers.t2_s
            self._interval_s = min(2 * self._interval_s, longest)
            self._resend_s = now_s + self._interval_s
            return Outcome(send=self._bytes)
        return _NOTHING

    def take_back(self, now_s: float) -> Request | None:
        """The CANCEL of an abandoned INVITE, once: when something came back (section 9.1).

        A final response must follow within 32 s.
        """
        if not self.abandoned or self._cancelled or self.state != "proceeding":
            return None
        self._cancelled = True
        self._end_s = now_s + self._timers.give_up_s
        return cancel_of(self.request)

    def _finish(self, response: Response, now_s: float) -> Outcome:
        self._resend_s = None
        if not self.invite:
            self.state = "completed"
            self._end_s = now_s if self.flow.reliable else now_s + self._timers.t4_s
            return Outcome(response=response)
        if response.success:
            self.state = "accepted"
            self._end_s = now_s + self._timers.give_up_s
            return Outcome(response=response)
        self.state = "completed"
        self._end_s = now_s if self.flow.reliable else now_s + self._timers.give_up_s
        self._ack = _refusal_ack(self.request, response).to_bytes()
        return Outcome(send=self._ack, response=response)


def _refusal_ack(invite: Request, response: Response) -> Request:
    """The ACK that belongs to the transaction of a refused INVITE (section 17.1.1.3)."""
    number, _ = invite.cseq
    kept = [pair for pair in invite.headers.pairs if pair[0] in ("from", "call-id", "route", "max-forwards")]
    headers = (
        ("via", str(invite.via)),
        *kept,
        ("to", response.headers.get("to") or invite.headers.get("to") or ""),
        ("cseq", f"{number} ACK"),
    )
    return Request(Headers(headers), method="ACK", uri=invite.uri)


def cancel_of(invite: Request) -> Request:
    """The CANCEL of an INVITE (section 9.1)."""
    number, _ = invite.cseq
    kept = [pair for pair in invite.headers.pairs if pair[0] in ("from", "to", "call-id", "route", "max-forwards")]
    headers = (("via", str(invite.via)), *kept, ("cseq", f"{number} CANCEL"))
    return Request(Headers(headers), method="CANCEL", uri=invite.uri)
