"""Audio that travels beside a session's messages: the seam to WebRTC and, later, to telephony.

The port, and what is kept of the agent's voice while nothing carries it. Samples are mono int16.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

from agents.events import AudioOut
from audio.formats import Samples, samples_to_ms

KEPT_MS: Final = 5_000


class VoiceSink(Protocol):
    """Takes the agent's voice. All methods return at once."""

    def play(self, samples: Samples, rate_hz: int) -> None:
        """More of the agent's voice, a little ahead of when it is heard."""
        ...

    def finish(self) -> None:
        """The turn's audio is complete."""
        ...

    def clear(self) -> None:
        """Silence now: what was not sent yet is dropped."""
        ...


class VoiceBacklog:
    """The newest seconds of the agent's voice, while nobody is there to hear it."""

    def __init__(self) -> None:
        self._events: deque[AudioOut] = deque()
        self._ms = 0

    def add(self, event: AudioOut) -> None:
        """One more stretch; the oldest make room."""
        self._events.append(event)
        self._ms += _length_ms(event)
        while self._ms > KEPT_MS:
            self._ms -= _length_ms(self._events.popleft())

    def clear(self) -> None:
        """None of it is wanted any more."""
        self._events.clear()
        self._ms = 0

    def take(self) -> list[AudioOut]:
        """All of it, oldest first."""
        taken = list(self._events)
        self.clear()
        return taken


def _length_ms(event: AudioOut) -> int:
    return samples_to_ms(len(event.samples), event.sample_rate_hz)
