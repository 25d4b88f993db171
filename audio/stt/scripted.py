"""A speech-to-text engine that answers from a script, at once: for dialogue tests and zero-delay benchmarks.

Deterministic, without threads, and strict: a caller that breaks the port's protocol gets a ``ProtocolMisuse`` where
a real engine would quietly mishear. Ships so that benchmarks can measure the server without model cost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from audio.errors import EngineError
from audio.formats import HEARING_RATE_HZ, PcmChunk, ms_to_samples
from audio.stt.port import OnSttFailure, OnTranscript, SttOptions, SttProfile, Transcript, TranscriptKind

SCRIPTED: Final = SttProfile(provider="scripted", model="script", locales=frozenset({"en"}), streaming=True)


@dataclass(frozen=True, slots=True)
class Misheard:
    """A script's utterance that is flushed as ``text``, interim, and corrected to ``better`` ``after_s`` later."""

    text: str
    better: str
    after_s: float


class ProtocolMisuse(AssertionError):
    """The stream was used against the rules of ``SttStream``."""


class ScriptedSpeechToText:
    """Every stream answers its utterances with ``texts`` in turn, and starts over when they are used up.

    Args:
        texts: one per utterance, told at its first flush and again at every later one; an ``EngineError`` is
            reported as a failure, and one that is ``Misheard`` is corrected, even after its end.
        profile: what the engine pretends to be.
        partial_every_ms: speech between partial transcripts, each one word longer; ``None`` for no partials.
    """

    def __init__(
        self,
        texts: Sequence[str | EngineError | Misheard],
        profile: SttProfile = SCRIPTED,
        *,
        partial_every_ms: int | None = None,
    ) -> None:
        if not texts:
            raise ValueError("a script needs at least one text")
        self._texts = tuple(texts)
        self._profile = profile
        self._partial_every = (
            None if partial_every_ms is None else max(1, ms_to_samples(partial_every_ms, HEARING_RATE_HZ))
        )
        self._closed = False

    @property
    def profile(self) -> SttProfile:
        """As given."""
        return self._profile

    async def warm_up(self) -> None:
        """Nothing to load."""

    async def open(self, options: SttOptions, on_transcript: OnTranscript, on_failure: OnSttFailure) -> ScriptedStream:
        """A stream that starts at the script's beginning."""
        if self._closed:
            raise ProtocolMisuse("open after aclose")
        every = self._partial_every if options.partials else None
        return ScriptedStream(self._texts, every, on_transcript, on_failure)

    async def aclose(self) -> None:
        """Refuse further streams."""
        self._closed = True


class ScriptedStream:
    """One session's stream. Answers come from the event loop's next round, never from inside ``flush``."""

    def __init__(
        self,
        texts: tuple[str | EngineError | Misheard, ...],
        partial_every: int | None,
        on_transcript: OnTranscript,
        on_failure: OnSttFailure,
    ) -> None:
        self._texts = texts
        self._partial_every = partial_every
        self._on_transcript = on_transcript
        self._on_failure = on_failure
        self._begun = 0
        self._utterance: int | None = None
        self._start_sample = 0
        self._end_sample = 0
        self._partials = 0
        self._pending: asyncio.Handle | None = None
        self._correction: asyncio.TimerHandle | None = None
        self._closed = False

    def begin(self, utterance_id: int, start_sample: int) -> None:
        """See ``SttStream.begin``."""
        self._require(not self._closed, "begin after aclose")
        self._drop_pending()
        self._utterance = utterance_id
        self._begun += 1
        self._start_sample = self._end_sample = start_sample
        self._partials = 0

    def push(self, chunk: PcmChunk) -> None:
        """See ``SttStream.push``."""
        self._require(self._utterance is not None, "push outside an utterance")
        self._require(chunk.sample_rate_hz == HEARING_RATE_HZ, f"push at {chunk.sample_rate_hz} Hz")
        self._require(chunk.start_sample >= self._end_sample, "push goes back in time")
        self._end_sample = chunk.end_sample
        if self._partial_every is not None:
            self._say_partials(self._partial_every)

    def flush(self, utterance_id: int, through_sample: int) -> None:
        """See ``SttStream.flush``."""
        self._require(self._utterance == utterance_id, f"flush of utterance {utterance_id}, running: {self._utterance}")
        self._require(through_sample >= self._start_sample, "flush before the utterance's start")
        self._drop_pending()
        self._pending = asyncio.get_running_loop().call_soon(self._answer, through_sample)

    def end(self, utterance_id: int) -> None:
        """See ``SttStream.end``. Ending what has ended already is allowed."""
        if self._utterance == utterance_id:
            self._drop_pending()
            self._utterance = None

    async def aclose(self) -> None:
        """See ``SttStream.aclose``."""
        self._drop_pending()
        self._drop_correction()
        self._utterance = None
        self._closed = True

    def _answer(self, through_sample: int) -> None:
        self._pending = None
        assert self._utterance is not None
        text = self._text()
        if isinstance(text, EngineError):
            self._on_failure(self._utterance, text)
        elif isinstance(text, Misheard):
            self._drop_correction()
            better = self._transcript(TranscriptKind.CORRECTED, text.better, through_sample)
            self._correction = asyncio.get_running_loop().call_later(text.after_s, self._on_transcript, better)
            self._on_transcript(
                replace(self._transcript(TranscriptKind.FLUSHED, text.text, through_sample), interim=True)
            )
        else:
            self._say(TranscriptKind.FLUSHED, text, through_sample)

    def _say_partials(self, every: int) -> None:
        text = self._text()
        said = text.text if isinstance(text, Misheard) else text
        words = [] if isinstance(said, EngineError) else said.split()
        due = min(len(words), (self._end_sample - self._start_sample) // every)
        if due > self._partials:
            self._partials = due
            self._say(TranscriptKind.PARTIAL, " ".join(words[:due]), self._end_sample)

    def _say(self, kind: TranscriptKind, text: str, through_sample: int) -> None:
        self._on_transcript(self._transcript(kind, text, through_sample))

    def _transcript(self, kind: TranscriptKind, text: str, through_sample: int) -> Transcript:
        assert self._utterance is not None
        return Transcript(
            self._utterance, kind, text, self._start_sample, through_sample, language="en", confidence=1.0
        )

    def _text(self) -> str | EngineError | Misheard:
        return self._texts[(self._begun - 1) % len(self._texts)]

    def _drop_pending(self) -> None:
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None

    def _drop_correction(self) -> None:
        if self._correction is not None:
            self._correction.cancel()
            self._correction = None

    @staticmethod
    def _require(condition: bool, rule: str) -> None:
        if not condition:
            raise ProtocolMisuse(rule)
