"""A circuit breaker: whether an engine that failed of late is worth asking.

Pure: time is passed in, so one breaker may be shared by all sessions and tested without waiting. Knows no engine: the
same one guards speech engines and language models. Driven by those who have somebody to ask instead
(``audio.stt.fallback``, ``audio.tts.fallback``, ``agents.models.fallback``).

=========  ===========================================  ======================================================
state      asked                                        leaves it
=========  ===========================================  ======================================================
closed     always                                       ``failures`` in a row, or one that will not mend: open
open       never                                        after the pause: half-open
half-open  one probe at a time                          probe succeeded: closed; failed: open, twice as long
=========  ===========================================  ======================================================

Apart from that it rests (open, without a failure) while its service has said that nothing is left of its quota.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Generic, Protocol, TypeVar

from audio.errors import EngineError


class BreakingError(Protocol):
    """What a breaker must know of a failure: whether it may mend by itself, and how long it is best left alone."""

    retryable: ClassVar[bool]

    @property
    def retry_after_s(self) -> float | None: ...


F = TypeVar("F", bound=BreakingError)


class BreakerState(Enum):
    """See the module."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class BreakerOptions:
    """``failures`` in a row open it; pauses grow from ``pause_s`` to ``longest_pause_s``."""

    failures: int = 3
    pause_s: float = 5.0
    longest_pause_s: float = 120.0
    probe_limit_s: float = 30.0
    """A probe nobody reported on is given up after this, so that another may be sent."""


class Breaker(Generic[F]):
    """One engine's or model's breaker; its failures are ``F``. Not thread-safe: all its callers share an event loop."""

    def __init__(self, options: BreakerOptions | None = None) -> None:
        self._options = options or BreakerOptions()
        self._failures = 0
        self._pause_s = self._options.pause_s
        self._open_until_s: float | None = None
        self._probe_since_s: float | None = None
        self._spent: F | None = None
        self._spent_until_s = 0.0
        self.last_error: F | None = None
        """Why it is not trusted; ``None`` once it worked again."""

    def state(self, now_s: float) -> BreakerState:
        """What it would answer now."""
        if self._rests(now_s):
            return BreakerState.OPEN
        if self._open_until_s is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now_s < self._open_until_s else BreakerState.HALF_OPEN

    def admits(self, now_s: float) -> bool:
        """Whether to ask the engine now; a half-open breaker counts this as its probe."""
        if not self.would_admit(now_s):
            return False
        if self.state(now_s) is BreakerState.HALF_OPEN:
            self._probe_since_s = now_s
        return True

    def would_admit(self, now_s: float) -> bool:
        """What ``admits`` would say, without counting."""
        match self.state(now_s):
            case BreakerState.CLOSED:
                return True
            case BreakerState.OPEN:
                return False
            case BreakerState.HALF_OPEN:
                since_s = self._probe_since_s
                return since_s is None or now_s - since_s >= self._options.probe_limit_s

    def reason(self, now_s: float) -> F | None:
        """Why it would not be asked now, or is not trusted."""
        return self._spent if self._rests(now_s) else self.last_error

    def opens_in_s(self, now_s: float) -> float:
        """How long until it may be asked again; 0 where it may be asked now."""
        until_s = max(self._spent_until_s, self._open_until_s or 0.0)
        return max(0.0, until_s - now_s)

    def succeeded(self) -> None:
        """The engine did its work."""
        self._failures = 0
        self._pause_s = self._options.pause_s
        self._open_until_s = self._probe_since_s = None
        self.last_error = None

    def spent(self, error: F, now_s: float) -> None:
        """It works, but has said that nothing is left until ``error.retry_after_s`` from now."""
        until_s = now_s + (error.retry_after_s or 0.0)
        if until_s >= self._spent_until_s:
            self._spent, self._spent_until_s = error, until_s

    def failed(self, error: F, now_s: float, *, at_once: bool = False) -> None:
        """The engine failed. What will not mend by itself, and what names a pause (Retry-After), opens at once.

        ``at_once`` opens it for any other reason; the pause is the usual one.
        """
        self._failures += 1
        self.last_error = error
        was_probe, self._probe_since_s = self._probe_since_s is not None, None
        final = at_once or not error.retryable or error.retry_after_s is not None
        if not (final or was_probe or self._failures >= self._options.failures):
            return
        if self._open_until_s is not None and now_s < self._open_until_s and error.retry_after_s is None:
            return  # a straggler of the outage that opened it
        pause_s = max(self._pause_s, error.retry_after_s or 0.0)
        self._open_until_s = now_s + pause_s
        self._pause_s = min(self._pause_s * 2, self._options.longest_pause_s)

    def withdrawn(self) -> None:
        """Whoever was admitted did not need the engine after all: another may probe."""
        self._probe_since_s = None

    def _rests(self, now_s: float) -> bool:
        return now_s < self._spent_until_s


CircuitBreaker = Breaker[EngineError]
"""The breaker of a speech engine."""
