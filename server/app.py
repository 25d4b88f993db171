"""The composition root: settings in, an ASGI application with everything behind it out.

The only module that knows every part. ``server.serving`` runs what is made here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Route, WebSocketRoute

from server.admission import Admission
from server.edge import Edge
from server.engine_source import EngineSource
from server.engines import EngineSet, OnReport, StageReport
from server.guard import LOCAL_USER, Identity
from server.host import Host
from server.identity import Presented
from server.observability.metrics import Metrics
from server.routes.agents import agent_routes
from server.routes.budgets import budget_routes
from server.routes.chat import chat_routes
from server.routes.failures import EXCEPTION_HANDLERS
from server.routes.health import health_routes
from server.routes.identity import identity_routes
from server.routes.latency import latency_routes
from server.routes.latency_budgets import latency_budget_routes
from server.routes.page import page_routes
from server.routes.phone_acs import phone_acs_routes
from server.routes.phone_calls import phone_call_routes
from server.routes.phone_twilio import phone_twilio_routes
from server.routes.privacy import privacy_routes
from server.routes.provider_keys import provider_key_routes
from server.routes.realtime import call_routes, secret_routes
from server.routes.sessions import session_routes
from server.routes.usage import usage_routes
from server.routes.webrtc import webrtc_off_routes, webrtc_routes
from server.settings import Settings
from server.speech_accounts import SettingsAccounts
from server.telephony.desk import PhoneDesk
from server.telephony.sip.service import SipService
from server.transports.calls import Calls
from server.transports.conversation_socket import ConversationSocket
from server.transports.ice_offer import IceOffer
from server.transports.phone.audiosocket_listener import AudioSocketListener
from server.transports.phone.socket import PhoneSocket
from server.transports.realtime_socket import RealtimeSocket
from server.transports.rtc.hub import RtcHub
from server.transports.rtc_options import peer_options
from server.transports.voice_live_opening import voice_live_opening
from server.vault.rules import OwnKeyRules
from server.vault.speech import VaultAccounts

REALTIME_PATHS: Final = ("/v1/realtime", "/openai/realtime", "/openai/v1/realtime")
VOICE_LIVE_PATHS: Final = ("/voice-live/realtime",)
LONG_MESSAGES: Final = frozenset({*REALTIME_PATHS, *VOICE_LIVE_PATHS})
"""Sockets whose protocols allow messages far longer than ours does."""


class Application:
    """One server: ``asgi`` is what a web server runs, ``open`` surrounds it."""

    def __init__(
        self,
        settings: Settings,
        *,
        engines: EngineSource | None = None,
        on_report: OnReport | None = None,
        local_caller: bool = False,
    ) -> None:
        """``local_caller``: nobody but a command in this process calls, in the name of the person at the machine."""
        self.settings = settings
        self._local_caller = local_caller
        self.metrics = Metrics()
        self._accounts = VaultAccounts(SettingsAccounts(settings), settings.azure, OwnKeyRules(settings))
        self.host = Host(settings, engines or EngineSet(settings, on_report, self._accounts), self.metrics)
        share = "Of a core, what the event loop takes."
        self.metrics.watch("convergio_event_loop_share", share, lambda: self.host.load.share)
        self.phones = PhoneDesk(self.host)
        self.audiosocket = AudioSocketListener(self.phones)
        self._calls = Calls(RtcHub(peer_options(settings)), settings, self.metrics)
        self.sip = SipService(self.phones) if settings.sip.enabled else None
        self.asgi = self._assemble()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Ledger, sessions and engines, while the body runs."""
        async with self.host.running(), self.phones.running(), anyio.create_task_group() as tasks:
            self._accounts.bind(self.host.offices.vault.keys)
            tasks.start_soon(self.host.load.run)
            tasks.start_soon(self._calls.run)
            if self.sip is not None:
                tasks.start_soon(self.sip.run)
            async with self.audiosocket.listening():
                yield
            tasks.cancel_scope.cancel()

    async def wait_ready(self) -> None:
        """Return once the engines are loaded or given up."""
        await self.host.wait_ready()

    async def drain(self) -> None:
        """Take nothing new and let what runs come to its end."""
        if self.sip is not None:
            self.sip.drain()
        await self.host.registry.drain()

    def reports(self) -> tuple[StageReport, ...]:
        """What answers, stage by stage."""
        return self.host.engines.reports

    async def _authenticate(self, presented: Presented) -> Identity:
        return LOCAL_USER if self._local_caller else await self.host.authenticate(presented)

    def _assemble(self) -> Starlette:
        host = self.host
        routes: list[BaseRoute] = [
            *health_routes(host),
            *agent_routes(host),
            *chat_routes(host),
            *budget_routes(host),
            *latency_routes(host),
            *latency_budget_routes(host),
            *identity_routes(host),
            *provider_key_routes(host),
            *session_routes(host),
            *privacy_routes(host),
            *usage_routes(host),
            *phone_call_routes(host, self.phones),
            *phone_twilio_routes(host, self.phones),
            *phone_acs_routes(host, self.phones),
            WebSocketRoute("/v1/phone/{carrier}", PhoneSocket(self.phones)),
            WebSocketRoute("/v1/voice/ws", ConversationSocket(host, voice=True)),
            WebSocketRoute("/v1/ws", ConversationSocket(host, voice=False)),
            *(WebSocketRoute(path, RealtimeSocket(host)) for path in REALTIME_PATHS),
            *(WebSocketRoute(path, RealtimeSocket(host, voice_live_opening())) for path in VOICE_LIVE_PATHS),
        ]
        routes += secret_routes(host)
        if self.settings.webrtc.enabled:
            routes += webrtc_routes(host, self._calls, IceOffer(self.settings.webrtc))
            routes += call_routes(host, self._calls)
        else:
            routes += webrtc_off_routes()
        known = frozenset(route.path for route in routes if isinstance(route, Route))
        routes.extend(page_routes(known))
        admission = Admission(self.settings, host.secrets, self._authenticate)
        middleware = [
            Middleware(Edge, admission=admission, metrics=self.metrics, routes=known),
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
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["*"],  # SDKs send headers of their own; which pages may send any is allowed_origins
            expose_headers=["x-request-id", "retry-after", "location", "link", "etag", "usage-export", "repr-digest"],
        )
    ]
