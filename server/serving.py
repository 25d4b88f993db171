"""The process side of the server: uvicorn set up for audio, signals, and the drain on the way out.

The composition root builds the application; this runs it, in the foreground (``serve``) or beside other work in the
same event loop (``running``). Knows no route.
"""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any, Final

import anyio
import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode
from websockets.server import ServerProtocol

from server.app import LONG_MESSAGES, Application
from server.contracts.errors import ERRORS, ErrorCode
from server.listening import answering
from server.transports.connection import CUT_EXTENSION
from server.wire.realtime.inbound import MAX_MESSAGE_BYTES

logger = logging.getLogger(__name__)

CUT_GRACE_S: Final = 1.0
"""What a client that does not read gets to find the close frame, before its connection is dropped."""
PING_INTERVAL_S: Final = 20.0
PING_TIMEOUT_S: Final = 20.0
STOP_LIMIT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answers."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """What to open in a browser on this machine."""
        name = {"127.0.0.1": "localhost", "0.0.0.0": "localhost", "::": "localhost", "::1": "localhost"}  # noqa: S104
        host = name.get(self.host, f"[{self.host}]" if ":" in self.host else self.host)
        return f"http://{host}:{self.port}"


class _WireProtocol(ServerProtocol):
    """The WebSocket protocol, with the contract's close code for a message that is too large to be read at all."""

    def fail(self, code: int, reason: str = "") -> None:
        if code == CloseCode.MESSAGE_TOO_BIG:
            too_large = ERRORS[ErrorCode.REQUEST_TOO_LARGE]
            code, reason = too_large.close_code, too_large.sentence
        super().fail(code, reason)


class _SocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol, with a way to end a connection whose client does not read."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = _WireProtocol(max_size=self.config.ws_max_size, logger=self.logger)

    async def run_asgi(self) -> None:
        extensions: dict[str, Any] = self.scope["extensions"]  # type: ignore[assignment]
        extensions[CUT_EXTENSION] = self.cut
        if self.scope["path"] in LONG_MESSAGES:
            self.conn.max_message_size = MAX_MESSAGE_BYTES + 1_024
        application = self.app

        async def answered(scope: Any, receive: Any, send: Any) -> None:
            await application(scope, receive, send)
            if self.initial_response is not None and self.close_sent:
                self.handshake_complete = True  # refused with a whole answer: uvicorn would log that as an error

        self.app = answered
        await super().run_asgi()

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


@asynccontextmanager
async def running(application: Application, listener: socket.socket) -> AsyncGenerator[RunningServer]:
    """The server, answering while the body runs (engines may still be loading); stopped afterwards."""
    limits = application.settings.limits
    config = uvicorn.Config(
        application.asgi,
        ws=_SocketProtocol,
        ws_max_size=limits.max_message_bytes + 1_024,
        ws_per_message_deflate=False,
        ws_ping_interval=PING_INTERVAL_S,
        ws_ping_timeout=PING_TIMEOUT_S,
        http="h11",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips=list(application.settings.identity.trusted_proxies),
        timeout_graceful_shutdown=round(STOP_LIMIT_S),
    )
    with closing(listener):
        async with application.open(), answering(config, listener) as (host, port):
            yield RunningServer(host, port)


async def serve_until_signalled(application: Application, running_server: RunningServer) -> None:
    """Wait for SIGINT or SIGTERM, then drain; a second signal cuts the drain short."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for received in signals:
            logger.info("stopping", extra={"signal": received.name, "port": running_server.port})
            break
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_hurry, signals, tasks.cancel_scope)
            await application.drain()
            tasks.cancel_scope.cancel()


async def _hurry(signals: Any, scope: anyio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()
