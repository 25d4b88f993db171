"""The process side of the server: uvicorn set up for audio, signals, and the drain on the way out.

The composition root builds the application; this runs it, in the foreground (``serve``) or beside other work in the
same event loop (``running``). Knows no route.
"""

from __future__ import annotations

import gc
import logging
import signal
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any, Final

import anyio
import uvicorn

from server.app import LONG_MESSAGES, Application
from server.listening import answering
from server.socket_protocol import socket_protocol

logger = logging.getLogger(__name__)

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


@asynccontextmanager
async def running(application: Application, listener: socket.socket) -> AsyncGenerator[RunningServer]:
    """The server, answering while the body runs (engines may still be loading); stopped afterwards."""
    limits = application.settings.limits
    config = uvicorn.Config(
        application.asgi,
        ws=socket_protocol(application.host.load, LONG_MESSAGES),
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


def settle() -> None:
    """What was loaded stays: the collector looks at what conversations make, which takes it a tenth of the time."""
    gc.collect()
    gc.freeze()


async def serve_until_signalled(application: Application, running_server: RunningServer) -> None:
    """Wait for SIGINT or SIGTERM, then drain; a second signal cuts the drain short. Once all is loaded."""
    settle()
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
