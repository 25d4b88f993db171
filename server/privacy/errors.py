"""What the privacy office refuses.

PrivacyError
├── OutOfBounds       a retention that a tenant of that type may not choose
├── Held              a legal hold keeps what was to go; it says which
├── NoConsent         nobody consented to a recording, or it may not be made at all
└── Unknown           there is no such hold, consent or job
"""

from __future__ import annotations

from collections.abc import Sequence


class PrivacyError(Exception):
    """Base of all of them; the message is a sentence."""


class OutOfBounds(PrivacyError):
    """A retention that a tenant of that type may not choose."""


class Held(PrivacyError):
    """A legal hold keeps what was to go. ``hold_ids`` names it, or them."""

    def __init__(self, hold_ids: Sequence[str]) -> None:
        super().__init__("A legal hold keeps this: nothing of it may be deleted until it is lifted.")
        self.hold_ids = tuple(hold_ids)


class NoConsent(PrivacyError):
    """Nobody consented to a recording, or it may not be made at all."""


class Unknown(PrivacyError):
    """There is no such hold, consent or job."""
