"""What every server process of ours needs of uvicorn: a socket it can listen on, and to run inside another event loop.

Knows no application; driven by ``server.serving`` and ``server.azure_emulator.serving``.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Final

import anyio
import uvicorn

from server.errors import EdgeError

START_LIMIT_S: Final = 30.0
BACKLOG: Final = 512


class CannotListen(EdgeError):
    """The address cannot be listened on; the message is a sentence for people."""


class _Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: whoever runs it decides when it stops."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises CannotListen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise CannotListen(
            f"Port {port} on {host} cannot be used ({error.strerror or error}). "
            f"Is a server running already? Another port: --port {port + 1 if port < 65_535 else 8_081}"
        ) from error
    listener.setblocking(False)
    return listener


@asynccontextmanager
async def answering(config: uvicorn.Config, listener: socket.socket) -> AsyncGenerator[tuple[str, int]]:
    """uvicorn on this socket, which is its own from now on, while the body runs: host and port it answers at."""
    server = _Server(config)
    with closing(listener):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listener])
            with anyio.fail_after(START_LIMIT_S):
                while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                    await anyio.sleep(0.005)
            host, port = listener.getsockname()[:2]
            try:
                yield host, port
            finally:
                server.should_exit = True
