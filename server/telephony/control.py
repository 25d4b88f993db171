"""What a carrier's API can do to a call, and to whom it can place one: the port.

One adapter per carrier that has an API. The call is named by ``CallInfo``; adapters hold the credentials.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from server.telephony.port import CallInfo


class CallControl(Protocol):
    """Acts on a running call. All methods raise CallControlError."""

    says_summary: bool
    """Whether ``transfer`` has the summary said to whoever answers."""
    presses_keys: bool
    """Whether keys can be pressed while the call's audio comes here."""

    async def hang_up(self, info: CallInfo) -> None:
        """End the call; one that is over already is no error."""
        ...

    async def transfer(self, info: CallInfo, target: str, summary: str | None) -> None:
        """Connect the caller with ``target``; ``summary`` is said to whoever answers, where that can be done."""
        ...

    async def send_digits(self, info: CallInfo, digits: str) -> None:
        """Press keys."""
        ...


@dataclass(frozen=True, slots=True)
class OutboundCall:
    """A call to be placed. ``hang_up_on_machine``: an answering machine is not talked to, where that can be told."""

    call_id: str
    to: str
    hang_up_on_machine: bool = False


class DialFailed(Exception):
    """The call was not placed; the message is a sentence. ``certain`` false: perhaps it was, and nobody knows."""

    def __init__(self, message: str, *, certain: bool) -> None:
        super().__init__(message)
        self.certain = certain


class Dialler(CallControl, Protocol):
    """Places calls over one carrier."""

    carrier: str

    async def dial(self, call: OutboundCall) -> str:
        """Place a call; once. Returns the carrier's own name of it. Raises DialFailed."""
        ...


class Line(Protocol):
    """A way to call somebody whose audio comes to us."""

    carrier: str

    async def connect(self, target: str, info: CallInfo) -> None:
        """Call a number or SIP URI; once they answer, their leg is held under ``info``. Raises CallControlError."""
        ...


CallStatus = Literal["dialling", "ringing", "active", "ended", "busy", "no_answer", "failed", "voicemail", "unknown"]
"""``unknown``: it may have been placed or not, and is never placed again."""
