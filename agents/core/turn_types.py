"""The vocabulary of the turn machine: phases, events and effects, as closed unions of frozen values.

Owned by ``agents.core.machine``, which decides; the session supplies events and carries out effects. Times are whole
milliseconds of the session's audio; ``turn`` and ``utterance`` are ordinals that never repeat within a session.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agents.core.endpoint_pauses import NO_HABIT, PauseHabit

Source = Literal["speech", "text", "announcement", "request", "idle"]
"""What a turn answers: speech, text, nothing (it is only said), the conversation as it stands, or a long silence."""
Purpose = Literal["endpoint", "transcript", "interrupt", "confirm", "verdict", "filler", "idle"]
AbandonReason = Literal["went_on", "changed", "interrupted", "cancelled", "superseded", "closed"]


# --- phases ----------------------------------------------------------------------------------------------------------


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
    finished; ``text`` is its transcript, once known.
    """

    reply: Replying | Filling
    utterance: int
    since_ms: int
    timer: int
    held: bool = False
    stopped_ms: int | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is over; nothing has any effect."""


Phase = Listening | UserSpeaking | Settling | Speculating | Transcribing | Replying | Filling | Overlap | Closed


@dataclass(frozen=True, slots=True)
class State:
    """The machine's whole state: the phase, the next unused ordinals, and how long the speaker's pauses are."""

    phase: Phase = Listening()
    next_turn: int = 1
    next_timer: int = 1
    habit: PauseHabit = NO_HABIT


# --- events ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Voice activity began (or went on, in the same utterance) at ``at_ms``."""

    utterance: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """Voice activity paused; the last speech was at ``at_ms``."""

    utterance: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class TranscriptArrived:
    """Recognition through ``through_ms``; ``flushed`` when it is final for all speech up to there."""

    utterance: int
    text: str
    flushed: bool
    through_ms: int
    now_ms: int
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class TranscriptFailed:
    """Recognition of this utterance failed for good."""

    utterance: int


@dataclass(frozen=True, slots=True)
class HintArrived:
    """The end-of-turn model's word on the pause at ``stopped_ms``."""

    utterance: int
    stopped_ms: int
    probability: float
    now_ms: int


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer set by an effect has come due."""

    timer: int
    now_ms: int


@dataclass(frozen=True, slots=True)
class CommitRequested:
    """The client ends the user's turn (push-to-talk). ``utterance`` is what was recorded, ``None`` if nothing."""

    utterance: int | None
    now_ms: int


@dataclass(frozen=True, slots=True)
class InputCleared:
    """The client takes back what was said in this utterance, or (``kept``) will commit it by hand."""

    utterance: int
    kept: bool = False


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """The client stops the agent."""


@dataclass(frozen=True, slots=True)
class PromptReceived:
    """Typed text instead of speech; or an announcement the agent is to speak as it stands."""

    text: str
    now_ms: int
    source: Source = "text"


@dataclass(frozen=True, slots=True)
class ReplyRequested:
    """The client wants a reply to the conversation as it stands."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class ReplyStarted:
    """The first of the reply reached the client."""

    turn: int


@dataclass(frozen=True, slots=True)
class ReplyEnded:
    """The reply is over: all of it was heard, or it failed."""

    turn: int
    now_ms: int = 0


@dataclass(frozen=True, slots=True)
class CloseRequested:
    """The session ends."""


TurnEvent = (
    SpeechStarted
    | SpeechStopped
    | TranscriptArrived
    | TranscriptFailed
    | HintArrived
    | TimerFired
    | CommitRequested
    | InputCleared
    | CancelRequested
    | PromptReceived
    | ReplyRequested
    | ReplyStarted
    | ReplyEnded
    | CloseRequested
)


# --- effects ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Send ``TimerFired(timer)`` at ``due_ms``. A timer is never cancelled: once it no longer counts it is ignored."""

    timer: int
    due_ms: int
    purpose: Purpose


@dataclass(frozen=True, slots=True)
class FlushTranscript:
    """Ask recognition (and the end-of-turn model) about the speech up to ``through_ms``."""

    utterance: int
    through_ms: int


@dataclass(frozen=True, slots=True)
class EndUtterance:
    """The utterance is over; ``used`` says whether it became a turn (its text is then final)."""

    utterance: int
    used: bool


@dataclass(frozen=True, slots=True)
class TakeTurn:
    """What the user said becomes part of the conversation; nobody answers unless the client asks for it."""

    utterance: int
    text: str


@dataclass(frozen=True, slots=True)
class BeginTurn:
    """Start answering ``text``. A ``speculative`` turn is not heard, seen or kept until ``CommitTurn``."""

    turn: int
    text: str
    source: Source
    speculative: bool
    utterance: int | None = None
    stopped_ms: int | None = None


@dataclass(frozen=True, slots=True)
class CommitTurn:
    """The speculative turn is certain: let it be heard."""

    turn: int


@dataclass(frozen=True, slots=True)
class AbandonTurn:
    """End the turn at once: cancel its work, clear its audio."""

    turn: int
    reason: AbandonReason


@dataclass(frozen=True, slots=True)
class HoldSpeech:
    """Stop the turn's audio now, keeping what is left."""

    turn: int


@dataclass(frozen=True, slots=True)
class ResumeSpeech:
    """Go on from what was heard."""

    turn: int


@dataclass(frozen=True, slots=True)
class SpeakFiller:
    """Say a few words that bridge the wait."""

    turn: int


@dataclass(frozen=True, slots=True)
class ReportUnheard:
    """The user's turn came to nothing: recognition failed or gave no words."""

    utterance: int | None
    failed: bool


Effect = (
    SetTimer
    | FlushTranscript
    | EndUtterance
    | TakeTurn
    | BeginTurn
    | CommitTurn
    | AbandonTurn
    | HoldSpeech
    | ResumeSpeech
    | SpeakFiller
    | ReportUnheard
)
