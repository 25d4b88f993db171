"""A whole server on a free loopback port, with engines that answer from a script at once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from agents.core.options import Engines
from agents.loop.agent import Agent
from agents.models.port import (
    Finished,
    LanguageModel,
    Message,
    ModelEvent,
    ModelProfile,
    ModelRequest,
    TextDelta,
    TokenUsage,
)
from audio.stt.scripted import ScriptedSpeechToText
from audio.tts.scripted import ScriptedTextToSpeech
from audio.vad.chain import make_detector
from server.agent_choice import build_agent
from server.app import Application
from server.engine_rules import Asked
from server.engine_source import Lease
from server.engines import StageReport
from server.listening import listen
from server.observability.metrics import Metrics
from server.serving import RunningServer, running
from server.settings import Settings, load_settings


class EchoModel:
    """Says what it was told; ``gate`` holds the second half of every answer back until it is set."""

    def __init__(self, gate: anyio.Event | None = None, error: Exception | None = None) -> None:
        self._gate = gate
        self._error = error

    @property
    def profile(self) -> ModelProfile:
        return ModelProfile("scripted", "echo", tools=False)

    async def warm_up(self, messages: tuple[Message, ...]) -> None:
        """Nothing to load."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        if self._error is not None:
            raise self._error
        yield TextDelta("You said: ")
        if self._gate is not None:
            await self._gate.wait()
        yield TextDelta(f"{request.messages[-1].text}.")
        yield Finished("stop", TokenUsage(10, 0, 4))

    async def aclose(self) -> None:
        """Nothing to release."""


@dataclass
class ScriptedEngines:
    """``server.host.EngineSource`` without models."""

    agent: Agent
    heard: tuple[str, ...] = ("Go forward ten meters.",)
    loaded: anyio.Event = field(default_factory=anyio.Event)
    make_detector: Callable[..., Any] = field(default_factory=lambda: partial(make_detector, silero=None))

    @property
    def reports(self) -> tuple[StageReport, ...]:
        return (StageReport("stt", "scripted", "script", "ready"), StageReport("llm", "scripted", "echo", "ready"))

    def for_sessions(self, *, simple_language: bool = False) -> Engines:
        return Engines(self.agent, ScriptedSpeechToText(self.heard), ScriptedTextToSpeech(), None, self.make_detector)

    async def lease(self, asked: Asked, *, simple_language: bool = False) -> Lease:
        return Lease(self.for_sessions(simple_language=simple_language))

    def watch(self, metrics: Metrics) -> None:
        """Nothing to measure."""

    async def load(self) -> None:
        await self.loaded.wait()

    async def tend(self) -> None:
        """Nothing to tend."""

    async def aclose(self) -> None:
        """Nothing to release."""


def scripted_engines(model: LanguageModel | None = None, *, loaded: bool = True) -> ScriptedEngines:
    """Engines whose agent answers with ``model`` (an echo)."""
    engines = ScriptedEngines(build_agent(load_settings().agent, model or EchoModel()))
    if loaded:
        engines.loaded.set()
    return engines


@dataclass(frozen=True)
class Served:
    """A running server and what is behind it."""

    url: str
    application: Application
    server: RunningServer

    @property
    def voice_url(self) -> str:
        return f"ws{self.url.removeprefix('http')}/v1/voice/ws"

    @property
    def chat_url(self) -> str:
        return f"ws{self.url.removeprefix('http')}/v1/ws"


@asynccontextmanager
async def served(data_dir: Path, engines: ScriptedEngines | None = None, **settings: Any) -> AsyncGenerator[Served]:
    """The server, while the body runs."""
    chosen: Settings = load_settings(host="127.0.0.1", port=0, data_dir=data_dir, **settings)
    application = Application(chosen, engines=engines or scripted_engines())
    async with running(application, listen(chosen.host, chosen.port)) as server:
        yield Served(f"http://127.0.0.1:{server.port}", application, server)


async def eventually(happened: Callable[[], object], within_s: float = 10.0) -> None:
    """Return once something outside this task's reach has happened."""
    with anyio.fail_after(within_s):
        while not happened():  # noqa: ASYNC110 - there is no event to wait for across a process or a thread
            await anyio.sleep(0.01)
