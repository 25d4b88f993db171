"""Speech-to-text that goes on with another engine: at an utterance's beginning, or in the middle of it with replay.

Owns the order of engines, the audio of the running utterance, and the limit within which a flush must be answered.
Breakers belong to the engines, not to sessions. Has no tasks: every engine's stream is opened with the session's (none
of them costs anything before speech begins), so a switch waits for nobody. Driven like any other ``SpeechToText``.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from audio.errors import EngineError, EngineTimeout, EngineUnavailable
from audio.fallback import DegradationTeller, Guarded, Maker, OnDegraded, nobody_told, warm_all
from audio.formats import HEARING_RATE_HZ, PcmChunk
from audio.locales import covers
from audio.stt.port import (
    OnSttFailure,
    OnTranscript,
    SpeechToText,
    SttOptions,
    SttProfile,
    SttStream,
    Transcript,
    TranscriptKind,
)

_MOST_KEPT: Final = 120 * HEARING_RATE_HZ


@dataclass(frozen=True, slots=True)
class _Place:
    """An engine's stream in this session."""

    guarded: Guarded[SpeechToText]
    stream: SttStream

    @property
    def provider(self) -> str:
        return self.guarded.engine.profile.provider

    @property
    def maker(self) -> Maker:
        profile = self.guarded.engine.profile
        return Maker(profile.provider, profile.model)


