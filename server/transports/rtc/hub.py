"""All WebRTC peers of a process: what they share, and the task group that owns them.

The composition root makes one, runs it, and asks it for a peer per connection. Knows no HTTP and no session.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import anyio
from anyio.abc import TaskGroup

from server.transports.rtc.clock import MediaClock
from server.transports.rtc.peer import PeerServices, RtcPeer
from server.transports.rtc.port import PeerClosed, PeerListener, PeerOptions
from server.transports.rtc.secure import Identity


class RtcHub:
    """Peers with the same options. ``run`` must be running before any of them answers."""

    def __init__(self, options: PeerOptions | None = None) -> None:
        self._options = options or PeerOptions()
        self._clock = MediaClock()
        self._tasks: TaskGroup | None = None
        self._services = PeerServices(self._options, Identity(), self._clock, self._spawn)

    async def run(self) -> None:
        """Until cancelled; every peer is then closed and freed, within its limit, before this returns."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            try:
                await self._clock.run()
            finally:
                self._tasks = None
                tasks.cancel_scope.cancel()

    def peer(self, listener: PeerListener) -> RtcPeer:
        """A new peer, which does nothing until it is given an offer."""
        return RtcPeer(self._services, listener)

    def _spawn(self, life: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if self._tasks is None:
            raise PeerClosed("the server is not running, or is stopping")
        self._tasks.start_soon(life)
