"""Both sides of a call as one stereo track: the caller left, the agent right, as it was sent. Pure.

The caller's audio is the clock: what the agent says waits here as long as it waits on its way to the caller, and what
is cleared before it has sounded is never on the track. Where the line brings nothing, time passes by ``until``. Driven
by ``server.telephony.recording.call``.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

from audio.codecs.resample import StreamResampler
from audio.formats import Samples

MOST_AHEAD_S: Final = 60
"""Of the agent's voice, how much may wait; the newest is dropped."""
LAG_S: Final = 0.4
"""How far the caller's audio may be behind the clock before silence stands in for it."""


class StereoTrack:
    """One call's, at one rate."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._data = bytearray()
        self._frames = 0
        self._waiting: deque[Samples] = deque()
        self._waiting_samples = 0
        self._resamplers: dict[tuple[str, int], StreamResampler] = {}

    def caller(self, samples: Samples, rate_hz: int) -> None:
        """The next of the caller's voice."""
        self._add(self._at_rate("caller", samples, rate_hz))

    def agent(self, samples: Samples, rate_hz: int) -> None:
        """The next of the agent's voice, ahead of when it is heard."""
        samples = self._at_rate("agent", samples, rate_hz)
        if self._waiting_samples + len(samples) <= MOST_AHEAD_S * self.rate_hz:
            self._waiting.append(samples)
            self._waiting_samples += len(samples)

    def clear(self) -> None:
        """What waits of the agent's voice is not heard."""
        self._waiting.clear()
        self._waiting_samples = 0

    def until(self, elapsed_s: float) -> None:
        """So long the track has to be by now, but for ``LAG_S``."""
        missing = round((elapsed_s - LAG_S) * self.rate_hz) - self._frames
        if missing > 0:
            self._add(np.zeros(missing, np.int16))

    def take(self) -> bytes:
        """The frames since the last call: 16 bits, little-endian, left and right in turn."""
        data, self._data = bytes(self._data), bytearray()
        return data

    @property
    def waiting_bytes(self) -> int:
        """What ``take`` would give."""
        return len(self._data)

    def _add(self, left: Samples) -> None:
        frames = np.empty((len(left), 2), "<i2")
        frames[:, 0] = left
        self._fill(frames[:, 1])
        self._data += frames.tobytes()
        self._frames += len(left)

    def _fill(self, right: np.ndarray) -> None:
        """The agent's voice of that time, and silence behind it."""
        at = 0
        while at < len(right) and self._waiting:
            samples = self._waiting.popleft()
            some = samples[: len(right) - at]
            right[at : at + len(some)] = some
            at += len(some)
            if len(some) < len(samples):
                self._waiting.appendleft(samples[len(some) :])
        self._waiting_samples -= at
        right[at:] = 0

    def _at_rate(self, side: str, samples: Samples, rate_hz: int) -> Samples:
        if rate_hz == self.rate_hz:
            return samples
        key = (side, rate_hz)
        if key not in self._resamplers:
            self._resamplers[key] = StreamResampler(rate_hz, self.rate_hz)
        return self._resamplers[key].process(samples)
