"""Recognition that hears what the bench's user has really said by then: whole words, late and at fault as told.

Owns which words lie before a sample. Obeys the port: a flush overtakes the one before, nothing comes after an end.
Opened by the product's fallback; a service says how long a flush takes and what becomes of it.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final, Protocol

from faulty_engines import Fault

from audio.errors import EngineUnavailable
from audio.formats import PcmChunk
from audio.stt.port import OnSttFailure, OnTranscript, SttOptions, SttProfile, SttStream, Transcript, TranscriptKind

PARTIAL_LAG_SAMPLES: Final = 16 * 200
"""A word is shown so long after it was said."""


@dataclass
class Said:
    """One user's words and the samples at which they end, in order; whoever speaks adds to it."""

    words: list[str] = field(default_factory=list[str])
    ends: list[int] = field(default_factory=list[int])

    def say(self, word: str, end_sample: int) -> None:
        """A word that ends there."""
        self.words.append(word)
        self.ends.append(end_sample)

    def between(self, start_sample: int, end_sample: int) -> str:
        """The words that end after the one and up to the other sample."""
        return " ".join(self.words[bisect_right(self.ends, start_sample) : bisect_right(self.ends, end_sample)])


class Fate(Protocol):
    """A service: what is wrong with it, and what becomes of a request."""

    def fault(self) -> Fault | None: ...
    def request(self) -> tuple[Fault | None, float]: ...


class UserEars:
    """``SpeechToText`` for one user."""

    def __init__(self, said: Said, fate: Fate, profile: SttProfile) -> None:
        self.said = said
        self.fate = fate
        self.profile = profile

    async def warm_up(self) -> None:
        """Nothing to load."""

    async def open(self, options: SttOptions, on_transcript: OnTranscript, on_failure: OnSttFailure) -> SttStream:
        return _Stream(self, on_transcript, on_failure)

    async def aclose(self) -> None:
        """Nothing to release."""


class _Stream:
    def __init__(self, ears: UserEars, on_transcript: OnTranscript, on_failure: OnSttFailure) -> None:
        self._ears = ears
        self._on_transcript = on_transcript
        self._on_failure = on_failure
        self._utterance = -1
        self._start = self._end = 0
        self._shown = ""
        self._pending: asyncio.TimerHandle | None = None

    def begin(self, utterance_id: int, start_sample: int) -> None:
        self._drop()
        self._utterance, self._start, self._end, self._shown = utterance_id, start_sample, start_sample, ""

    def push(self, chunk: PcmChunk) -> None:
        self._end = chunk.end_sample
        if self._ears.fate.fault() is not None:
            return
        text = self._ears.said.between(self._start, self._end - PARTIAL_LAG_SAMPLES)
        if text != self._shown:
            self._shown = text
            self._tell(TranscriptKind.PARTIAL, text, self._end)

    def flush(self, utterance_id: int, through_sample: int) -> None:
        self._drop()
        fault, delay_s = self._ears.fate.request()
        loop = asyncio.get_running_loop()
        if fault == "fail":
            error = EngineUnavailable("on purpose", stage="stt", provider=self._ears.profile.provider)
            loop.call_soon(self._on_failure, utterance_id, error)
        elif fault != "stall":
            text = self._ears.said.between(self._start, self._end)
            self._pending = loop.call_later(delay_s, self._tell, TranscriptKind.FLUSHED, text, through_sample)

    def end(self, utterance_id: int) -> None:
        self._drop()

    async def aclose(self) -> None:
        self._drop()

    def _tell(self, kind: TranscriptKind, text: str, through_sample: int) -> None:
        self._on_transcript(
            Transcript(self._utterance, kind, text, self._start, through_sample, language="en", confidence=1.0)
        )

    def _drop(self) -> None:
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None
