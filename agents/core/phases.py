"""Who has the floor: the phases of the turn machine and its whole state, as a closed union of frozen values.

Owned by ``agents.core.machine``, which alone makes one from another; its events and effects are in ``turn_types``.
Times are whole milliseconds of the session's audio; ``turn`` and ``utterance`` are ordinals that never repeat in a
session.
"""

from __future__ import annotations

from dataclasses import dataclass

from agents.core.endpoint_pauses import NO_HABIT, PauseHabit
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

    ``timer`` is the endpoint timer that counts; ``hint`` the end-of-turn model's probability, once known; ``failed``:
    this pause was not recognised.
    """

    utterance: int
    stopped_ms: int
    timer: int
    partial: str = ""
    text: str | None = None
    hint: float | None = None
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Speculating:
    """As ``Settling``, with the transcript known and a draft reply in the making, unheard until the turn is certain.

    ``ready``: there is something of it to be heard. ``over_ms``: since when silence says that the turn is over and only
    the draft is waited for; ``timer`` then ends that wait.
    """

    utterance: int
    stopped_ms: int
    timer: int
    text: str
    turn: int
    hint: float | None = None
    ready: bool = False
    over_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Transcribing:
    """The turn is over, its transcript is not there yet. ``partial`` serves if it comes late or never.

    ``rest_ms`` is how much longer words are waited for where there are none when the timer fires; ``late``: this is
    that wait, and the first words end it. ``by_hand``: the client ended it, and nobody goes on.
    """

    utterance: int
    stopped_ms: int
    timer: int
    partial: str = ""
    rest_ms: int = 0
    late: bool = False
    by_hand: bool = False


@dataclass(frozen=True, slots=True)
class Replying:
    """The agent answers: thinking (``started`` is false), or speaking, since ``since_ms`` if that is known. ``owed``:
    something was said meanwhile that is to be answered next."""

    turn: int
    source: Source = "speech"
    started: bool = False
    filler_timer: int | None = None
    owed: bool = False
    since_ms: int | None = None


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
    user is silent again and the verdict depends on the transcript. ``early``: the reply has hardly begun, so who speaks
    goes on with what they were saying and takes the turn back. ``timer`` is the one that counts now. Where the agent
    may not be interrupted it is that of the end of the user's turn, which is answered once the agent has finished;
    ``text`` is its transcript, once known. ``yielding`` is the timer that limits how long the agent finishes its clause
    before it stops; ``said`` is what was recognised meanwhile and made it an interruption.
    """

    reply: Replying | Filling
    utterance: int
    since_ms: int
    timer: int
    held: bool = False
    stopped_ms: int | None = None
    text: str | None = None
    early: bool = False
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
class GoneOn:
    """The user took a turn back and goes on with it: ``text`` is said already, the rest comes in this utterance."""

    utterance: int
    text: str


@dataclass(frozen=True, slots=True)
class State:
    """The machine's whole state: the phase, the next unused ordinals, what a late correction may concern, how long the
    speaker's pauses are, and what a turn that was taken back began with.

    ``bound`` is the last turn that began what cannot be taken back (a tool with effects). ``spoken_ms`` is where the
    last speech of the open utterance ended (0 while it runs), ``reach_ms`` how far its words go that are known.
    """

    phase: Phase = Listening()
    next_turn: int = 1
    next_timer: int = 1
    understood: Understood | None = None
    bound: int | None = None
    habit: PauseHabit = NO_HABIT
    gone_on: GoneOn | None = None
    spoken_ms: int = 0
    reach_ms: int = 0
