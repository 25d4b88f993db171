"""The microphone while an echo is known: closed to what is no louder than it, open to somebody who is.

Owns the level the echo is expected at, moment by moment, and whether somebody speaks above it. Knows no transcripts
and no turns. Fed by ``agents.core.echo_guard`` in frames of 20 ms.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

from audio.echo import Levels, silent_levels

MARGIN_DB: Final = 6.0
"""How much louder than the echo a band is that somebody else fills."""
FILLED_BANDS: Final = 3
"""A voice fills this many; an echo that was misjudged in a band or two is still an echo (docs/performance.md)."""
DECAY_DB: Final = 1.5
"""What a room lets go of in a frame, at most: 75 dB a second, a reverberation of 0.8 s."""
RECENT: Final = 8
ABOVE: Final = 4
"""Of the ``RECENT`` frames this many are above the echo before the microphone opens: 80 ms of a voice."""
HANG_FRAMES: Final = 15
"""Between words a voice is no louder than anything; for 300 ms it still has the microphone."""
NOISE_DB: Final = -64.0
"""A room's own noise in a band is no speaker, however faint the echo."""
SILENT_DB: Final = -72.0
"""An echo that is below this in every band is none: the microphone is simply open."""


LEARNING: Final = 0.02
"""How fast the level the echo usually has is learnt, in a frame: a second. Who is more quiet does not speak up."""
_SILENT_POWER: Final = 10.0 ** (SILENT_DB / 10.0)


class EchoGate:
    """Decides frame by frame. Levels and gains are those of one frame's bands, in dB."""

    def __init__(self) -> None:
        self._expected_db = silent_levels(1)[0]
        self._echo_power = 0.0
        self._above: deque[bool] = deque(maxlen=RECENT)
        self._since_above = HANG_FRAMES

    def passes(self, near_db: Levels, played_db: Levels, gains_db: Levels) -> bool:
        """Whether a frame at ``near_db`` is let through; ``played_db`` is the loudest of what may come back in it."""
        self._expected_db = np.maximum(self._expected_db - np.float32(DECAY_DB), played_db + gains_db)
        filled = near_db > np.maximum(self._expected_db, np.float32(NOISE_DB)) + np.float32(MARGIN_DB)
        echo = _power(played_db + gains_db)
        if echo > _SILENT_POWER:
            self._echo_power += LEARNING * (echo - self._echo_power) if self._echo_power else echo
        above = int(np.count_nonzero(filled)) >= FILLED_BANDS and _power(near_db) > self._echo_power
        self._above.append(above)
        goes_on = above and self._since_above < HANG_FRAMES
        self._since_above = 0 if self.speaker_above or goes_on else self._since_above + 1
        return self._since_above < HANG_FRAMES or float(np.max(self._expected_db)) < SILENT_DB

    @property
    def speaker_above(self) -> bool:
        """Whether somebody is speaking over the echo just now."""
        return sum(self._above) >= ABOVE


def _power(levels: Levels) -> float:
    return float(np.sum(np.power(10.0, levels / 10.0)))
