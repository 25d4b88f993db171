"""A server of one's own for a command that found none: in this process, on a free loopback port.

Imports the whole server, so commands import this only when they need it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from server.app import Application
from server.listening import listen
from server.observability.logs import configure_logging
from server.serving import running
from server.settings import load_settings


@asynccontextmanager
async def local_server(progress: Callable[[str | None], None]) -> AsyncGenerator[str]:
    """The URL of a server whose engines are ready; it ends with the body. Raises SettingsError, CannotListen."""
    settings = load_settings(host="127.0.0.1", port=0, log={"level": "error"})
    configure_logging(settings.log)
    application = Application(settings, on_report=lambda report: progress(f"{report.stage}: {report.words}"))
    async with running(application, listen(settings.host, settings.port)) as server:
        await application.wait_ready()
        yield server.url
        await application.drain()
