"""What one conversation may spend: the port by which turns ask before any provider is called, and what they are told.

Owns the port and its values; knows no limits and no prices. Whoever composes the session hands in an implementation
(``Engines.spending``; ``None``: nothing is asked), which reserves ahead, so that asking costs no time, and settles by
the usage events the session records. Asked by ``agents.core.answering`` before the first call of a turn, by
``agents.core.hearing`` before audio is recognised, and by the turn desk, which engines a turn is to have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Most:
    """The most a turn may take of a model and a voice: the tokens of its prompt and its answer, the rounds in which
    they may be asked for, and characters to speak besides. What is only recited asks no model: no tokens."""

    input_tokens: int = 0
    output_tokens: int = 0
    rounds: int = 1
    characters: int = 0


@dataclass(frozen=True, slots=True)
class Denied:
    """A turn that may not be: the contract's code, a sentence in the session's language, whether later may help.

    ``audible``: the sentence may be spoken; else it can only be read, because the voice costs what there is not.
    """

    code: str
    message: str
    retryable: bool = False
    details: Mapping[str, Any] | None = None
    audible: bool = True


@dataclass(frozen=True, slots=True)
class Admission:
    """What a turn is told. ``asks`` is said instead of an answer: whether to go on, which the user may answer."""

    denied: Denied | None = None
    asks: str | None = None


class Spending(Protocol):
    """One session's purse. All calls on the event loop. Warnings go to the client by a way of its own."""

    @property
    def thrifty(self) -> bool:
        """Whether turns are to have the cheapest engines from now on. A plain read, without waiting."""
        ...

    @property
    def denied(self) -> Denied | None:
        """Why speech is not recognised now; ``None``: it is."""
        ...

    def affords(self, samples: int) -> bool:
        """Whether so much more audio (samples at 16 kHz) may be recognised; it is counted where it may. Never waits."""
        ...

    async def admit(self, turn_id: str, text: str, most: Most) -> Admission:
        """Reserve what a turn may take; ``text`` is what the user said, and may be an answer to ``asks``.

        Returns within a limit, whatever keeps the accounts.
        """
        ...

    def dropped(self, turn_id: str) -> None:
        """A draft came to nothing; what it took is in the next usage event."""
        ...
