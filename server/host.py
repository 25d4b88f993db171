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
from typing import Final, Literal, cast

import anyio
import anyio.to_thread

from agents.core.budget import LatencyBudget
from agents.core.draft_allowance import DraftAllowances
from agents.core.options import Identity as SessionIdentity
from agents.core.options import SessionOptions
from agents.core.session import Session
from agents.loop.agent import Agent
from metering.ledger import Ledger
from metering.recorder import UsageRecorder
from metering.usage import Mode
from server.budget_view import budget_name
from server.budgets.opening import Opened, Wish, open_purse
from server.contracts.errors import ErrorCode
from server.contracts.latency_budget import LatencyBudgetSettings
from server.contracts.session import VoiceSettings
from server.engine_rules import Asked
from server.engine_source import EngineSource, Lease
from server.errors import EdgeError, Refused
from server.guard import Identity, require
from server.identity import Presented
from server.ids import new_id
from server.latency_choice import LatencyChoice
from server.ledgers import open_ledger
from server.loop_load import LoopLoad
from server.observability.arrival import Arrival
from server.observability.metrics import Metrics
from server.observability.session_watch import SessionWatch
from server.observability.tracing import Subject
from server.observability.tracing_choice import make_tracing
from server.observability.word_log import WordLog
from server.offices import Offices
from server.permissions import Permission, TenantType
from server.privacy.erasure import PrivacyLedger, Surroundings
from server.privacy.protection import protection_of
from server.secrets import ClientSecrets
from server.session_latencies import SessionLatencies
from server.sessions.delivery import Delivery, VoiceDelivery
from server.sessions.live import LiveSession
from server.sessions.registry import SessionRegistry
from server.sessions.underway import Underway
from server.sessions.voice_options import (
    chat_options,
    session_options,
)
from server.settings import Settings
from server.vault.models import TenantModel

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
        self.load = LoopLoad()
        self._tracing = make_tracing(settings)
        self.latency = LatencyChoice(settings)
        self.latencies = SessionLatencies(self.latency)
        self.drafts = DraftAllowances(settings.latency.waste_share, time.monotonic)
        self.secrets = ClientSecrets(time.monotonic)
        self._ready = anyio.Event()
        self._registry: SessionRegistry | None = None
        self._underway: Underway | None = None
        self._recorder: UsageRecorder | None = None
        self._ledger: Ledger | None = None
        self._offices: Offices | None = None

    # --- life ---

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Everything open while the body runs; engines load meanwhile. Raises DataDirectoryUnusable, SettingsError,
        RecordsError, PriceSheetError."""
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
                self._underway = Underway(self._registry)
                self._offices.privacy.watch(self.metrics)
                self._offices.privacy.begin(self._surroundings(recorder, ledger))
                tasks.start_soon(self._offices.privacy.run)
                tasks.start_soon(self._registry.watch)
                tasks.start_soon(self._offices.run)
                tasks.start_soon(self._offices.budgets.run, ledger)
                tasks.start_soon(self._load)
                await self._offices.webhooks.prepare(ledger)
                self._offices.webhooks.watch(self.metrics)
                tasks.start_soon(self._offices.webhooks.run)
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

    async def authenticate(self, presented: Presented) -> Identity:
        """Who presents that. Raises Refused."""
        return await self.offices.identity.authenticate(presented)

    async def agent(self, agent_id: str | None, caller: Identity) -> Agent:
        """The agent of this name (None: the default one) for this caller, once engines are ready. Raises Refused."""
        require(caller, Permission.TALK)
        with anyio.move_on_after(LOADING_WAIT_S):
            await self._ready.wait()
        if not self._ready.is_set():
            raise Refused(ErrorCode.SERVER_OVERLOADED, "The server is still loading.", retry_after_s=RETRY_AFTER_S)
        agent = self.engines.for_sessions().agent
        if agent_id is not None and agent_id != agent.spec.agent_id:
            raise Refused(ErrorCode.REQUEST_INVALID, "There is no agent of that name (see /v1/agents).")
        if caller.agent_id not in (None, agent.spec.agent_id):
            raise Refused(ErrorCode.AUTH_FORBIDDEN, "This key is for another agent.")
        if caller.test and self.mode != "embedded":
            raise Refused(ErrorCode.AUTH_FORBIDDEN, "A test key talks to the embedded language model only.")
        return agent

    async def for_tenant(self, caller: Identity, agent: Agent) -> Agent:
        """The agent on the tenant's own model, where it has a key for one at the time. Raises Refused.

        A test key costs nobody anything, and keeps the embedded one.
        """
        if caller.test:
            return agent
        models = self.offices.vault.models
        await models.prepare(caller.tenant_id)
        return agent.on(lambda server: TenantModel(caller.tenant_id, models, server))

    @property
    def mode(self) -> Mode:
        """The lane of what runs on no key of the tenant's own: the operator's own endpoint, or nobody's."""
        return "byok" if self.settings.model.kind == "openai" else "embedded"

    def identity(self, caller: Identity, session_id: str) -> SessionIdentity:
        """To whom a conversation is attributed."""
        return SessionIdentity(session_id, caller.tenant_id, caller.user_id, self.mode)

    @property
    def underway(self) -> Underway:
        """What is going on with clients. Only while running."""
        assert self._underway is not None, "the host is not running"
        return self._underway

    @contextmanager
    def chat_place(self, identity: SessionIdentity) -> Generator[None]:
        """Room for one answer outside a session, of as many as there may be sessions. Raises Refused."""
        if self.registry.draining:
            raise Refused(ErrorCode.SERVER_DRAINING, retry_after_s=RETRY_AFTER_S)
        if self.underway.questions >= self.settings.limits.max_sessions:
            raise Refused(ErrorCode.SERVER_OVERLOADED, retry_after_s=RETRY_AFTER_S)
        with self.underway.question(identity):
            yield

    # --- sessions ---

    async def lease(
        self, caller: Identity, agent_id: str | None, locale: str, *, simple_language: bool = False
    ) -> Lease:
        """What a session of this caller hears, thinks and speaks with. Raises Refused."""
        agent = await self.agent(agent_id, caller)
        asked = Asked(caller.tenant_id, agent.spec.agent_id, locale, embedded_only=caller.test)
        lease = await self.engines.lease(asked, simple_language=simple_language)
        try:
            engines = replace(lease.engines, agent=await self.for_tenant(caller, lease.engines.agent))
        except BaseException:
            lease.give_back()
            raise
        return replace(lease, engines=engines)

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
            latency = self.latencies.voice(caller, lease.engines.agent.spec.agent_id, settings)
            options = session_options(settings, self.identity(caller, new_id("ses")), latency, media=media)
            delivery.open_audio(settings.output.format, options.output_rate_hz)
            delivery.codec.latency_budget = budget_name(latency)
        except BaseException:
            lease.give_back()
            raise
        return self._open(options, lease, delivery, caller, arrival, Wish("voice", settings.mode, settings.locale))

    async def open_chat(
        self,
        agent_id: str | None,
        delivery: VoiceDelivery,
        caller: Identity,
        arrival: Arrival,
        wish: LatencyBudgetSettings | None = None,
        *,
        mode: Mode | None = None,
    ) -> LiveSession:
        """Begin a conversation in writing; ``wish`` is the client's latency budget, ``mode`` the lane it asks for.

        Raises Refused.
        """
        agent = await self.agent(agent_id, caller)
        latency = self.latencies.chat(caller, agent.spec.agent_id, wish)
        options = chat_options(self.identity(caller, new_id("ses")), latency)
        delivery.codec.latency_budget = budget_name(latency)
        engines = self.engines.for_sessions()
        engines = replace(engines, agent=await self.for_tenant(caller, engines.agent))
        return self._open(options, Lease(engines), delivery, caller, arrival, Wish("chat", mode))

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
        wish = Wish("realtime", locale=options.locale)
        return self._open(options, lease, delivery, caller, arrival, wish)

    def open_phone(
        self, options: SessionOptions, lease: Lease, delivery: Delivery, caller: Identity, arrival: Arrival
    ) -> LiveSession:
        """Begin a conversation over a telephone call. Raises Refused; the lease is given back then, too."""
        return self._open(options, lease, delivery, caller, arrival, Wish("phone", locale=options.locale))

    def _open(
        self,
        options: SessionOptions,
        lease: Lease,
        delivery: Delivery,
        caller: Identity,
        arrival: Arrival,
        wish: Wish,
    ) -> LiveSession:
        try:
            budgets = self.offices.budgets
            self.registry.require_room_for(caller, self.settings.budgets.bursts)
            budgets.bursts.require("sessions", caller.tenant_id, caller.user_id)
            opened = open_purse(self.settings, budgets, caller, lease, self.recorder, wish)
            identity = replace(options.identity, transport=arrival.transport, mode=opened.mode)
            watch = self.watch(identity, arrival, caller.tenant_type, options.budget)
            watch.carry()
            engines = replace(opened.engines, drafts=self.drafts.of(identity.tenant_id))
            session = Session(replace(options, identity=identity), engines, opened.purse, self.epoch_ms)
            live = LiveSession(identity, caller, session, delivery, watch, self.metrics)
            live.purse = opened.purse
            self.registry.host(live, lease.give_back)
        except BaseException:
            lease.give_back()
            raise
        self.metrics.sessions.labels(wish.kind).inc()
        return live

    async def open_answer(self, caller: Identity, mode: Mode | None) -> Opened:
        """What an answer outside a session costs, and who makes it. Raises Refused."""
        budgets, engines = self.offices.budgets, self.engines.for_sessions()
        lease = Lease(replace(engines, agent=await self.for_tenant(caller, engines.agent)))
        return open_purse(self.settings, budgets, caller, lease, self.recorder, Wish("chat", mode, lasts=False))

    def watch(
        self,
        identity: SessionIdentity,
        arrival: Arrival,
        tenant_type: TenantType,
        budget: LatencyBudget | None = None,
    ) -> SessionWatch:
        """Who watches a conversation that begins, holds it to ``budget`` where no turn does, and notes it down."""
        spec = self.engines.for_sessions().agent.spec
        notes = self.offices.privacy.notes(identity, tenant_type, spec.agent_id)
        protection, trace = protection_of(tenant_type), None
        if self._tracing is not None:
            may_say = protection.words_in_traces
            subject = Subject(identity.session_id, spec.agent_id, spec.name, identity.tenant_id, may_say)
            trace = self._tracing.session(subject, arrival)
        watch = SessionWatch(self.metrics, arrival, trace, budget=budget, notes=notes)
        if self.settings.log.transcripts and protection.words_in_logs:
            watch.words = WordLog(identity.session_id)
        return watch

    # --- tasks ---

    async def _load(self) -> None:
        await self.engines.load()
        self._ready.set()
        await self.engines.tend()

    def _surroundings(self, recorder: UsageRecorder, ledger: Ledger) -> Surroundings:
        """What the privacy office reaches beside the records."""
        assert self._underway is not None
        return Surroundings(cast("PrivacyLedger", ledger), self.settings.journal_path, self._underway, recorder)

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