class FallbackStream:
    """One session's stream, see ``SttStream``."""

    def __init__(
        self,
        on_transcript: OnTranscript,
        on_failure: OnSttFailure,
        teller: DegradationTeller,
        answer_s: float,
        now_s: Callable[[], float],
    ) -> None:
        self._on_transcript = on_transcript
        self._on_failure = on_failure
        self._teller = teller
        self._answer_s = answer_s
        self._now_s = now_s
        self._places: list[_Place] = []
        self._untried: list[_Place] = []
        self._active: _Place | None = None
        self._owing: _Place | None = None
        """Whose breaker waits to hear how the utterance went."""
        self._utterance: tuple[int, int] | None = None
        self._kept: list[PcmChunk] = []
        self._kept_samples = 0
        self._hearer: Maker | None = None
        """Who was given the utterance last."""
        self._unclaimed = 0
        """The utterance's samples that nobody has asked about yet."""
        self._heard: Counter[Maker] = Counter()
        self._flush_through: int | None = None
        self._limit: asyncio.TimerHandle | None = None
        self._has_words = False
        """Whether the engine at work has given words of this utterance."""
        self._words_suffice = False
        self._error: EngineError | None = None
        self._closed = False

    async def open(self, engines: Sequence[Guarded[SpeechToText]], options: SttOptions) -> None:
        """Open every engine's stream that opens. Raises the preferred engine's error if none does."""
        self._answer_s = options.answer_s or self._answer_s
        self._words_suffice = options.words_suffice
        failures: list[EngineError] = []
        for number, guarded in enumerate(engines):
            heard, failed = partial(self._on_heard, number), partial(self._failed, number)
            profile = guarded.engine.profile
            try:
                if not covers(profile.locales, options.locale):
                    message = f"{profile.provider} does not know {options.locale}"
                    raise EngineUnavailable(message, stage="stt", provider=profile.provider)
                self._places.append(_Place(guarded, await guarded.engine.open(options, heard, failed)))
            except EngineError as error:
                if covers(profile.locales, options.locale):  # else it is no fault that concerns other sessions
                    guarded.breaker.failed(error, self._now_s())
                failures.append(error)
                self._error = self._error or error
                self._places.append(_Place(guarded, _Deaf()))
        if len(failures) == len(engines):
            raise failures[0]

    # --- the port ---

    def begin(self, utterance_id: int, start_sample: int) -> None:
        """See the port. The first engine whose breaker admits it hears the utterance."""
        self._end_current()
        if self._closed:
            return
        self._utterance = (utterance_id, start_sample)
        self._untried = [place for place in self._places if not isinstance(place.stream, _Deaf)]
        self._advance()

    def push(self, chunk: PcmChunk) -> None:
        """See the port. Kept for a replay while there is an engine to replay it to, up to two minutes."""
        if self._utterance is None:
            return
        self._unclaimed += len(chunk.samples)
        if self._untried:
            self._kept.append(chunk)
            self._kept_samples += len(chunk.samples)
        while self._kept_samples > _MOST_KEPT:
            self._kept_samples -= len(self._kept.pop(0).samples)
        if self._active is not None:
            self._active.stream.push(chunk)

    def flush(self, utterance_id: int, through_sample: int) -> None:
        """See the port. An engine that does not answer within the limit gives way to the next."""
        self._stop_limit()
        active = self._active
        if active is None or self._utterance is None or self._utterance[0] != utterance_id:
            if not self._closed:
                error = self._error or EngineError("the utterance is not running", stage="stt", provider="fallback")
                asyncio.get_running_loop().call_soon(self._on_failure, utterance_id, error)
            return
        self._flush_through = through_sample
        self._limit_answer(active)
        active.stream.flush(utterance_id, through_sample)

    def end(self, utterance_id: int) -> None:
        """See the port."""
        if self._utterance is not None and self._utterance[0] == utterance_id:
            self._end_current()

    def take_heard(self) -> dict[Maker, int]:
        """Samples by the engine that recognised them, since this was last asked.

        Each counts once: an utterance that was taken over, for the engine that heard all of it again.
        """
        self._settle()
        taken, self._heard = dict(self._heard), Counter()
        return taken

    async def aclose(self) -> None:
        """See the port."""
        self._end_current()
        self._closed = True
        for place in self._places:
            await place.stream.aclose()

    # --- from the engines ---

    def _on_heard(self, number: int, transcript: Transcript) -> None:
        place = self._places[number]
        if transcript.kind is TranscriptKind.CORRECTED:
            if place is self._active or self._utterance is None or transcript.utterance_id != self._utterance[0]:
                self._on_transcript(transcript)
            return
        if place is not self._active:
            return
        self._has_words = self._has_words or bool(transcript.text)
        if number == 0 and transcript.kind is TranscriptKind.FLUSHED:  # it works again, and not merely is tried
            self._teller.uses(0, place.provider, None)
        if transcript.kind is TranscriptKind.FLUSHED:
            self._stop_limit()
            self._flush_through = None
            self._owing = None
            place.guarded.breaker.succeeded()
        self._on_transcript(transcript)

    def _failed(self, number: int, utterance_id: int, error: EngineError) -> None:
        place = self._places[number]
        if place is self._active and self._utterance is not None and self._utterance[0] == utterance_id:
            self._give_up(place, error)

    def _give_up(self, place: _Place, error: EngineError) -> None:
        assert self._utterance is not None
        utterance_id, _ = self._utterance
        self._stop_limit()
        self._owing = None
        self._error = error
        place.guarded.breaker.failed(error, self._now_s())
        place.stream.end(utterance_id)
        self._active = None
        self._advance()
        if self._active is None:
            self._flush_through = None
            self._on_failure(utterance_id, error)

    # --- switching ---

    def _advance(self) -> None:
        """The next engine takes the utterance over, all of it."""
        assert self._utterance is not None
        place = self._next()
        self._active = place
        if place is None:
            return
        self._hearer = place.maker
        utterance_id, start_sample = self._utterance
        self._owing = place
        self._has_words = False
        number = self._places.index(place)
        if number:
            self._teller.uses(number, place.provider, self._error or self._places[0].guarded.breaker.last_error)
        place.stream.begin(utterance_id, self._kept[0].start_sample if self._kept else start_sample)
        for chunk in self._kept:
            place.stream.push(chunk)
        if self._flush_through is not None:
            self._limit_answer(place)
            place.stream.flush(utterance_id, self._flush_through)

    def _next(self) -> _Place | None:
        """The next one its breaker admits; the last of all is asked whatever its breaker says."""
        now_s = self._now_s()
        while self._untried:
            place = self._untried.pop(0)
            if place.guarded.breaker.admits(now_s) or not self._untried:
                return place
        return None

    def _limit_answer(self, place: _Place) -> None:
        if self._untried:
            self._limit = asyncio.get_running_loop().call_later(self._answer_s, self._too_late, place, False)

    def _too_late(self, place: _Place, was_extended: bool) -> None:
        if place is self._active and self._flush_through is not None:
            if self._words_suffice and self._has_words and not was_extended:
                self._limit = asyncio.get_running_loop().call_later(self._answer_s, self._too_late, place, True)
                return
            message = f"no answer within {self._answer_s:g} s"
            self._give_up(place, EngineTimeout(message, stage="stt", provider=place.provider))

    def _settle(self) -> None:
        if self._hearer is not None and self._unclaimed:
            self._heard[self._hearer] += self._unclaimed
        self._unclaimed = 0

    def _end_current(self) -> None:
        self._settle()
        self._stop_limit()
        utterance, self._utterance = self._utterance, None
        active, self._active = self._active, None
        if utterance is not None and active is not None:
            active.stream.end(utterance[0])
        if self._owing is not None:
            self._owing.guarded.breaker.withdrawn()
            self._owing = None
        self._kept.clear()
        self._kept_samples = 0
        self._flush_through = None

    def _stop_limit(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None


class _Deaf:
    """In place of a stream that did not open."""

    def begin(self, utterance_id: int, start_sample: int) -> None: ...
    def push(self, chunk: PcmChunk) -> None: ...
    def flush(self, utterance_id: int, through_sample: int) -> None: ...
    def end(self, utterance_id: int) -> None: ...
    async def aclose(self) -> None: ...


class FallbackSpeechToText:
    """Engines in order of preference, see the module. Breakers are shared by all sessions."""

    def __init__(
        self,
        engines: Sequence[Guarded[SpeechToText]],
        *,
        on_degraded: OnDegraded = nobody_told,
        answer_s: float = 1.2,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        if not engines:
            raise ValueError("a fallback needs at least one engine")
        self._engines = tuple(engines)
        self._on_degraded = on_degraded
        self._answer_s = answer_s
        self._now_s = now_s

    @property
    def engines(self) -> tuple[Guarded[SpeechToText], ...]:
        """All of them, the preferred one first."""
        return self._engines

    @property
    def profile(self) -> SttProfile:
        """The preferred engine's."""
        return self._engines[0].engine.profile

    def for_session(self, on_degraded: OnDegraded) -> FallbackSpeechToText:
        """The same engines and breakers, telling this session when another has to step in."""
        return FallbackSpeechToText(self._engines, on_degraded=on_degraded, answer_s=self._answer_s, now_s=self._now_s)

    async def warm_up(self) -> None:
        """Warm all of them; raises EngineUnavailable if none can be had."""
        await warm_all(self._engines, self._now_s)

    async def open(self, options: SttOptions, on_transcript: OnTranscript, on_failure: OnSttFailure) -> FallbackStream:
        """See the port."""
        teller = DegradationTeller("stt", self.profile.provider, self._on_degraded)
        stream = FallbackStream(on_transcript, on_failure, teller, self._answer_s, self._now_s)
        await stream.open(self._engines, options)
        return stream

    async def aclose(self) -> None:
        """Release the engines."""
        for guarded in self._engines:
            await guarded.engine.aclose()
