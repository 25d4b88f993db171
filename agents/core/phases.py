"""Who has the floor: the phases of the turn machine and its whole state, as a closed union of frozen values.

Owned by ``agents.core.machine``, which alone makes one from another; its events and effects are in ``turn_types``.
Times are whole milliseconds of the session's audio; ``turn`` and ``utterance`` are ordinals that never repeat in a
session.
"""

from __future__ import annotations

from dataclasses import dataclass

from agents.core.turn_types import Source, TranscriptArrived


@dataclass(frozen=True, slots=True)
class Listening:
    """Nobody speaks. ``idle_timer`` ends a silence that is too long for a conversation."""

    idle_timer: int | None = None


@dataclass(frozen=True, slots=True)
class UserSpeaking:
    """The user speaks. ``text`` is the best transcript so far."""

    utterance: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Settling:
    """The user paused at ``stopped_ms``; the turn is not certain. ``text`` is ``None`` until this pause's transcript.

    ``timer`` is the endpoint timer that counts; ``hint`` the end-of-turn model's probability, once known.
    """

    utterance: int
    stopped_ms: int
    timer: int
    partial: str = ""
    text: str | None = None
    hint: float | None = None


@dataclass(frozen=True, slots=True)
class Speculating:
    """As ``Settling``, with the transcript known and a draft reply in the making, unheard until the turn is certain."""

    utterance: int
    stopped_ms: int
    timer: int
    text: str
    turn: int
    hint: float | None = None


@dataclass(frozen=True, slots=True)
class Transcribing:
    """The turn is certain, its transcript is not there yet. ``partial`` serves if it never comes."""

    utterance: int
    stopped_ms: int
    timer: int
    partial: str = ""


@dataclass(frozen=True, slots=True)
class Replying:
    """The agent answers: thinking (``started`` is false), or speaking. ``owed``: something was said meanwhile that is
    to be answered next."""

    turn: int
    source: Source = "speech"
    started: bool = False
    filler_timer: int | None = None
    owed: bool = False


@dataclass(frozen=True, slots=True)
class Filling:
    """The answer is late and the agent says so, once, until it starts."""

    turn: int
    source: Source = "speech"
    owed: bool = False


@dataclass(frozen=True, slots=True)
class Overlap:
    """The user makes a sound while the agent speaks.

    ``held`` means speech is held, waiting to learn whether it was an interruption; ``stopped_ms`` is set while the
    user is silent again and the verdict depends on the transcript. ``timer`` is the one that counts now. Where the
    agent may not be interrupted it is that of the end of the user's turn, which is answered once the agent has
    finished; ``text`` is its transcript, once known. ``yielding`` is the timer that limits how long the agent finishes
    its clause before it stops; ``said`` is what was recognised meanwhile and made it an interruption.
    """

    reply: Replying | Filling
    utterance: int
    since_ms: int
    timer: int
    held: bool = False
    stopped_ms: int | None = None
    text: str | None = None
    yielding: int | None = None
    said: TranscriptArrived | None = None


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is over; nothing has any effect."""


Phase = Listening | UserSpeaking | Settling | Speculating | Transcribing | Replying | Filling | Overlap | Closed


@dataclass(frozen=True, slots=True)
class Understood:
    """What the user's last utterance was taken to say; ``turn`` answers it, ``None`` where nobody does by itself."""

    utterance: int
    text: str
    stopped_ms: int
    turn: int | None


@dataclass(frozen=True, slots=True)
class State:
    """The machine's whole state: the phase, the next unused ordinals, and what a late correction may concern.

    ``bound`` is the last turn that began what cannot be taken back (a tool with effects).
    """

    phase: Phase = Listening()
    next_turn: int = 1
    next_timer: int = 1
    understood: Understood | None = None
    bound: int | None = None
