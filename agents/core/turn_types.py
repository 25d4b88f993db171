"""The vocabulary of the turn machine: events and effects, as closed unions of frozen values.

Owned by ``agents.core.machine``, which decides; the session supplies events and carries out effects. Times are whole
milliseconds of the session's audio; ``turn`` and ``utterance`` are ordinals that never repeat within a session.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Source = Literal["speech", "text", "announcement", "request", "idle"]
"""What a turn answers: speech, text, nothing (it is only said), the conversation as it stands, or a long silence."""
Purpose = Literal["endpoint", "transcript", "interrupt", "clause", "confirm", "verdict", "filler", "idle"]
AbandonReason = Literal["went_on", "changed", "interrupted", "cancelled", "superseded", "closed", "corrected"]


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
class TranscriptCorrected:
    """Recognition has a better text for an utterance that is over."""

    utterance: int
    text: str
    now_ms: int


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
class EchoHeard:
    """What is heard in this utterance is the agent's own voice, come back."""

    utterance: int


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
class ReplyReady:
    """The draft has something to be heard (or read), or can go no further before its turn is certain."""

    turn: int
    now_ms: int


@dataclass(frozen=True, slots=True)
class ReplyStarted:
    """The first of the reply reached the client, at ``now_ms`` of the audio heard."""

    turn: int
    now_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ReplyBound:
    """The reply begins what cannot be taken back: a tool with effects, or one of the client's."""

    turn: int


@dataclass(frozen=True, slots=True)
class ClauseFinished:
    """The clause that the agent was to finish has been heard."""

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
    | TranscriptCorrected
    | TranscriptFailed
    | HintArrived
    | TimerFired
    | CommitRequested
    | InputCleared
    | EchoHeard
    | CancelRequested
    | PromptReceived
    | ReplyRequested
    | ReplyReady
    | ReplyStarted
    | ReplyBound
    | ClauseFinished
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
    """Start answering ``text``. A ``speculative`` turn is not heard, seen or kept until ``CommitTurn``.

    ``instead_of`` is the turn whose question turned out to be another: nothing of it was heard. ``late``: its words are
    not final, for recognition took too long.
    """

    turn: int
    text: str
    source: Source
    speculative: bool
    utterance: int | None = None
    stopped_ms: int | None = None
    instead_of: int | None = None
    late: bool = False


@dataclass(frozen=True, slots=True)
class RewordTurn:
    """The draft answers these words: the same, written better."""

    turn: int
    text: str


@dataclass(frozen=True, slots=True)
class CorrectText:
    """What the user said is shown and remembered as ``text`` from now on; the reply goes on."""

    utterance: int
    text: str


@dataclass(frozen=True, slots=True)
class AwaitReply:
    """The turn is over as far as silence tells; it is committed once its draft is ready."""

    turn: int


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
class FinishClause:
    """Let the turn's audio go on to the end of the clause that sounds, and no further."""

    turn: int


@dataclass(frozen=True, slots=True)
class ResumeSpeech:
    """Go on from what was heard, or beyond the end of the clause."""

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
    | RewordTurn
    | CorrectText
    | AwaitReply
    | CommitTurn
    | AbandonTurn
    | HoldSpeech
    | FinishClause
    | ResumeSpeech
    | SpeakFiller
    | ReportUnheard
)
