"""What can be wrong with what a SIP peer sends.

    SipError
    ├── SipSyntaxError     these bytes are no SIP message, URI, header or SDP
    ├── BadRequest         a request that can be answered, but only with this status
    └── NoAgreement        an offer nothing can be taken of (488)

Nothing else is raised by ``server.wire.sip`` for what comes from outside.
"""

from __future__ import annotations


class SipError(Exception):
    """Anything a SIP peer sent that cannot be used; the message is a short phrase, without the peer's data."""


class SipSyntaxError(SipError):
    """The text does not follow the grammar, or is longer than we read."""


class BadRequest(SipError):
    """A request that is refused with ``status`` as it stands."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class NoAgreement(SipError):
    """Offer and answer have nothing in common that we speak."""
