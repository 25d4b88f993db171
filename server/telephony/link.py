"""A telephone call as a session's connection: no messages go over it, and closing it hangs up.

Knows why a session ends by its close code, where nobody said it better. Driven by ``server.sessions.live``.
"""

from __future__ import annotations

from collections.abc import Callable

from server.contracts.errors import ERRORS, ErrorCode
from server.sessions.live import GOING_AWAY, NORMAL_CLOSURE
from server.telephony.port import HangUpReason, PhoneLeg
from server.transports.connection import Frame


class PhoneLink:
    """``server.transports.connection.Link`` over a leg."""

    sending_since_s: float | None = None
    """A leg takes audio at once; how it gets rid of it is its own affair."""

    def __init__(self, leg: PhoneLeg, why: Callable[[], HangUpReason | None]) -> None:
        """``why`` the call ends, where that is known."""
        self._leg = leg
        self._why = why
        self._open = True

    @property
    def open(self) -> bool:
        """Whether the call has not been hung up."""
        return self._open

    async def send(self, frame: Frame) -> None:
        """Nothing: a telephone takes no messages."""

    async def close(self, code: int, reason: str = "") -> None:
        """Hang up, after what was played."""
        if self._open:
            self._open = False
            await self._leg.hang_up(self._why() or _meant(code))

    def cut(self, code: int, reason: str = "") -> None:
        """Never asked for: only connections that are slow or taken over are cut."""


def _meant(code: int) -> HangUpReason:
    if code == NORMAL_CLOSURE:
        return "agent"
    if code in {GOING_AWAY, ERRORS[ErrorCode.SERVER_DRAINING].close_code}:
        return "draining"
    return "limit" if code == ERRORS[ErrorCode.SESSION_EXPIRED].close_code else "failed"
