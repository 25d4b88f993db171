"""What every request and socket of this server shares: engines, usage recorder, sessions.

``running`` builds and closes it all in order; routes and transports are handed the host. It makes sessions, and says
whether the server is starting, ready or draining. Knows no transport and no HTTP.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Final, Literal

import anyio
import anyio.to_thread

from agents.core.budget import BudgetError, LatencyBudget
from agents.core.draft_allowance import DraftAllowances
from agents.core.options import Identity as SessionIdentity
from agents.core.options import SessionOptions
from agents.core.session import Session
from agents.loop.agent import Agent
from metering.ledger import Ledger
from metering.recorder import UsageRecorder
from metering.usage import Mode
from server.budget_view import budget_name
from server.contracts.errors import ErrorCode
from server.contracts.latency_budget import LatencyBudgetSettings
from server.contracts.session import VoiceSettings
from server.edge import new_id
from server.engine_rules import Asked
from server.engine_source import EngineSource, Lease
from server.errors import EdgeError, Refused
from server.guard import Identity
from server.latency_choice import LatencyChoice, SessionLatency
from server.ledgers import open_ledger
from server.observability.arrival import Arrival
from server.observability.metrics import Metrics
from server.observability.session_watch import SessionWatch
from server.observability.tracing import Subject
from server.observability.tracing_choice import make_tracing
from server.offices import Offices
from server.secrets import ClientSecrets
from server.sessions.delivery import Delivery, VoiceDelivery
from server.sessions.live import LiveSession
from server.sessions.registry import SessionRegistry
from server.sessions.voice_options import (
    DEFAULT_LOCALE,
    chat_latency,
    chat_options,
    session_options,
    voice_latency,
)
from server.settings import Settings

logger = logging.getLogger(__name__)

LOADING_WAIT_S: Final = 8.0
RETRY_AFTER_S: Final = 2.0


class DataDirectoryUnusable(EdgeError):
    """The data directory cannot be written; the message is a sentence for the operator."""


class Host:
    """The server's insides."""

    def __init__(self, settings: Settings, engines: EngineSource, metrics: Metrics) -> None:
        self.settings = settings
        self.engines = engines
        self.metrics = metrics
        self._tracing = make_tracing(settings)
        self.latency = LatencyChoice(settings)
        self.drafts = DraftAllowances(settings.latency.waste_share, time.monotonic)
        self.secrets = ClientSecrets(time.monotonic)
        self._ready = anyio.Event()
        self._chats = 0
        self._registry: SessionRegistry | None = None
        self._recorder: UsageRecorder | None = None
        self._ledger: Ledger | None = None
        self._offices: Offices | None = None

    # --- life ---

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Everything open while the body runs; engines load meanwhile. Raises DataDirectoryUnusable, SettingsError,
        RecordsError."""
        await anyio.to_thread.run_sync(self._make_data_directory)
        ledger = open_ledger(self.settings)
        recorder = UsageRecorder(ledger, self.settings.journal_path)
        recovery = await recorder.start()
        logger.info("usage recorder started", extra={"recovery": str(recovery)})
        self._recorder, self._ledger = recorder, ledger
        self._watch(recorder)
        try:
            async with (
                Offices.opened(self.settings, self.epoch_ms) as self._offices,
                anyio.create_task_group() as tasks,
            ):
                self._registry = SessionRegistry(tasks, self.settings.limits, self.metrics)
                tasks.start_soon(self._registry.watch)
                tasks.start_soon(self._load)
                yield
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await recorder.aclose()
                await self.engines.aclose()
                await anyio.to_thread.run_sync(ledger.close)
                if self._tracing is not None:
                    await self._tracing.aclose()

    async def wait_ready(self) -> None:
        """Return once every engine has loaded or been given up."""
        await self._ready.wait()

    @property
    def status(self) -> Literal["ready", "degraded", "starting", "draining"]:
        """Whether sessions are taken, as ``/readyz`` says it."""
        if self.registry.draining:
            return "draining"
        if not self._ready.is_set():
            return "starting"
        return "ready" if all(report.status == "ready" for report in self.engines.reports) else "degraded"

    # --- what is shared ---

    @property
    def registry(self) -> SessionRegistry:
        """The sessions. Only while running."""
        assert self._registry is not None, "the host is not running"
        return self._registry

    @property
    def recorder(self) -> UsageRecorder:
        """The usage recorder. Only while running."""
        assert self._recorder is not None, "the host is not running"
        return self._recorder

    @property
    def ledger(self) -> Ledger:
        """The usage ledger, to be read from worker threads. Only while running."""
        assert self._ledger is not None, "the host is not running"
        return self._ledger

    @property
    def offices(self) -> Offices:
        """Whatever keeps records of tenants. Only while running."""
        assert self._offices is not None, "the host is not running"
        return self._offices

    def epoch_ms(self) -> int:
        """The wall clock, for people to read."""
        return time.time_ns() // 1_000_000

    async def agent(self, agent_id: str | None) -> Agent:
        """The agent of this name (None: the default one), once engines are ready. Raises Refused."""
        with anyio.move_on_after(LOADING_WAIT_S):
            await self._ready.wait()
        if not self._ready.is_set():
            raise Refused(ErrorCode.SERVER_OVERLOADED, "The server is still loading.", retry_after_s=RETRY_AFTER_S)
        agent = self.engines.for_sessions().agent
        if agent_id is not None and agent_id != agent.spec.agent_id:
            raise Refused(ErrorCode.REQUEST_INVALID, "There is no agent of that name (see /v1/agents).")
        return agent

    @property
    def mode(self) -> Mode:
        """The lane everything runs in: the operator's own endpoint, or nobody's."""
        return "byok" if self.settings.model.kind == "openai" else "embedded"

    def identity(self, caller: Identity, session_id: str) -> SessionIdentity:
        """To whom a conversation is attributed."""
        return SessionIdentity(session_id, caller.tenant_id, caller.user_id, self.mode)

    @contextmanager
    def chat_place(self) -> Generator[None]:
        """Room for one answer outside a session, of as many as there may be sessions. Raises Refused."""
        if self.registry.draining:
            raise Refused(ErrorCode.SERVER_DRAINING, retry_after_s=RETRY_AFTER_S)
        if self._chats >= self.settings.limits.max_sessions:
            raise Refused(ErrorCode.SERVER_OVERLOADED, retry_after_s=RETRY_AFTER_S)
        self._chats += 1
        try:
            yield
        finally:
            self._chats -= 1

    # --- sessions ---

    async def lease(
        self, caller: Identity, agent_id: str | None, locale: str, *, simple_language: bool = False
    ) -> Lease:
        """What a session of this caller hears, thinks and speaks with. Raises Refused."""
        agent = await self.agent(agent_id)
        asked = Asked(caller.tenant_id, agent.spec.agent_id, locale)
        return await self.engines.lease(asked, simple_language=simple_language)

    async def open_voice(
        self,
        settings: VoiceSettings,
        delivery: VoiceDelivery,
        caller: Identity,
        arrival: Arrival,
        *,
        media: bool = False,
    ) -> LiveSession:
        """Begin a conversation by voice, its audio in frames or beside them (``media``). Raises Refused."""
        simple = settings.accessibility.simple_language
        lease = await self.lease(caller, settings.agent_id, settings.locale, simple_language=simple)
        try:
            latency = self.voice_latency(caller, lease.engines.agent.spec.agent_id, settings)
            options = session_options(settings, self.identity(caller, new_id("ses")), latency, media=media)
            delivery.open_audio(settings.output.format, options.output_rate_hz)
            delivery.codec.latency_budget = budget_name(latency)
        except BaseException:
            lease.give_back()
            raise
        return self._open(options, lease, delivery, caller, arrival)

    async def open_chat(
        self,
        agent_id: str | None,
        delivery: VoiceDelivery,
        caller: Identity,
        arrival: Arrival,
        wish: LatencyBudgetSettings | None = None,
    ) -> LiveSession:
        """Begin a conversation in writing; ``wish`` is the client's latency budget. Raises Refused."""
        agent = await self.agent(agent_id)
        latency = self.chat_latency(caller, agent.spec.agent_id, wish)
        options = chat_options(self.identity(caller, new_id("ses")), latency)
        delivery.codec.latency_budget = budget_name(latency)
        return self._open(options, Lease(self.engines.for_sessions()), delivery, caller, arrival, kind="chat")

    async def lease_realtime(self, caller: Identity, agent_id: str | None, locale: str) -> Lease:
        """What a realtime session of this caller works with; a name that is no agent's means the default one.

        Raises Refused.
        """
        known = self.engines.for_sessions().agent.spec.agent_id
        return await self.lease(caller, agent_id if agent_id == known else None, locale)

    def open_realtime(
        self, options: SessionOptions, lease: Lease, delivery: Delivery, caller: Identity, arrival: Arrival
    ) -> LiveSession:
        """Begin a conversation that its client directs. Raises Refused; the lease is given back then, too."""
        return self._open(options, lease, delivery, caller, arrival, kind="realtime")

    def _open(
        self,
        options: SessionOptions,
        lease: Lease,
        delivery: Delivery,
        caller: Identity,
        arrival: Arrival,
        *,
        kind: Literal["voice", "chat", "realtime"] = "voice",
    ) -> LiveSession:
        try:
            identity = replace(options.identity, transport=arrival.transport)
            watch = self.watch(identity, arrival, options.budget)
            watch.carry()
            engines = replace(lease.engines, drafts=self.drafts.of(identity.tenant_id))
            session = Session(replace(options, identity=identity), engines, self.recorder, self.epoch_ms)
            live = LiveSession(identity, caller, session, delivery, watch, self.metrics)
            self.registry.host(live, lease.give_back)
        except BaseException:
            lease.give_back()
            raise
        self.metrics.sessions.labels(kind).inc()
        return live

    def watch(self, identity: SessionIdentity, arrival: Arrival, budget: LatencyBudget | None = None) -> SessionWatch:
        """Who watches a conversation that begins, and holds it to ``budget`` where no turn does."""
        trace = None
        if self._tracing is not None:
            spec = self.engines.for_sessions().agent.spec
            subject = Subject(identity.session_id, spec.agent_id, spec.name, identity.tenant_id)
            trace = self._tracing.session(subject, arrival)
        return SessionWatch(self.metrics, arrival, trace, budget=budget)

    # --- how sessions keep their time ---

    def voice_latency(self, caller: Identity, agent_id: str, settings: VoiceSettings) -> SessionLatency:
        """That of a voice session, at its beginning or later. Raises Refused."""
        with _refusing():
            return voice_latency(self.latency, Asked(caller.tenant_id, agent_id, settings.locale), settings)

    def chat_latency(self, caller: Identity, agent_id: str, wish: LatencyBudgetSettings | None) -> SessionLatency:
        """That of a session in writing. Raises Refused."""
        with _refusing():
            return chat_latency(self.latency, Asked(caller.tenant_id, agent_id, DEFAULT_LOCALE), wish)

    def realtime_latency(self, caller: Identity, agent_id: str, locale: str) -> SessionLatency:
        """That of a realtime session: as the operator has it."""
        return self.latency.chosen(Asked(caller.tenant_id, agent_id, locale))

    # --- tasks ---

    async def _load(self) -> None:
        await self.engines.load()
        self._ready.set()
        await self.engines.tend()

    def _make_data_directory(self) -> None:
        path = self.settings.data_dir
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.settings.journal_path.mkdir(exist_ok=True)
        except OSError as error:
            raise DataDirectoryUnusable(
                f"The data directory {path} cannot be used ({error.strerror}); name another: --data-dir PATH."
            ) from error

    def _watch(self, recorder: UsageRecorder) -> None:
        watch = self.metrics.watch
        watch("convergio_usage_waiting", "Usage events not yet durable.", lambda: recorder.status().waiting)
        watch("convergio_usage_ledger_failed", "1 while the ledger fails.", lambda: recorder.status().ledger_failed)
        paused = "Tenants whose turns are not drafted now, because too much was wasted."
        watch("convergio_speculation_paused", paused, lambda: self.drafts.paused)
        if self._tracing is not None:
            counts = self._tracing.counts
            self.metrics.watch_counts("convergio_spans", "Spans of traces, and what became of them.", "fate", counts)
        self.engines.watch(self.metrics)


@contextmanager
def _refusing() -> Generator[None]:
    """A latency budget that is not permitted, in the contract's words."""
    try:
        yield
    except BudgetError as error:
        details = {"field": "latency_budget"}
        raise Refused(ErrorCode.REQUEST_INVALID, f"latency_budget: {error}.", details=details) from error
