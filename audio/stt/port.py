"""The speech-to-text port.

One ``SpeechToText`` per process and engine, one ``SttStream`` per session. The stream is told where utterances
begin and end by whoever owns the end of turn (never the engine), receives only what voice activity calls speech,
and reports by callback on the event loop. It suits engines that stream (Azure) and engines that decode again and
again (Whisper).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from audio.errors import EngineError
from audio.formats import PcmChunk


class TranscriptKind(Enum):
    """How far a transcript may be trusted.

    ``PARTIAL`` may change; ``FLUSHED`` answers a ``flush`` and covers everything pushed up to its
    ``through_sample``: it is final unless the speaker goes on; ``CORRECTED`` is a better text for an utterance
    already flushed (a late final of a streaming service).
    """

    PARTIAL = "partial"
    FLUSHED = "flushed"
    CORRECTED = "corrected"


@dataclass(frozen=True, slots=True)
class WordTiming:
    """One word and the samples it spans (16 kHz session clock for speech-to-text; the audio's own for speech)."""

    text: str
    start_sample: int
    end_sample: int
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said between two samples of the session's 16 kHz clock.

    ``text`` is empty where nothing intelligible was said. ``confidence`` is 0-1 where the engine knows it. ``interim``
    says that the engine answered with words it may still correct.
    """

    utterance_id: int
    kind: TranscriptKind
    text: str
    start_sample: int
    through_sample: int
    language: str | None = None
    confidence: float | None = None
    words: tuple[WordTiming, ...] = ()
    interim: bool = False


@dataclass(frozen=True, slots=True)
class SttOptions:
    """What the session wants of recognition. ``phrases`` are names and terms worth recognising.

    ``answer_s`` is how long an engine that has a stand-in may take to answer a flush (``None``: the stand-ins' own
    limit); with ``words_suffice`` one that has given words already may take that long again, for whoever listens acts
    on those.
    """

    locale: str = "en-US"
    phrases: tuple[str, ...] = ()
    partials: bool = True
    answer_s: float | None = None
    words_suffice: bool = False


@dataclass(frozen=True, slots=True)
class SttProfile:
    """What an engine is and can do, as data."""

    provider: str
    model: str
    locales: frozenset[str] = field(default_factory=frozenset[str])
    streaming: bool = False
    word_timings: bool = False


OnTranscript = Callable[[Transcript], None]
OnSttFailure = Callable[[int, EngineError], None]
"""Called on the event loop with the utterance id that will get no (further) transcript, and why."""


class SttStream(Protocol):
    """Recognition of one session's speech. All methods but ``aclose`` return at once and never raise."""

    def begin(self, utterance_id: int, start_sample: int) -> None:
        """A new utterance starts here; its audio (pre-roll first) follows in ``push``. Ends any other."""
        ...

    def push(self, chunk: PcmChunk) -> None:
        """The next 16 kHz samples of the utterance. Bounded: past the engine's limit the oldest audio is folded
        into committed text, never silently lost."""
        ...

    def flush(self, utterance_id: int, through_sample: int) -> None:
        """Speech seems to have ended: give the best transcript of what was pushed, as soon as possible.

        Answered by exactly one ``FLUSHED`` transcript or one failure, unless a later ``flush`` of the same
        utterance or ``end`` overtakes it. Speech may go on afterwards, and ``flush`` may come again.
        """
        ...

    def end(self, utterance_id: int) -> None:
        """The utterance is over or was dropped: release its audio; outstanding work is cancelled."""
        ...

    async def aclose(self) -> None:
        """Release everything, within a limit of the engine's own."""
        ...


class SpeechToText(Protocol):
    """An engine, shared by all sessions."""

    @property
    def profile(self) -> SttProfile: ...

    async def warm_up(self) -> None:
        """Load and run once, so the first user does not pay. Raises EngineUnavailable."""
        ...

    async def open(self, options: SttOptions, on_transcript: OnTranscript, on_failure: OnSttFailure) -> SttStream:
        """A stream for one session. Raises EngineError."""
        ...

    async def aclose(self) -> None:
        """Release the engine."""
        ...
