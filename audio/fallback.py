"""What fallbacks share: an engine with its breaker, and the word that another had to step in.

One ``Guarded`` per engine and process, so that all sessions learn of an outage from one; a ``Degradation`` per session
and change, so that each can say it once. Driven by ``audio.stt.fallback``, ``audio.tts.fallback`` and
``agents.models.fallback``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar

from audio.breaker import CircuitBreaker
from audio.errors import EngineUnavailable, Stage

E = TypeVar("E")


class Maker(NamedTuple):
    """Who did a piece of work: an engine, as its profile names it."""

    provider: str
    model: str


@dataclass(frozen=True, slots=True)
class Guarded(Generic[E]):
    """An engine, and whether it is worth asking."""

    engine: E
    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)


class Warmable(Protocol):
    """What can be made ready before it is needed."""

    async def warm_up(self) -> None: ...


W = TypeVar("W", bound=Warmable)


async def warm_all(engines: Sequence[Guarded[W]], now_s: Callable[[], float]) -> None:
    """Make all of them ready; the breaker of one that cannot be had learns it. Raises EngineUnavailable if none can."""
    failures: list[EngineUnavailable] = []
    for guarded in engines:
        try:
            await guarded.engine.warm_up()
        except EngineUnavailable as error:
            guarded.breaker.failed(error, now_s())
            failures.append(error)
    if len(failures) == len(engines):
        raise failures[0]


GuardedStage = Stage | Literal["llm"]
"""Where in the conversation somebody may step in."""


@dataclass(frozen=True, slots=True)
class Degradation:
    """Who works in whose place from now on; ``error`` is ``None`` when the preferred engine is back."""

    stage: GuardedStage
    provider: str
    instead: str
    error: Exception | None


OnDegraded = Callable[[Degradation], None]


class DegradationTeller:
    """Tells one session of changes, each once."""

    def __init__(self, stage: GuardedStage, preferred: str, on_degraded: OnDegraded) -> None:
        self._stage: GuardedStage = stage
        self._preferred = preferred
        self._on_degraded = on_degraded
        self._using = 0

    def uses(self, number: int, provider: str, error: Exception | None) -> None:
        """This engine does the work now (0 is the preferred one); ``error`` is why not the preferred one."""
        if number == self._using:
            return
        self._using = number
        self._on_degraded(Degradation(self._stage, self._preferred, provider, error if number else None))


def nobody_told(_: Degradation) -> None:
    """For callers that do not care."""
