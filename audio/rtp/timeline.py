"""Where a sender's stream stands, in its own timestamps and in samples made of it, against the receiver's clock.

The one place that decides how many samples a stretch is worth: a position in timestamps is worth
``(position - origin) * sample_rate / clock_rate`` samples, so rounding never adds up. Time is passed in. Pure;
driven by ``audio.rtp.voice_stream``.
"""

from __future__ import annotations

from typing import Final

from audio.rtp.packet import signed_distance

_WINDOW_MS: Final = 5_000.0
"""How long the shortest transit is remembered: clocks drift apart by less than a millisecond in it."""


class Timeline:
    """Positions of one stream. ``clock_hz`` is that of its timestamps; one rate is a multiple of the other."""

    def __init__(self, clock_hz: int, sample_rate_hz: int) -> None:
        self._units_per_ms = clock_hz / 1_000
        self._clock_hz = clock_hz
        self._rate_hz = sample_rate_hz
        self._origin = 0
        self._made = 0
        self._best: float | None = None
        self._best_before: float | None = None
        self._window_ends_ms = 0.0
        self.position = 0
        """Timestamp, no longer wrapping, up to which samples have been made."""

    @property
    def made(self) -> int:
        """Samples made in all."""
        return self._made

    def extend(self, timestamp: int) -> int:
        """A 32-bit timestamp as a position, near where the stream stands."""
        return self.position + signed_distance(timestamp, self.position & 0xFFFFFFFF, 32)

    def restart(self, position: int) -> None:
        """The stream goes on from another place in its timestamps: nothing is owed for the way there."""
        self.position = position
        self._origin = position - self._made * self._clock_hz // self._rate_hz
        self._best = self._best_before = None

    def shift(self, position: int) -> None:
        """Count what was made so far as having come before ``position``; transit is kept."""
        self.position = position
        self._origin = position - self._made * self._clock_hz // self._rate_hz

    def advance(self, position: int) -> int:
        """Go on to ``position``: how many samples that takes, none where it was reached already."""
        if position <= self.position:
            return 0
        self.position = position
        count = (position - self._origin) * self._rate_hz // self._clock_hz - self._made
        self._made += count
        return count

    def arrived(self, position: int, now_ms: float) -> None:
        """A packet that starts at ``position`` has come: the shortest transit is what others are measured by."""
        transit = now_ms * self._units_per_ms - position
        if self._best is None or now_ms >= self._window_ends_ms:
            self._best_before, self._best = self._best, transit
            self._window_ends_ms = now_ms + _WINDOW_MS
        else:
            self._best = min(self._best, transit)

    def due(self, now_ms: float, slack_ms: float) -> int:
        """The position whose packet, had there been one, would have come at least ``slack_ms`` ago."""
        known = [transit for transit in (self._best, self._best_before) if transit is not None]
        if not known:
            return self.position
        return int((now_ms - slack_ms) * self._units_per_ms - min(known))
