"""A circuit breaker: whether an engine that failed of late is worth asking.

Pure: time is passed in, so one breaker may be shared by all sessions and tested without waiting. Knows no engine.
Driven by the fallback engines (``audio.stt.fallback``, ``audio.tts.fallback``).

=========  ===========================================  ======================================================
state      asked                                        leaves it
=========  ===========================================  ======================================================
closed     always                                       ``failures`` in a row, or one that will not mend: open
open       never                                        after the pause: half-open
half-open  one probe at a time                          probe succeeded: closed; failed: open, twice as long
=========  ===========================================  ======================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from audio.errors import EngineError


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


class CircuitBreaker:
    """One engine's breaker. Not thread-safe: all its callers share an event loop."""

    def __init__(self, options: BreakerOptions | None = None) -> None:
        self._options = options or BreakerOptions()
        self._failures = 0
        self._pause_s = self._options.pause_s
        self._open_until_s: float | None = None
        self._probe_since_s: float | None = None
        self.last_error: EngineError | None = None
        """Why it is not trusted; ``None`` once it worked again."""

    def state(self, now_s: float) -> BreakerState:
        """What it would answer now."""
        if self._open_until_s is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now_s < self._open_until_s else BreakerState.HALF_OPEN

    def admits(self, now_s: float) -> bool:
        """Whether to ask the engine now; a half-open breaker counts this as its probe."""
        match self.state(now_s):
            case BreakerState.CLOSED:
                return True
            case BreakerState.OPEN:
                return False
            case BreakerState.HALF_OPEN:
                since_s = self._probe_since_s
                if since_s is not None and now_s - since_s < self._options.probe_limit_s:
                    return False
                self._probe_since_s = now_s
                return True

    def succeeded(self) -> None:
        """The engine did its work."""
        self._failures = 0
        self._pause_s = self._options.pause_s
        self._open_until_s = self._probe_since_s = None
        self.last_error = None

    def failed(self, error: EngineError, now_s: float) -> None:
        """The engine failed. What will not mend by itself, and what names a pause (Retry-After), opens at once."""
        self._failures += 1
        self.last_error = error
        was_probe, self._probe_since_s = self._probe_since_s is not None, None
        final = not error.retryable or error.retry_after_s is not None
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
