"""A network between a page and a server's WebRTC that a test can cut: all their datagrams pass through here.

Knows neither ICE nor media. The page is led here by a rewritten answer; its own candidates are kept from the server, so
there is no other way. What is cut is dropped without a word, as networks do it.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from playwright.async_api import Page, Route

_CANDIDATE = re.compile(r"a=candidate:(\S+) 1 udp (\d+) ([\d.]+) (\d+) typ host[^\r\n]*\r\n", re.IGNORECASE)
_CANDIDATES = re.compile(r"a=(?:candidate:[^\r\n]*|end-of-candidates)\r\n")


class _Side(asyncio.DatagramProtocol):
    """One of a relay's two sockets: hands on what it receives, and from whom."""

    def __init__(self, on_datagram: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._on_datagram = on_datagram

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._on_datagram(data, addr)


class Relay:
    """One path, from a port of its own to one of the server's."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.cut = False
        self.port = 0
        self._server = server
        self._page: tuple[str, int] | None = None
        self._sides: list[asyncio.DatagramTransport] = []

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        for receive in (self._from_page, self._from_server):
            side, _ = await loop.create_datagram_endpoint(lambda receive=receive: _Side(receive), (self._server[0], 0))
            self._sides.append(side)
        self.port = int(self._sides[0].get_extra_info("sockname")[1])

    def close(self) -> None:
        for side in self._sides:
            side.close()

    def _from_page(self, data: bytes, addr: tuple[str, int]) -> None:
        self._page = addr
        if not self.cut:
            self._sides[1].sendto(data, self._server)

    def _from_server(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._page is not None and not self.cut:
            self._sides[0].sendto(data, self._page)


class Network:
    """Every path of a page. ``cut`` the paths there are; ``closed``: paths to come do not work either."""

    def __init__(self) -> None:
        self.closed = False
        self.relays: list[Relay] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Network:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for relay in self.relays:
            relay.close()

    async def lead(self, page: Page) -> None:
        """From now on the page reaches WebRTC this way alone."""
        await page.route("**/v1/voice/webrtc", self._signal)
        await page.route("**/v1/voice/webrtc/*", self._signal)

    def cut(self, *, for_good: bool) -> None:
        """Drops what is sent over the paths there are, and over others too where it is ``for_good``."""
        self.closed = for_good
        for relay in self.relays:
            relay.cut = True

    async def _signal(self, route: Route) -> None:
        request = route.request
        if request.headers.get("content-type") == "application/trickle-ice-sdpfrag":
            await route.fulfill(status=204)
            return
        if request.headers.get("content-type") != "application/sdp":
            await route.continue_()
            return
        answer = await route.fetch(post_data=_CANDIDATES.sub("", request.post_data or ""))
        await route.fulfill(response=answer, body=await self._led(await answer.text()))

    async def _led(self, answer: str) -> str:
        found = _CANDIDATE.search(answer)
        if found is None:
            return answer
        host = found[3]
        relay = Relay((host, int(found[4])))
        await relay.open()
        relay.cut = self.closed
        self.relays.append(relay)
        line = f"a=candidate:{found[1]} 1 udp {found[2]} {host} {relay.port} typ host\r\n"
        at = found.start()
        return _CANDIDATES.sub("", answer[:at]) + line + _CANDIDATES.sub("", answer[at:])
