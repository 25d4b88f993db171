"""The agent's voice on its way to a leg, with an ear to it: ``server.sessions.media.VoiceSink`` for a recorded call."""

from __future__ import annotations

from typing import Protocol

from audio.formats import Samples
from server.sessions.media import VoiceSink


class Ear(Protocol):
    """Hears what the agent says."""

    def play(self, samples: Samples, rate_hz: int) -> None: ...

    def clear(self) -> None: ...


class HeardVoice:
    """Whatever ``sink`` is told, ``ear`` is told, too."""

    def __init__(self, sink: VoiceSink, ear: Ear) -> None:
        self._sink = sink
        self._ear = ear

    def play(self, samples: Samples, rate_hz: int) -> None:
        """More of the agent's voice."""
        self._ear.play(samples, rate_hz)
        self._sink.play(samples, rate_hz)

    def finish(self) -> None:
        """The turn's audio is complete."""
        self._sink.finish()

    def clear(self) -> None:
        """Silence now."""
        self._ear.clear()
        self._sink.clear()
