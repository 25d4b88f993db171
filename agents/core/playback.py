"""What the user has been hearing lately: the agent's own sound on the session's clock, and its words.

Owns the last seconds of what was sent and when each 20 ms of it was played, as the playout ledger has it. Their levels
are measured only where somebody asks: most conversations have no echo, and nobody asks. Knows no microphone. Owned by
``agents.core.writer``, which tells it what is sent and, before anything changes it, how far playing has come.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from audio.echo import FRAME_MS, Levels, band_levels, silent_levels
from audio.formats import Samples, ms_to_samples
from audio.playout import PlayoutLedger

KEPT_MS: Final = 5_000
"""How far back one may ask: a window of speech, the longest way of an echo, and both as late as they may come."""
KEPT_REPLIES: Final = 3
SAID_FOR_MS: Final = 8_000
"""How long the words of a reply that is over may still come back, as a transcript."""
_KEPT_CHARACTERS: Final = 600


class _Block:
    """What was sent at once. ``start`` is its position in its turn."""

    def __init__(self, start: int, samples: Samples, rate_hz: int, before: Samples | None) -> None:
        self.start = start
        self.end = start + len(samples)
        self.samples = samples
        self._rate_hz = rate_hz
        self._before = before
        self._levels: Levels | None = None

    def level_at(self, position: int) -> Levels:
        """The level of the frame that sounds at a position of the turn."""
        if self._levels is None:
            self._levels = band_levels(self._whole_frames(), self._rate_hz, self._before)
            self._before = None
        return self._levels[(position - self.start) // ms_to_samples(FRAME_MS, self._rate_hz)]

    def _whole_frames(self) -> Samples:
        frame = ms_to_samples(FRAME_MS, self._rate_hz)
        return np.pad(self.samples, (0, -len(self.samples) % frame))


@dataclass(frozen=True, slots=True)
class Played:
    """What had been played ``ago_ms`` ago."""

    playback: Playback
    ago_ms: int

    def levels(self, frames: int, behind: int = 0) -> Levels:
        """See ``Playback.levels``."""
        return self.playback.levels(frames, self.ago_ms // FRAME_MS + behind)


class Playback:
    """The playing of one session's agent. All times are ms of the writer's clock."""

    def __init__(self) -> None:
        self._blocks: list[_Block] = []
        self._frames: deque[tuple[_Block, int] | None] = deque(maxlen=KEPT_MS // FRAME_MS)
        self._next_frame = 0
        self._position = 0
        self._last_played_ms: int | None = None
        self._said: deque[tuple[int, str]] = deque(maxlen=KEPT_REPLIES)

    def begin(self) -> None:
        """Another turn speaks, from position 0."""
        self._blocks.clear()
        self._position = 0

    def sent(self, start: int, samples: Samples, rate_hz: int) -> None:
        """``samples`` go out as the turn's audio from ``start`` on; what was sent of that before was not played."""
        while self._blocks and self._blocks[-1].end > start:
            self._blocks.pop()
        before = self._blocks[-1].samples if self._blocks and self._blocks[-1].end == start else None
        self._blocks.append(_Block(start, samples, rate_hz, before))
        self._position = min(self._position, start)

    def advance(self, ledger: PlayoutLedger | None, now_ms: int) -> None:
        """Note what was played until ``now_ms``: to be told before the ledger learns of anything that changes that."""
        end = now_ms // FRAME_MS
        self._next_frame = max(self._next_frame, end - KEPT_MS // FRAME_MS)
        while self._next_frame < end:
            self._next_frame += 1
            self._frames.append(self._played_by(ledger, self._next_frame * FRAME_MS))
        self._forget()

    def ended(self, text: str, now_ms: int) -> None:
        """A turn is over; ``text`` is what was heard of it."""
        self._said.append((now_ms, text[-_KEPT_CHARACTERS:]))
        self.begin()

    def plays(self, now_ms: int, within_ms: int) -> bool:
        """Whether anything was played in the last ``within_ms``, as far as was noted."""
        return self._last_played_ms is not None and now_ms - self._last_played_ms <= within_ms

    def levels(self, frames: int, behind: int = 0) -> Levels:
        """The levels of the last ``frames`` that were noted, but for the last ``behind``."""
        levels = silent_levels(frames)
        newest = len(self._frames) - 1 - behind
        for back in range(min(frames, newest + 1)):
            played = self._frames[newest - back]
            if played is not None:
                block, position = played
                levels[frames - 1 - back] = block.level_at(position)
        return levels

    def words(self, now_ms: int) -> list[str]:
        """What the turns before this one said lately."""
        return [text for at_ms, text in self._said if now_ms - at_ms <= SAID_FOR_MS]

    def _played_by(self, ledger: PlayoutLedger | None, at_ms: int) -> tuple[_Block, int] | None:
        """What sounded in the frame that ends at ``at_ms``."""
        if ledger is None or not self._blocks:
            return None
        before, self._position = self._position, ledger.heard_samples(at_ms)
        at = bisect_right(self._blocks, self._position - 1, key=lambda block: block.start) - 1
        if self._position <= before or at < 0 or self._position > self._blocks[at].end:
            return None
        self._last_played_ms = at_ms
        block = self._blocks[at]
        return block, max(block.start, before)

    def _forget(self) -> None:
        """What was played is held by its frames alone."""
        while len(self._blocks) > 2 and self._blocks[1].end < self._position:
            del self._blocks[0]
