"""What fallbacks share: an engine with its breaker, and the word that another had to step in.

One ``Guarded`` per engine and process, so that all sessions learn of an outage from one; a ``Degradation`` per session
and change, so that each can say it once. Driven by ``audio.stt.fallback``, ``audio.tts.fallback`` and
``agents.models.fallback``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar

from audio.breaker import CircuitBreaker
from audio.errors import EngineError, EngineUnavailable, Stage

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


def in_turn(engines: Sequence[Guarded[E]], now_s: Callable[[], float]) -> Iterator[tuple[int, Guarded[E], bool]]:
    """Whom to ask, one after the other, and whether it is the last: those whose breaker admits it by then, and the last
    whatever its breaker says."""
    for number, guarded in enumerate(engines):
        is_last = number == len(engines) - 1
        if guarded.breaker.admits(now_s()) or is_last:
            yield number, guarded, is_last


@contextmanager
def attempt(breaker: CircuitBreaker, now_s: Callable[[], float]) -> Generator[None]:
    """An engine at work: its breaker learns that it succeeded, failed, or was not needed after all."""
    try:
        yield
    except EngineError as failure:
        breaker.failed(failure, now_s())
        raise
    except BaseException:
        breaker.withdrawn()
        raise
    breaker.succeeded()


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
