"""Audio that travels beside a session's messages: the seam to WebRTC and, later, to telephony.

A port only. Samples are mono int16.
"""

from __future__ import annotations

from typing import Protocol

from audio.formats import Samples


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
