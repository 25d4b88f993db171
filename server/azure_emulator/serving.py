"""The process side of the emulator: a listening socket, and uvicorn with a way to reset a connection.

Driven by the command line and by tests.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import anyio
import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from server.azure_emulator.service import ABORT_EXTENSION, Emulator

START_LIMIT_S: Final = 10.0
STOP_LIMIT_S: Final = 2
MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024


class EmulatorCannotListen(Exception):
    """The address cannot be listened on; the message is a sentence for people."""


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


class _Server(uvicorn.Server):
    """uvicorn without signal handlers of its own."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises EmulatorCannotListen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise EmulatorCannotListen(
            f"Port {port} on {host} cannot be used ({error.strerror or error}). Another one: --port {port + 1}"
        ) from error
    listener.setblocking(False)
    return listener


@asynccontextmanager
async def serving(emulator: Emulator, listener: socket.socket) -> AsyncGenerator[RunningEmulator]:
    """The emulator, answering while the body runs."""
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
    server = _Server(config)
    with closing(listener):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listener])
            with anyio.fail_after(START_LIMIT_S):
                while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                    await anyio.sleep(0.005)
            host, port = listener.getsockname()[:2]
            try:
                yield RunningEmulator(host, port)
            finally:
                server.should_exit = True
