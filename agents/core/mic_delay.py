"""How much later than usual the microphone is heard just now: a server that is busy, or a network that stalls.

Sound is compared with what was played when it was taken, not when its turn to be heard came. Owns how far the clock was
ahead of the audio lately: the least of that is the usual, what is more is late. Knows no sound. Owned by
``agents.core.echo_guard``, which tells it of every chunk. Milliseconds of audio heard, and of the clock by which the
agent's voice is played.
"""

from __future__ import annotations

from collections import deque
from typing import Final

USUAL_WITHIN_MS: Final = 2_000
"""What was the least for so long is the usual: who mutes a microphone and goes on is not late for longer."""
PAUSED_MS: Final = 1_000
"""After so long without any audio nothing is known: it may have been muted."""
MOST_MS: Final = 1_000
STEADY_MS: Final = 60
"""So much is any network's, or any client's chunks."""
MOST_UNSTEADY_MS: Final = 600


class MicDelay:
    """One microphone's. ``late_ms`` is how late it is heard now, ``unsteady_ms`` how much that changed lately; 0 where
    it is as steady as ever. What is on its way to the client may be as late again."""

    def __init__(self) -> None:
        self._least: deque[tuple[int, int]] = deque()  # when, and how far ahead; rising
        self._most: deque[tuple[int, int]] = deque()  # falling
        self._heard_at_ms: int | None = None
        self.late_ms = 0
        self.unsteady_ms = 0

    def heard(self, heard_ms: int, clock_ms: int) -> None:
        """Audio up to ``heard_ms`` is heard now."""
        ahead_ms, least, most = clock_ms - heard_ms, self._least, self._most
        if self._heard_at_ms is not None and clock_ms - self._heard_at_ms >= PAUSED_MS:
            least.clear()
            most.clear()
        self._heard_at_ms = clock_ms
        while least and least[-1][1] >= ahead_ms:
            least.pop()
        while most and most[-1][1] <= ahead_ms:
            most.pop()
        for kept in (least, most):
            kept.append((clock_ms, ahead_ms))
            while kept[0][0] < clock_ms - USUAL_WITHIN_MS:
                kept.popleft()
        self.late_ms = min(MOST_MS, ahead_ms - least[0][1])
        spread_ms = most[0][1] - least[0][1]
        self.unsteady_ms = min(MOST_UNSTEADY_MS, spread_ms) if spread_ms > STEADY_MS else 0
