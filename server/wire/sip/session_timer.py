"""Session timers: a call whose other end vanished is noticed (RFC 4028).

Pure: who refreshes, and until when; time is passed in. A call keeps one and sends the refreshes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from server.wire.sip.errors import BadRequest, SipSyntaxError
from server.wire.sip.message import Pair, Request, Response
from server.wire.sip.text import parameter, parse_parameters, whole_number

Refresher = Literal["us", "them"]
MIN_SE_S: Final = 90
TOO_SHORT: Final = 422
_LONGEST_S: Final = 86_400 * 7


@dataclass(frozen=True, slots=True)
class SessionTimer:
    """An agreed interval, and who keeps it alive."""

    interval_s: int
    refresher: Refresher
    told: bool = True
    """Whether the other side knows session timers: one that does not is not told of ours."""

    def refresh_at(self, since_s: float) -> float:
        """When we refresh, if that is ours to do (section 10)."""
        return since_s + self.interval_s / 2

    def expires_at(self, since_s: float) -> float:
        """When the call is over if nobody did (section 10)."""
        return since_s + self.interval_s - min(32.0, self.interval_s / 3)

    def headers(self, *, request: bool) -> list[Pair]:
        """What a message of ours says of it; the refresher is named by role: ``uac`` sent the request."""
        if not self.told:
            return []
        ours = "uac" if request else "uas"
        theirs = "uas" if request else "uac"
        refresher = ours if self.refresher == "us" else theirs
        required: list[Pair] = [("require", "timer")] if not request and self.refresher == "them" else []
        return [("session-expires", f"{self.interval_s};refresher={refresher}"), *required]


def timer_for(request: Request, wanted_s: int) -> SessionTimer | None:
    """What we answer to a request of theirs. Raises BadRequest 422 where their interval is too short."""
    knows = "timer" in request.headers.tokens("supported") | request.headers.tokens("require")
    value = request.headers.get("session-expires")
    if value is None:
        return SessionTimer(wanted_s, "them" if knows else "us", knows) if wanted_s else None
    interval_s, refresher = _read(value)
    if interval_s < MIN_SE_S:
        raise BadRequest(TOO_SHORT, "Session Interval Too Small")
    if wanted_s:
        interval_s = max(min(interval_s, wanted_s), _min_se(request), MIN_SE_S)
    if not knows:
        return SessionTimer(interval_s, "us", told=True)
    return SessionTimer(interval_s, "us" if refresher == "uas" else "them")


def timer_from(response: Response) -> SessionTimer | None:
    """What they answered to a request of ours; None where they keep no timer."""
    value = response.headers.get("session-expires")
    if value is None:
        return None
    try:
        interval_s, refresher = _read(value)
    except BadRequest:
        return None
    return SessionTimer(max(interval_s, MIN_SE_S), "them" if refresher == "uas" else "us")


def least_of(response: Response) -> int | None:
    """The shortest interval they take, of a 422 (section 7.3); None where they do not say."""
    try:
        return _min_se(response) or None
    except BadRequest:
        return None


def _min_se(message: Request | Response) -> int:
    try:
        return whole_number((message.headers.get("min-se") or "0").partition(";")[0], _LONGEST_S)
    except SipSyntaxError as error:
        raise BadRequest(400, "Bad Min-SE") from error


def _read(value: str) -> tuple[int, str]:
    seconds, _, parameters = value.partition(";")
    try:
        return whole_number(seconds, _LONGEST_S), parameter(parse_parameters(parameters), "refresher") or ""
    except SipSyntaxError as error:
        raise BadRequest(400, "Bad Session-Expires") from error
