"""One WebSocket connection over raw ASGI: frames in, frames out, and an end that always comes.

Thin on purpose: a hundred conversations are five thousand frames a second, and every layer is paid for each of them.
Knows no protocol. A send that does not go through is visible in ``sending_since_s``; whoever watches may ``cut``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from starlette.types import Receive, Scope, Send

from server.guard import PROTOCOL

CUT_EXTENSION: Final = "convergio.cut"
"""ASGI extension of our server: ``cut(code, reason)`` ends the connection although its client does not read."""
WAITING_EXTENSION: Final = "convergio.waiting"
"""ASGI extension of our server: ``waiting()`` says whether the next message has come already."""

Frame = str | bytes


class Disconnected(Exception):
    """The connection is gone. ``code`` is the WebSocket close code, 1006 where there was none."""

    def __init__(self, code: int) -> None:
        super().__init__(f"disconnected ({code})")
        self.code = code


class Link(Protocol):
    """What a session sends to: a socket, or a data channel."""

    @property
    def open(self) -> bool:
        """Whether frames may still be sent."""
        ...

    @property
    def sending_since_s(self) -> float | None:
        """When the send now under way began (monotonic), or None."""
        ...

    async def send(self, frame: Frame) -> None:
        """Send one message; waits while the client reads too slowly. Raises Disconnected."""
        ...

    async def close(self, code: int, reason: str = "") -> None:
        """End the connection, as the protocol has it; harmless when already closed."""
        ...

    def cut(self, code: int, reason: str = "") -> None:
        """End the connection without waiting for the client."""
        ...


class Duplex(Link, Protocol):
    """What a conversation is held over."""

    async def receive(self) -> Frame:
        """The next message. Raises Disconnected."""
        ...


class Connection:
    """One client's socket. One reader; sends are whole messages and may come from more than one task."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._open = False
        extensions: dict[str, Any] = scope.get("extensions") or {}
        self._has_waiting = cast("Callable[[], bool]", extensions.get(WAITING_EXTENSION) or bool)
        self.sending_since_s: float | None = None
        """When the send now under way began (monotonic), or None."""
        self.heard_at_s = time.monotonic()
        """When the last frame came in (monotonic)."""

    @property
    def open(self) -> bool:
        """Whether frames may still be sent."""
        return self._open

    @property
    def waiting(self) -> bool:
        """Whether the next message has come already: ``receive`` returns it at once."""
        return self._has_waiting()

    async def accept(self, protocol: str = PROTOCOL) -> None:
        """Finish the handshake, with ``protocol`` where the client offers it. Raises Disconnected."""
        message = await self._receive()
        if message["type"] != "websocket.connect":
            raise Disconnected(1006)
        offered = cast("list[str]", self._scope.get("subprotocols", []))
        subprotocol = protocol if protocol in offered else None
        try:
            await self._send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": []})
        except OSError as error:
            raise Disconnected(1006) from error
        self._open = True

    async def receive(self) -> Frame:
        """The next message. Raises Disconnected."""
        message = await self._receive()
        if message["type"] != "websocket.receive":
            self._open = False
            raise Disconnected(int(message.get("code") or 1006))
        self.heard_at_s = time.monotonic()
        text: str | None = message.get("text")
        return text if text is not None else message["bytes"]

    async def send(self, frame: Frame) -> None:
        """Send one message; waits while the client reads too slowly. Raises Disconnected."""
        if not self._open:
            raise Disconnected(1006)
        self.sending_since_s = time.monotonic()
        try:
            if isinstance(frame, str):
                await self._send({"type": "websocket.send", "text": frame})
            else:
                await self._send({"type": "websocket.send", "bytes": frame})
        except (OSError, RuntimeError) as error:  # gone, or closed by another task while this one waited
            self._open = False
            raise Disconnected(1006) from error
        finally:
            self.sending_since_s = None

    async def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake; harmless when already closed."""
        if not self._open:
            return
        self._open = False
        self.sending_since_s = time.monotonic()
        try:
            await self._send({"type": "websocket.close", "code": code, "reason": _fitting(reason)})
        except (OSError, RuntimeError):
            return
        finally:
            self.sending_since_s = None

    def cut(self, code: int, reason: str = "") -> None:
        """End the connection without waiting for the client; the reader and a waiting sender end with Disconnected."""
        self._open = False
        extensions: dict[str, Any] = self._scope.get("extensions") or {}
        cut = cast("Callable[[int, str], None] | None", extensions.get(CUT_EXTENSION))
        if cut is not None:
            cut(code, _fitting(reason))


def _fitting(reason: str) -> str:
    """A close reason may have 123 bytes (RFC 6455 section 5.5)."""
    return reason.encode()[:123].decode(errors="ignore")
