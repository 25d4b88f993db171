"""What a telephone call came to, once it is over."""

from __future__ import annotations

from dataclasses import dataclass

from server.telephony.port import HangUpReason


@dataclass(frozen=True, slots=True)
class CallRecord:
    """What a call came to: how long its conversation lasted, and how much of the caller's audio was heard.

    ``session_id`` ``None``: no conversation came of it.
    """

    call_id: str
    session_id: str | None
    reason: HangUpReason
    call_ms: int
    heard_ms: int
