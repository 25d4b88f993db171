"""Services that are late as real ones are, and at fault when a Poisson process says so, behind the product's stand-ins.

Owns delays, episodes of faults and who stands in for whom; everything is drawn from seeds, on the event loop's clock.
Engines are the scripted ones, fallbacks and hedging the product's own. Knows no user and measures nothing but tokens.
Driven by ``latency_scenarios``.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from random import Random
from typing import Final, Literal

import anyio
from conversation import LevelDetector
from faulty_engines import Fault, Faulty, FaultyModel, FaultyVoice
from latency_ears import Said, UserEars

from agents.core.options import Engines
from agents.loop.agent import Agent, AgentSpec
from agents.models.asked import AskedModels
from agents.models.fallback import FallbackModel, GuardedModel
from agents.models.port import AnsweredBy, Asked, ModelEvent, ModelProfile, ModelRequest, Overtaken
from agents.models.scripted import ScriptedModel
from audio.breaker import CircuitBreaker
from audio.fallback import Guarded, OnDegraded
from audio.pace import Pace
from audio.stt.fallback import FallbackSpeechToText
from audio.stt.port import SttProfile
from audio.tts.fallback import FallbackTextToSpeech
from audio.tts.scripted import ScriptedTextToSpeech, ScriptedVoice

Stage = Literal["stt", "agent", "tts"]
STAGES: Final[tuple[Stage, ...]] = ("stt", "agent", "tts")
SLOWER: Final = 10
FAILING: Final = 0.3
REPLIES: Final = (
    "It is ten past four in the afternoon. The next one leaves in half an hour.",
    "Yes, that is possible, and it costs nothing. Shall I book it for you?",
    "The museum opens at nine on weekdays, and at ten on Sundays.",
    "Certainly. I have moved it to Thursday morning, and everybody has been told.",
    "There are three of them, one of which is just around the corner.",
)


@dataclass(frozen=True, slots=True)
class Delay:
    """Until a service's first answer (log-normal: seconds at the median, and its spread), and between the next."""

    median_s: float
    sigma: float
    gap_s: float


DELAYS: Final[dict[Stage, Delay]] = {
    "stt": Delay(0.12, 0.35, 0.0),
    "agent": Delay(0.32, 0.35, 0.02),
    "tts": Delay(0.13, 0.3, 0.01),
}
"""What cloud services in the same region take on a usual day."""


@dataclass(frozen=True, slots=True)
class Faults:
    """How a service fails: episodes begin after exponential times of ``up_s`` and last exponential times of ``down_s``.

    In an episode of ``stall`` nothing answers and what is under way freezes, in one of ``slow`` all takes ten times as
    long, in one of ``fail`` each request fails at once. ``any`` draws one of these for each episode. ``sometimes`` has
    no episodes: three requests of ten fail. ``up_s`` 0 is an episode without an end.
    """

    kind: Literal["stall", "slow", "fail", "any", "sometimes"]
    up_s: float = 6.0
    down_s: float = 6.0


class Service:
    """One service: how long it takes now, and what is wrong with it."""

    def __init__(self, rng: Random, delay: Delay, faults: Faults | None) -> None:
        self._rng = rng
        self._delay = delay
        self._faults = faults
        self._from_s = self._until_s = 0.0
        self._kind: Fault = "stall"
        if faults is not None and faults.kind != "sometimes":
            self._plan(0.0)

    def fault(self) -> Fault | None:
        """What is wrong now."""
        now_s = asyncio.get_running_loop().time()
        if self._faults is None or self._faults.kind == "sometimes":
            return None
        while now_s >= self._until_s:
            self._plan(self._until_s)
        return self._kind if now_s >= self._from_s else None

    def request(self) -> tuple[Fault | None, float]:
        """What becomes of a request made now, and after how many seconds it is answered, where it is."""
        fault = self.fault()
        if self._faults is not None and self._faults.kind == "sometimes" and self._rng.random() < FAILING:
            fault = "fail"
        delay_s = self._delay.median_s * math.exp(self._rng.gauss(0.0, self._delay.sigma))
        return fault, delay_s * (SLOWER if fault == "slow" else 1)

    def faulty(self) -> Faulty:
        """The service for an engine that is wrapped: without a fault, its answer comes after its delay."""
        faulty = Faulty()

        def draw() -> Fault:
            fault, faulty.slow_s = self.request()
            return fault or "slow"

        faulty.draw = draw
        return faulty

    async def between(self, number: int) -> None:
        """Before the ``number``th piece of an answer, from 0."""
        if number == 0:
            return
        match self.fault():
            case "stall":
                await anyio.sleep_forever()
            case "slow":
                await anyio.sleep(self._delay.gap_s * SLOWER)
            case _:
                await anyio.sleep(self._delay.gap_s)

    def _plan(self, now_s: float) -> None:
        assert self._faults is not None
        faults, rng = self._faults, self._rng
        if faults.kind not in {"any", "sometimes"}:
            self._kind = faults.kind  # type: ignore[assignment]
        else:
            self._kind = rng.choice(("stall", "slow", "fail"))
        self._from_s = now_s + (rng.expovariate(1 / faults.up_s) if faults.up_s else 0.0)
        self._until_s = self._from_s + rng.expovariate(1 / faults.down_s) if faults.up_s else math.inf


