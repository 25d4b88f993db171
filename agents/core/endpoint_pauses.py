"""How long this speaker pauses inside a turn, learnt within the session.

A frozen value of the turn machine's state: pure, bounded, on the audio's clock. ``agents.core.machine`` feeds it every
edge of speech, ``agents.core.endpoint_wait`` reads its ``scale``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median_high
from typing import Final

REMEMBERED: Final = 12
ENOUGH: Final = 3
"""Fewer pauses than this say nothing of a speaker."""
SHORTEST_MS: Final = 180
"""Shorter silences are sounds of words (a stop before it bursts), not pauses."""
LONGEST_MS: Final = 1_500
"""Longer ones are turns of their own."""
TYPICAL_MS: Final = 450
"""The median pause of the recordings the waits were chosen on."""
SCALES: Final = (1.0, 1.6)
"""Learning only ever adds patience: the pauses one sees are the short ones, a longer one ended the turn."""


@dataclass(frozen=True, slots=True)
class PauseHabit:
    """The last pauses of one speaker, oldest first, and where the silence that runs began (ms of audio)."""

    pauses_ms: tuple[int, ...] = ()
    stopped_ms: int | None = None

    def stopped(self, at_ms: int) -> PauseHabit:
        """Speech paused."""
        return replace(self, stopped_ms=at_ms)

    def resumed(self, at_ms: int) -> PauseHabit:
        """Speech goes on, or begins: soon after the last it was a pause, whatever was made of it meanwhile."""
        if self.stopped_ms is None:
            return self
        pause_ms = at_ms - self.stopped_ms
        if not SHORTEST_MS <= pause_ms <= LONGEST_MS:
            return replace(self, stopped_ms=None)
        return PauseHabit((*self.pauses_ms, pause_ms)[-REMEMBERED:])

    @property
    def scale(self) -> float:
        """What this speaker's waits are multiplied with: 1.0 until enough is known, then their median pause against
        a typical one, within bounds."""
        if len(self.pauses_ms) < ENOUGH:
            return 1.0
        low, high = SCALES
        return min(high, max(low, median_high(self.pauses_ms) / TYPICAL_MS))


NO_HABIT: Final = PauseHabit()
"""A speaker who has not paused yet."""
