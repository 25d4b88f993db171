"""The end-of-turn port: does this audio sound finished? A hint for the turn machine, never a gate."""

from __future__ import annotations

from typing import Protocol

from audio.formats import Samples


class EndOfTurnModel(Protocol):
    """A model that listens to an utterance's last seconds. Shared by all sessions."""

    async def warm_up(self) -> None:
        """Load and run once. Raises EngineUnavailable."""
        ...

    async def probability(self, samples: Samples) -> float:
        """Probability (0-1) that the speaker has finished, from 16 kHz mono audio (the last 8 s count).

        Raises EngineError.
        """
        ...
