"""Models with a script in seconds, and a fallback over them on the virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import anyio
from virtual_time import run_virtual

from agents.errors import ModelUnavailable
from agents.models.fallback import FallbackModel, GuardedModel
from agents.models.hedging import HedgeAllowance
from agents.models.port import (
    AnsweredBy,
    Asked,
    Finished,
    Message,
    ModelEvent,
    ModelProfile,
    ModelRequest,
    Overtaken,
    TextDelta,
    TokenUsage,
)
from agents.models.tokens import estimate_usage
from audio.breaker import BreakerState
from audio.fallback import Degradation
from audio.pace import FEWEST

MESSAGES = (Message("system", "Be brief."), Message("user", "Hello there."))
PROMPT = estimate_usage(MESSAGES, "")
PLAIN = ModelRequest(MESSAGES)
HEDGED = ModelRequest(MESSAGES, hedge=True)
DONE = Finished("stop", TokenUsage(10, 0, 2))
DOWN = ModelUnavailable("It cannot be reached.", provider="azure_openai")
TAKEOVER_S = 1.5
Step = float | ModelEvent | Exception


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        run_virtual(test(*args, **kwargs))

    return run


@dataclass
class Model:
    """Follows its script for every request: seconds to be silent, events, an error to raise."""

    name: str
    script: Sequence[Step]
    begun: list[float] = field(default_factory=list[float])
    ended: list[float] = field(default_factory=list[float])
    closing_s: float = 0.0

    @property
    def profile(self) -> ModelProfile:
        return ModelProfile("azure_openai", self.name)

    async def warm_up(self, messages: tuple[Message, ...]) -> None:
        """Always warm."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        self.begun.append(anyio.current_time())
        try:
            for step in self.script:
                if isinstance(step, int | float):
                    await anyio.sleep(step)
                elif isinstance(step, Exception):
                    raise step
                else:
                    yield step
        finally:
            if self.closing_s:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(self.closing_s)
            self.ended.append(anyio.current_time())

    async def aclose(self) -> None:
        """Nothing to release."""

    @property
    def open(self) -> int:
        return len(self.begun) - len(self.ended)


def answers(name: str, after_s: float, text: str | None = None, gap_s: float = 0.0) -> Model:
    return Model(name, (after_s, TextDelta(text or f"{name} "), gap_s, TextDelta("says."), DONE))


class Several:
    """A fallback on the virtual clock. ``usually_s`` is what the preferred model is known to take."""

    def __init__(self, *models: Model, usually_s: float | None = 0.4, allowance: HedgeAllowance | None = None) -> None:
        self.told: list[Degradation] = []
        guarded = [GuardedModel(model) for model in models]
        for _ in range(FEWEST if usually_s is not None else 0):
            guarded[0].pace.note(usually_s or 0.0)
        self.models = models
        self.shared = FallbackModel(
            guarded,
            takeover_s=TAKEOVER_S,
            allowance=allowance,
            now_s=lambda: asyncio.get_running_loop().time(),
        )
        self.model = self.shared.for_session(self.told.append)

    async def ask(self, request: ModelRequest = HEDGED, into: list[ModelEvent] | None = None) -> list[ModelEvent]:
        events: list[ModelEvent] = [] if into is None else into
        async with aclosing(self.model.stream(request)) as stream:
            async for event in stream:
                events.append(event)  # noqa: PERF401 - what came before a failure counts, too
        return events

    def state(self, number: int) -> BreakerState:
        return self.shared.models[number].breaker.state(asyncio.get_running_loop().time())


def words(events: Sequence[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def told(events: Sequence[ModelEvent], kind: type[Asked | Overtaken | AnsweredBy]) -> list[str]:
    return [event.profile.model for event in events if isinstance(event, kind)]


def cost(events: Sequence[ModelEvent]) -> dict[str, TokenUsage]:
    return {event.profile.model: event.usage for event in events if isinstance(event, Overtaken)}
