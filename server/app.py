"""The composition root: settings in, an ASGI application with everything behind it out.

The only module that knows every part. ``server.serving`` runs what is made here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Route, WebSocketRoute

from server.edge import Edge
from server.engines import EngineSet, OnReport, StageReport
from server.host import EngineSource, Host
from server.observability.metrics import Metrics
from server.routes.agents import agent_routes
from server.routes.chat import chat_routes
from server.routes.failures import EXCEPTION_HANDLERS
from server.routes.health import health_routes
from server.routes.page import page_routes
from server.settings import Settings
from server.transports.conversation_socket import ConversationSocket


class Application:
    """One server: ``asgi`` is what a web server runs, ``open`` surrounds it."""

    def __init__(
        self, settings: Settings, *, engines: EngineSource | None = None, on_report: OnReport | None = None
    ) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.host = Host(settings, engines or EngineSet(settings, on_report), self.metrics)
        self.asgi = self._assemble()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Ledger, sessions and engines, while the body runs."""
        async with self.host.running():
            yield

    async def wait_ready(self) -> None:
        """Return once the engines are loaded or given up."""
        await self.host.wait_ready()

    async def drain(self) -> None:
        """Take nothing new and let what runs come to its end."""
        await self.host.registry.drain()

    def reports(self) -> tuple[StageReport, ...]:
        """What answers, stage by stage."""
        return self.host.engines.reports

    def _assemble(self) -> Starlette:
        host = self.host
        routes: list[BaseRoute] = [
            *health_routes(host),
            *agent_routes(host),
            *chat_routes(host),
            WebSocketRoute("/v1/voice/ws", ConversationSocket(host, voice=True)),
            WebSocketRoute("/v1/ws", ConversationSocket(host, voice=False)),
        ]
        known = frozenset(route.path for route in routes if isinstance(route, Route))
        routes.extend(page_routes(known))
        middleware = [
            Middleware(Edge, settings=self.settings, metrics=self.metrics, routes=known),
            *_cors(self.settings),
        ]
        return Starlette(routes=routes, middleware=middleware, exception_handlers=EXCEPTION_HANDLERS)


def _cors(settings: Settings) -> list[Middleware]:
    if not settings.allowed_origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=list(settings.allowed_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-request-id"],
            expose_headers=["x-request-id", "retry-after"],
        )
    ]
