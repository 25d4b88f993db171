"""The process side of the emulator: uvicorn with a way to reset a connection.

Driven by the command line and by tests.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from server.azure_emulator.service import ABORT_EXTENSION, Emulator
from server.listening import answering

STOP_LIMIT_S: Final = 2
MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RunningEmulator:
    """One that answers."""

    host: str
    port: int

    @property
    def http_url(self) -> str:
        """For control, tokens and voices."""
        return f"http://{self.host}:{self.port}"

    @property
    def ws_url(self) -> str:
        """For ``SpeechConfig(host=..)`` and ``SpeechConfig(endpoint=..)``."""
        return f"ws://{self.host}:{self.port}"


class _Protocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol; the application can reset the connection under it."""

    async def run_asgi(self) -> None:
        extensions: dict[str, Any] = self.scope["extensions"]  # type: ignore[assignment]
        extensions[ABORT_EXTENSION] = self.transport.abort
        application = self.app

        async def answered(scope: Any, receive: Any, send: Any) -> None:
            await application(scope, receive, send)
            if self.close_sent or self.transport.is_closing():
                self.handshake_complete = True  # refused, or gone: uvicorn would log that as an error

        self.app = answered
        await super().run_asgi()


@asynccontextmanager
async def serving(emulator: Emulator, listener: socket.socket) -> AsyncGenerator[RunningEmulator]:
    """The emulator, answering on a socket of ``server.listening`` while the body runs."""
    config = uvicorn.Config(
        emulator.app,
        ws=_Protocol,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        http="h11",
        lifespan="off",
        access_log=False,
        log_level="error",
        server_header=False,
        timeout_graceful_shutdown=STOP_LIMIT_S,
    )
    async with answering(config, listener) as (host, port):
        yield RunningEmulator(host, port)
