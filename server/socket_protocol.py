"""uvicorn's WebSocket protocol, set up for frames of audio that come fifty times a second.

Ends a connection whose client does not read, reads in bites while the event loop is busy, and lets several messages
wait for the application: uvicorn would stop and start reading around each of them. Knows no route.
"""

from __future__ import annotations

from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode
from websockets.server import ServerProtocol

from server.contracts.errors import ERRORS, ErrorCode
from server.loop_load import LoopLoad
from server.transports.connection import CUT_EXTENSION, WAITING_EXTENSION
from server.wire.realtime.inbound import MAX_MESSAGE_BYTES

CUT_GRACE_S: Final = 1.0
"""What a client that does not read gets to find the close frame, before its connection is dropped."""
MOST_WAITING: Final = 32
"""Messages that wait for the application before reading stops."""
MOST_WAITING_BYTES: Final = 65_536
"""The same in bytes, beside the last read."""
MEDIA_BYTES: Final = 16_384
"""A read of more than this is bulk, or late: what follows is read at once."""


class _WireProtocol(ServerProtocol):
    """The WebSocket protocol, with the contract's close code for a message that is too large to be read at all."""

    def fail(self, code: int, reason: str = "") -> None:
        if code == CloseCode.MESSAGE_TOO_BIG:
            too_large = ERRORS[ErrorCode.REQUEST_TOO_LARGE]
            code, reason = too_large.close_code, too_large.sentence
        super().fail(code, reason)


class SocketProtocol(WebSocketsSansIOProtocol):
    """One connection."""

    load = LoopLoad()
    """How busy its event loop is. Of a server's own class of protocol: see ``socket_protocol``."""
    long_messages: frozenset[str] = frozenset()
    """Paths whose protocols allow messages far longer than ours does."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = _WireProtocol(max_size=self.config.ws_max_size, logger=self.logger)
        self._waiting_bytes = 0

    async def run_asgi(self) -> None:
        extensions: dict[str, Any] = self.scope["extensions"]  # type: ignore[assignment]
        extensions[CUT_EXTENSION] = self.cut
        extensions[WAITING_EXTENSION] = self._has_waiting
        if self.scope["path"] in self.long_messages:
            self.conn.max_message_size = MAX_MESSAGE_BYTES + 1_024
        application = self.app

        async def answered(scope: Any, receive: Any, send: Any) -> None:
            await application(scope, receive, send)
            if self.initial_response is not None and self.close_sent:
                self.handshake_complete = True  # refused with a whole answer: uvicorn would log that as an error

        self.app = answered
        await super().run_asgi()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        rest_s = self.load.rest_s
        if rest_s and len(data) <= MEDIA_BYTES and self.handshake_complete and not self.close_sent:
            self.transport.pause_reading()
            self.loop.call_later(rest_s, self._rested)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.handshake_complete and self.conn.close_rcvd is None and not self.close_sent:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": CloseCode.ABNORMAL_CLOSURE})  # uvicorn: 1005
        super().connection_lost(exc)

    def send_receive_event_to_app(self) -> None:
        paused, size = self.read_paused, sum(map(len, self.frames))
        self.read_paused = True  # uvicorn pauses where it has not
        super().send_receive_event_to_app()
        self.read_paused = paused
        self._waiting_bytes += size
        too_much = self.queue.qsize() >= MOST_WAITING or self._waiting_bytes >= MOST_WAITING_BYTES
        if too_much and not paused and not self.close_sent:
            self.read_paused = True
            self.transport.pause_reading()

    async def receive(self) -> Any:
        message = await super().receive()
        if self.queue.empty():
            self._waiting_bytes = 0
        return message

    def cut(self, code: int, reason: str) -> None:
        """Queue a close frame behind what the client has not read, and drop the connection soon after."""
        if self.transport.is_closing() or self.disconnected:
            self.transport.abort()
            return
        if not self.close_sent:
            self.close_sent = True
            self.conn.send_close(code, reason)
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.disconnected = True
        self.writable.set()
        # Until then go on reading, in vain: closing with something unread would reset the connection under the client
        # before it found the close frame. Its answer to that frame ends the wait.
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(CUT_GRACE_S, self.transport.abort)

    def _has_waiting(self) -> bool:
        return not self.queue.empty()

    def _rested(self) -> None:
        if not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()


def socket_protocol(load: LoopLoad, long_messages: frozenset[str]) -> type[SocketProtocol]:
    """The protocol of one server."""
    return type("ServerSocketProtocol", (SocketProtocol,), {"load": load, "long_messages": long_messages})
