"""Where a leg's frames go: a carrier's connection, whatever it is made of."""

from __future__ import annotations

from typing import Protocol

from server.wire.phone.port import Frame


class Outlet(Protocol):
    """One connection's sending side."""

    async def send(self, frame: Frame) -> None:
        """Send one frame; waits while the carrier reads too slowly. Raises ``OutletGone``."""
        ...


class OutletGone(Exception):
    """The connection is gone."""
