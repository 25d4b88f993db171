"""The engines of this server: built from the settings, loaded at once and together, each allowed to be missing.

What cannot be had gives way to something lesser, and the report says to what, why, and how to mend it: without
speech-to-text or a voice the conversation goes on in writing, without Silero the WebRTC gate decides alone, without a
language model the agent says honestly that it cannot answer. Who hears and speaks in which session is
``server.speech_engines``' to say. Knows no transport; driven by ``server.host``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Final, Literal, TypeVar

import anyio
import anyio.to_thread

from agents.core.options import Engines
from agents.errors import ModelError
from agents.loop.agent import Agent
from agents.models.port import LanguageModel
from audio.endpoint.port import EndOfTurnModel
from audio.errors import EngineError
from audio.inference import InferencePool
from audio.stt.fallback import FallbackSpeechToText
from audio.stt.port import SpeechToText
from audio.tts.fallback import FallbackTextToSpeech
from audio.tts.port import TextToSpeech
from audio.vad.chain import make_detector
from audio.vad.port import VadOptions, VoiceActivityDetector
from server.agent_choice import UnavailableModel, build_agent
from server.contracts.health import Stage
from server.engine_rules import Asked, SttChoice, TtsChoice
from server.engine_source import Lease
from server.engine_supply import Supplier
from server.model_choice import build_model, why_degraded
from server.observability.metrics import Metrics
from server.settings import Settings
from server.speech_accounts import SpeechAccounts
from server.speech_engines import Order, SpeechEngine, SpeechEngines
from server.stage_reports import (
    STAGES,
    WITHOUT,
    StageReport,
    mend,
    missing,
    rule_reports,
    speech_report,
    switched_off,
)

logger = logging.getLogger(__name__)

LOAD_LIMIT_S: Final = 120.0
POOL_WORKERS: Final = 2

OnReport = Callable[[StageReport], None]
Choice = TypeVar("Choice", SttChoice, TtsChoice)


class EngineSet:
    """All engines of one process. ``load`` once; ``aclose`` releases what was loaded."""

    def __init__(
        self, settings: Settings, on_report: OnReport | None = None, accounts: SpeechAccounts | None = None
    ) -> None:
        """``accounts`` give tenants' Azure Speech accounts; the settings do, unless others are given."""
        self.pool = InferencePool(POOL_WORKERS)
        self._speech = SpeechEngines(settings, self.pool, accounts)
        self._settings = settings
        self._on_report = on_report
        self._reports = {stage: StageReport(stage, "", "", "loading") for stage in STAGES}
        self._speech_now: list[tuple[Stage, Callable[[], StageReport]]] = []
        self._by_rules: dict[Stage, tuple[StageReport, ...]] = {}
        self._closing = AsyncExitStack()
        self._stt: SpeechToText | None = None
        self._tts: TextToSpeech | None = None
        self._end_of_turn: EndOfTurnModel | None = None
        self._make_detector: Callable[[VadOptions], VoiceActivityDetector] = partial(make_detector, silero=None)
        self._agents = self._agents_on(UnavailableModel("The language model is still loading."))

    @property
    def reports(self) -> tuple[StageReport, ...]:
        """Every stage as it is now, in the order of the conversation, then the engines that only rules name."""
        reports = dict(self._reports)
        for stage, report in self._speech_now:
            reports[stage] = replace(report(), load_ms=reports[stage].load_ms)
        also = (report for stage in STAGES for report in self._by_rules.get(stage, ()))
        return (*(reports[stage] for stage in STAGES), *also)

    def for_sessions(self, *, simple_language: bool = False) -> Engines:
        """What sessions work with that no rule concerns and whose tenant brings no account."""
        agent = self._agents[simple_language]
        names = {stage: report.name for stage in ("vad", "endpoint") if (report := self._reports[stage]).model}
        return Engines(agent, self._stt, self._tts, self._end_of_turn, self._make_detector, names)

    async def lease(self, asked: Asked, *, simple_language: bool = False) -> Lease:
        """What this session works with. Raises Refused where there is no room for its tenant's engines."""
        speech = await self._speech.lease(asked)
        engines = self.for_sessions(simple_language=simple_language)
        engines = replace(engines, stt=speech.stt, tts=speech.tts, missing=speech.missing)
        return Lease(engines, speech.give_back, speech.own)

    def watch(self, metrics: Metrics) -> None:
        """Publish how the inference pool and the connections to Azure Speech fare."""
        pool, speech = self.pool, self._speech
        metrics.watch("convergio_inference_queued", "Inference jobs waiting for a thread.", lambda: pool.queued)
        metrics.watch("convergio_inference_busy", "Inference jobs running.", lambda: pool.busy)
        metrics.watch("convergio_inference_completed", "Inference jobs done since the start.", lambda: pool.completed)
        metrics.watch("convergio_inference_refused", "Inference jobs refused since the start.", lambda: pool.refused)
        watch = metrics.watch
        watch("convergio_azure_connections", "Recognizers and voices on Azure Speech.", lambda: speech.room.used)
        watch("convergio_tenant_accounts", "Tenants' accounts with engines.", lambda: speech.accounts.tenants)

    async def load(self) -> None:
        """Build and warm every engine, all at the same time; returns when each is ready or given up."""
        await self._closing.enter_async_context(self.pool)
        self._closing.push_async_callback(self._speech.aclose)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._stage, "llm", self._load_model)
            tasks.start_soon(self._stage, "stt", self._load_stt)
            tasks.start_soon(self._stage, "tts", self._load_tts)
            tasks.start_soon(self._stage, "vad", self._load_vad)
            tasks.start_soon(self._stage, "endpoint", self._load_endpoint)

    async def tend(self) -> None:
        """Release tenants' engines that nobody uses any more, until cancelled."""
        await self._speech.accounts.tend()

    async def aclose(self) -> None:
        """Release every engine, the pool last."""
        await self._closing.aclose()

    # --- stages ---

    async def _stage(self, stage: Stage, load: Callable[[], Awaitable[StageReport]]) -> None:
        began_at_s = time.monotonic()
        try:
            with anyio.fail_after(LOAD_LIMIT_S):
                report = await load()
            report = replace(report, load_ms=round((time.monotonic() - began_at_s) * 1_000))
        except (EngineError, ModelError) as error:
            report = self._missing(stage, error.provider, str(error))
        except TimeoutError:
            report = self._missing(stage, "", f"It did not load within {LOAD_LIMIT_S:.0f} s.")
        except Exception as error:
            logger.exception("engine failed to load", extra={"stage": stage})
            report = self._missing(stage, "", f"It failed to load ({type(error).__name__}: {error}).")
        self._reports[stage] = report
        logger.debug("engine", extra={"stage": stage, "engine": report.name, "status": report.status})
        if self._on_report is not None:
            self._on_report(report)

    def _missing(self, stage: Stage, provider: str, why: str) -> StageReport:
        return missing(stage, provider, why, self._settings)

    def _agents_on(self, model: LanguageModel) -> dict[bool, Agent]:
        """The agent on this model, by whether it speaks simple language."""
        return {simple: build_agent(self._settings.agent, model, simple_language=simple) for simple in (False, True)}

    async def _load_model(self) -> StageReport:
        try:
            model = await build_model(self._settings.model)
        except ModelError as error:
            self._agents = self._agents_on(UnavailableModel(str(error)))
            raise
        self._closing.push_async_callback(model.aclose)
        self._agents = self._agents_on(model)
        name = model.profile
        try:
            await self._agents[False].warm_up()
        except ModelError as error:  # it may answer later: sessions keep asking it
            return replace(self._missing("llm", name.provider, str(error)), model=name.model)
        why = why_degraded(model)
        if why is not None:
            return StageReport(
                "llm", name.provider, name.model, "degraded", f"{why} {mend('llm', name.provider, self._settings)}"
            )
        return StageReport("llm", name.provider, name.model, "ready")

    async def _load_stt(self) -> StageReport:
        order, report = await self._load_speech("stt", self._speech.rules.all_stt(), self._speech.stt)
        self._stt = FallbackSpeechToText(order.engines) if order.engines else None
        return report

    async def _load_tts(self) -> StageReport:
        order, report = await self._load_speech("tts", self._speech.rules.all_tts(), self._speech.tts)
        self._tts = FallbackTextToSpeech(order.engines) if order.engines else None
        return report

    async def _load_speech(
        self,
        stage: Literal["stt", "tts"],
        choices: Iterable[Choice],
        engines_of: Callable[[Choice, Supplier | None], Awaitable[Order[SpeechEngine]]],
    ) -> tuple[Order[SpeechEngine], StageReport]:
        """Every engine of a stage that runs here or on the server's own account; the first order is the default."""
        account = self._speech.accounts.shared()
        orders = [await engines_of(choice, account) for choice in choices]
        self._by_rules[stage] = tuple(rule_reports(stage, orders, self._settings))
        default = orders[0]
        if not default.wanted:
            return default, switched_off(stage)
        self._speech_now.append((stage, partial(speech_report, stage, default, self._settings)))
        return default, speech_report(stage, default, self._settings)

    async def _load_vad(self) -> StageReport:
        if not self._settings.speech.silero:
            reason = f"{WITHOUT['vad']} Silero is switched off in the settings (speech.silero)."
            return StageReport("vad", "webrtc", "gate only", "degraded", reason)
        from audio.vad.silero import SileroModel  # noqa: PLC0415

        silero = await anyio.to_thread.run_sync(SileroModel)
        self._make_detector = partial(make_detector, silero=silero.stream)
        return StageReport("vad", "silero", "with webrtc gate", "ready")

    async def _load_endpoint(self) -> StageReport:
        if not self._settings.speech.smart_turn:
            reason = f"{WITHOUT['endpoint']} Switched off in the settings (speech.smart_turn)."
            return StageReport("endpoint", "", "", "degraded", reason)
        from audio.endpoint.smart_turn import SmartTurn  # noqa: PLC0415

        model = SmartTurn(self.pool)
        await model.warm_up()
        self._end_of_turn = model
        return StageReport("endpoint", "smart-turn", "v3", "ready")
