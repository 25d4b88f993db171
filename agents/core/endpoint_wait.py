"""How long to wait at a pause: what the words and the voice say, weighed, as time between a floor and a ceiling.

Pure; driven by ``agents.core.policy.endpoint_wait_ms``. If pauses inside a turn are about exponentially long, the wait
that costs least (a cut-off against a delay) falls linearly with the log odds that the turn is over, the more steeply
the longer the speaker's pauses are. So evidence is counted in log odds (nats), each signal adds its own, and the
numbers were chosen on other recordings than those they are reported on (tests/load/bench_endpoint.py,
docs/performance.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from agents.core.endpoint_signals import Reading

Eagerness = Literal["low", "auto", "high"]


@dataclass(frozen=True, slots=True)
class Waits:
    """Silence that ends a turn, in ms: at least ``floor_ms``, ``middle_ms`` at even odds, at most ``ceiling_ms``."""

    floor_ms: int
    middle_ms: int
    ceiling_ms: int


READINGS: Final[Mapping[Reading, float]] = MappingProxyType(
    {
        Reading.ANSWER: 3.0,
        Reading.QUESTION: 1.0,
        Reading.SENTENCE: 0.4,
        Reading.FRAGMENT: -1.0,
        Reading.BARE: -1.2,
        Reading.PIECE: -2.5,
        Reading.DANGLING: -3.5,
        Reading.OPEN: -5.5,
    }
)
VOICE_LIMITS: Final = (-2.0, 4.0)
"""A voice that sounds unfinished never holds a turn open to the ceiling by itself."""
NO_VOICE: Final = 1.0
"""Where there is no end-of-turn model (yet), the words count for more."""
SURE: Final = 3.0
"""Evidence at which the floor is enough."""
OPEN: Final = -4.0
"""Evidence at which only the ceiling is."""
EAGERNESS: Final[Mapping[Eagerness, float]] = MappingProxyType({"low": -1.5, "auto": 0.0, "high": 1.5})


def evidence(reading: Reading | None, hint: float | None) -> float:
    """Log odds that the turn is over. ``None`` where a signal is not there (yet)."""
    if reading is None:
        return 0.0 if hint is None else voice(hint)
    return READINGS[reading] + (NO_VOICE if hint is None else voice(hint))


def voice(hint: float) -> float:
    """Log odds of the end-of-turn model's probability, within bounds."""
    kept = min(1.0 - 1e-6, max(1e-6, hint))
    low, high = VOICE_LIMITS
    return max(low, min(high, math.log(kept / (1.0 - kept))))


def wait_ms(odds: float, waits: Waits, eagerness: Eagerness, scale: float) -> int:
    """The wait from the last speech sample.

    ``scale`` is the speaker's own (``PauseHabit.scale``): it stretches doubt, so that a sure end stays quick.
    """
    above_floor = _wanted_ms(odds + EAGERNESS[eagerness], waits) - waits.floor_ms
    return min(waits.ceiling_ms, waits.floor_ms + round(scale * above_floor))


def _wanted_ms(odds: float, waits: Waits) -> float:
    if odds >= 0:
        return waits.middle_ms - (waits.middle_ms - waits.floor_ms) * min(1.0, odds / SURE)
    return waits.middle_ms + (waits.ceiling_ms - waits.middle_ms) * min(1.0, odds / OPEN)
