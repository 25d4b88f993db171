"""How many connected objects may exist at once, over all pools of a server.

Counts; knows no pool. Every pool has a bound of its own beside it: this one keeps many tenants together from taking
what one would not. Shared by pools on one event loop.
"""

from __future__ import annotations

_SPARES_SHARE = (3, 4)
"""Spares are only made up to this share of the room, so that whoever is speaking finds a place."""


class ConnectionRoom:
    """See the module."""

    def __init__(self, most: int) -> None:
        if most < 1:
            raise ValueError("there must be room for one connection")
        self.most = most
        self._used = 0

    @property
    def used(self) -> int:
        """Objects that exist or are being made."""
        return self._used

    @property
    def is_tight(self) -> bool:
        """Whether no further spares should be kept."""
        share, whole = _SPARES_SHARE
        return self._used * whole >= self.most * share

    def enter(self, *, spare: bool) -> bool:
        """Take a place, for a ``spare`` or for somebody who waits; false where there is none."""
        if self._used >= self.most or (spare and self.is_tight):
            return False
        self._used += 1
        return True

    def leave(self) -> None:
        """Give a place back."""
        self._used -= 1