@dataclass
class Tokens:
    """Estimated tokens of models that were asked and not used: lost to a quicker one, or taken over as at fault."""

    outrun: int = 0
    taken_over: int = 0


class TalliedModel(FallbackModel):
    """The product's, with what its losers cost counted. ``tokens`` is shared by all sessions."""

    tokens: Tokens

    def for_session(self, on_degraded: OnDegraded) -> FallbackModel:
        rules = self._rules
        session = TalliedModel(
            self._models,
            on_degraded=on_degraded,
            takeover_s=rules.takeover_s,
            allowance=rules.allowance,
            now_s=rules.now_s,
        )
        session.tokens = self.tokens
        return session

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        asked = AskedModels()
        try:
            async with aclosing(super().stream(request)) as events:
                async for event in events:
                    if isinstance(event, Asked | Overtaken | AnsweredBy):
                        asked.note(event)
                    yield event
        finally:
            for lost in asked.overtaken:
                cost = lost.usage.input_tokens + lost.usage.output_tokens
                if lost.error_code is None:
                    self.tokens.outrun += cost
                else:
                    self.tokens.taken_over += cost


@dataclass
class Town:
    """All services of one scenario, which its sessions share: per stage a preferred one and its stand-in."""

    seed: str
    faults: dict[Stage, Faults] = field(default_factory=dict[Stage, Faults])
    stand_in_faults: Faults | None = None
    tokens: Tokens = field(default_factory=Tokens)

    def __post_init__(self) -> None:
        self._now_s = asyncio.get_running_loop().time
        self._services = {stage: self._pair(stage) for stage in STAGES}
        self._breakers = [(CircuitBreaker(), Pace()) for _ in range(2)]
        models = [GuardedModel(self._model(number)) for number in range(2)]
        self._agent_model = TalliedModel(models, now_s=self._now_s)
        self._agent_model.tokens = self.tokens
        voices = [Guarded(FaultyVoice(self._voice(service), service.faulty())) for service in self._services["tts"]]
        self._voices = FallbackTextToSpeech(voices, now_s=self._now_s)
        spec = AgentSpec(agent_id="bench", name="Bench", instructions="Answer briefly, as one speaks.")
        self._agent = Agent(spec, self._agent_model)

    def engines(self, said: Said) -> Engines:
        """What one user's session works with; breakers and paces are everybody's."""
        ears = [
            Guarded(UserEars(said, service, SttProfile(name, "script", frozenset({"en"}), streaming=True)), *known)
            for service, name, known in zip(
                self._services["stt"], ("preferred", "stand-in"), self._breakers, strict=True
            )
        ]
        stt = FallbackSpeechToText(ears, now_s=self._now_s)
        return Engines(self._agent, stt, self._voices, None, LevelDetector)

    def _pair(self, stage: Stage) -> tuple[Service, Service]:
        first = Service(Random(f"{self.seed} {stage} 1"), DELAYS[stage], self.faults.get(stage))
        return first, Service(Random(f"{self.seed} {stage} 2"), DELAYS[stage], self.stand_in_faults)

    def _model(self, number: int) -> FaultyModel:
        service = self._services["agent"][number]
        profile = ModelProfile("bench", ("preferred", "stand-in")[number])
        model = ScriptedModel(*REPLIES, repeat=True, profile=profile, before_event=service.between)
        return FaultyModel(model, service.faulty())

    @staticmethod
    def _voice(service: Service) -> ScriptedTextToSpeech:
        return ScriptedTextToSpeech(ScriptedVoice(ms_per_character=35), lambda _, number: service.between(number))
