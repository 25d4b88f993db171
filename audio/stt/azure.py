"""Speech-to-text with Azure Speech: the engine sessions share, and the stream each of them gets.

The engine owns the pool of connected recognizers; a stream owns one of them while it hears (an ``Ear``), and the
utterance under way. The end of turn is ours: a flush has the service end its phrase at once, is answered with the best
text at hand, and the service's final follows as a correction. Neither has tasks or threads of its own; the worker
threads belong to the composition root. Driven by ``agents.core.hearing``.

Faults: a recognizer that is lost or silent is replaced by a spare one, once per utterance, which hears again whatever
no final covers; after that the utterance fails, and ``audio.stt.fallback`` turns to another engine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from audio.azure.credentials import PROVIDER, Credential
from audio.azure.errors import from_cancellation, overloaded, timed_out, unavailable
from audio.azure.languages import LANGUAGES
from audio.azure.pool import WarmPool
from audio.azure.room import ConnectionRoom
from audio.azure.sdk import load_sdk
from audio.azure.settings import AzureSttSettings
from audio.errors import EngineError, EngineUnavailable
from audio.formats import HEARING_RATE_HZ, PcmChunk
from audio.inference import InferencePool, PoolBusy, PoolClosed, Priority
from audio.locales import language_of
from audio.stt.azure_ear import Ear, EarPorts
from audio.stt.azure_events import Canceled, Connected, Recognized, RecognizerEvent
from audio.stt.azure_recognizer import AzureRecognizer
from audio.stt.azure_utterance import AzureUtterance, Piece
from audio.stt.port import OnSttFailure, OnTranscript, SttOptions, SttProfile, Transcript, WordTiming

_MOST_UNCONFIRMED: Final = 120 * HEARING_RATE_HZ
_WARM_UP_LIMIT_S: Final = 10.0
_MOST_POOLS: Final = 8


@dataclass(frozen=True, slots=True)
class Listening:
    """What a stream needs of its engine and its session."""

    ear: EarPorts
    on_transcript: OnTranscript
    on_failure: OnSttFailure
    partials: bool


class AzureStream:
    """Recognition of one session's speech, see ``SttStream``."""

    def __init__(self, listening: Listening) -> None:
        self._listening = listening
        self._limits = listening.ear.settings.limits
        self._loop = asyncio.get_running_loop()
        self._ear: Ear | None = None
        self._retired: set[Ear] = set()
        self._utterance: AzureUtterance | None = None
        self._past: AzureUtterance | None = None
        self._failed: EngineError | None = None
        self._replays = 0
        self._sent_from = 0
        """Where the utterance begins in what its recognizer was sent."""
        self._timers: list[asyncio.TimerHandle] = []
        self._word_watch: asyncio.TimerHandle | None = None
        self._closed = False

    # --- the port ---

    def begin(self, utterance_id: int, start_sample: int) -> None:
        """See ``SttStream.begin``. A recognizer whose session ends soon is replaced here, between turns."""
        self._end_current()
        if self._closed:
            return
        self._failed = None
        self._replays = 0
        partials = self._listening.partials
        self._utterance = AzureUtterance(utterance_id, start_sample, self._say, partials=partials)
        if self._ear is not None and self._ear.is_due():
            self._retire_ear()
        if self._ear is None:
            self._ear = self._new_ear()
        self._sent_from = self._ear.sent.sent

    def push(self, chunk: PcmChunk) -> None:
        """See ``SttStream.push``. Audio outside an utterance is ignored."""
        utterance = self._utterance
        if utterance is None or self._failed is not None:
            return
        utterance.push(chunk.start_sample, chunk.samples)
        if utterance.unconfirmed_samples > _MOST_UNCONFIRMED:
            self._fail(overloaded("the service falls too far behind speech", "stt"))
            return
        if self._ear is not None:
            self._ear.write(chunk.start_sample, chunk.samples)
        if self._word_watch is None:
            self._watch_words()

    def flush(self, utterance_id: int, through_sample: int) -> None:
        """See ``SttStream.flush``. A flush of an utterance that is not running, or has failed, fails."""
        if self._closed:
            return
        utterance = self._utterance
        if utterance is None or utterance.utterance_id != utterance_id or self._failed is not None:
            error = self._failed or EngineError(
                f"utterance {utterance_id} is not running", stage="stt", provider=PROVIDER
            )
            self._loop.call_soon(self._listening.on_failure, utterance_id, error)
            return
        self._stop_timers()
        utterance.flush(through_sample)
        if self._ear is not None:
            self._ear.conclude()
        self._timers = self._flush_timers(utterance)

    def end(self, utterance_id: int) -> None:
        """See ``SttStream.end``. What was flushed with interim words may still be corrected, for a few seconds."""
        if self._utterance is not None and self._utterance.utterance_id == utterance_id:
            self._end_current()

    async def aclose(self) -> None:
        """See ``SttStream.aclose``: at once; the recognizer is released in the background."""
        self._closed = True
        self._end_current()
        self._past = None
        for ear in (self._ear, *self._retired):
            if ear is not None:
                ear.drop()
        self._ear = None
        self._retired.clear()

    # --- ears ---

    def _new_ear(self) -> Ear:
        return Ear(self._listening.ear, self._on_words, self._on_lost)

    def _retire_ear(self) -> None:
        ear, self._ear = self._ear, None
        if ear is None:
            return
        ear.conclude()
        ear.retire()
        self._retired.add(ear)
        self._loop.call_later(self._limits.stop_s, self._retired.discard, ear)

    def _on_lost(self, ear: Ear, error: EngineError) -> None:
        if ear is not self._ear or self._closed:
            return
        self._ear = None
        if self._utterance is not None and self._failed is None:
            self._replay(error)

    def _replay(self, error: EngineError) -> None:
        """Another recognizer hears again what no final covers; once per utterance, and not where it cannot help."""
        utterance = self._utterance
        assert utterance is not None
        if self._replays or isinstance(error, EngineUnavailable):
            self._fail(error)
            return
        self._replays += 1
        if self._ear is not None:
            self._ear.drop()
        self._ear = ear = self._new_ear()
        self._sent_from = 0
        for start_sample, samples in utterance.unconfirmed():
            ear.write(start_sample, samples)
        if utterance.is_flushing:
            ear.conclude()
            self._stop_timers()
            self._timers = self._flush_timers(utterance)
        else:
            self._watch_words()

    # --- words ---

    def _on_words(self, ear: Ear, words: Recognized) -> None:
        if self._closed:
            return
        piece = _in_session(ear, words)
        utterance = self._utterance
        if utterance is None or ear is not self._ear or (words.start + words.end) // 2 < self._sent_from:
            if words.final and words.text and self._past is not None and self._past.may_be_corrected:
                self._past.final(piece)
            return
        if words.final:
            utterance.final(piece)
            if words.commit_token and words.commit_token == ear.commit_token:
                utterance.answer()
        else:
            utterance.hypothesis(piece)
        if not utterance.is_flushing:
            self._stop_timers()

    def _say(self, transcript: Transcript) -> None:
        self._listening.on_transcript(transcript)

    # --- watchdogs ---

    def _flush_timers(self, utterance: AzureUtterance) -> list[asyncio.TimerHandle]:
        limits = self._limits
        return [
            self._loop.call_later(0, utterance.answer_if_covered),
            self._loop.call_later(limits.settle_s, self._settle, utterance, self._ear),
            self._loop.call_later(limits.interim_s, self._settle_for_interim, utterance, self._ear),
            self._loop.call_later(limits.final_s, self._no_final, utterance),
        ]

    def _settle(self, utterance: AzureUtterance, ear: Ear | None) -> None:
        if utterance is self._utterance and utterance.is_final and self._is_undisturbed(ear):
            utterance.answer()

    def _settle_for_interim(self, utterance: AzureUtterance, ear: Ear | None) -> None:
        if utterance is self._utterance and utterance.has_text and self._is_undisturbed(ear):
            utterance.answer()

    def _is_undisturbed(self, ear: Ear | None) -> bool:
        """Whether the recognizer that was flushed is still there: one that took over has yet to catch up."""
        return ear is not None and ear is self._ear and ear.connected and ear.is_usable

    def _no_final(self, utterance: AzureUtterance) -> None:
        if utterance is not self._utterance or not utterance.is_flushing:
            return
        if not utterance.answer_if_covered() and not (utterance.has_text and utterance.answer()):
            self._replay(timed_out("no answer to the end of speech", self._limits.final_s, "stt"))

    def _watch_words(self) -> None:
        ear = self._ear
        if ear is None:
            return
        said = ear.answered and ear.heard_at_sent > 0
        limit_s = self._limits.silence_s if said else self._limits.first_result_s
        at_sent = ear.sent.speech_sent
        self._word_watch = self._loop.call_later(limit_s, self._no_words, ear, at_sent, limit_s)

    def _no_words(self, ear: Ear, at_sent: int, limit_s: float) -> None:
        """Nothing was said for the limit although audio kept coming: the service, or the SDK, has gone silent."""
        self._word_watch = None
        utterance = self._utterance
        if ear is not self._ear or utterance is None or self._failed is not None or utterance.is_flushing:
            return
        spoken = ear.sent.speech_sent - at_sent
        if ear.heard_at_sent < at_sent + 1 and spoken >= limit_s * HEARING_RATE_HZ / 2:
            self._replay(timed_out("no word of running speech", limit_s, "stt"))

    def _fail(self, error: EngineError) -> None:
        utterance = self._utterance
        self._failed = error
        self._stop_timers()
        if self._ear is not None:
            self._ear.drop()
            self._ear = None
        if utterance is not None:
            utterance.drop_flush()
            self._loop.call_soon(self._report, utterance, error)

    def _report(self, utterance: AzureUtterance, error: EngineError) -> None:
        if utterance is self._utterance and not self._closed:
            self._listening.on_failure(utterance.utterance_id, error)

    def _end_current(self) -> None:
        self._stop_timers()
        if self._word_watch is not None:
            self._word_watch.cancel()
            self._word_watch = None
        utterance, self._utterance = self._utterance, None
        if utterance is None:
            return
        if self._ear is not None:
            self._ear.conclude()  # no phrase of the service spans two utterances
        utterance.release()
        if utterance.may_be_corrected:
            self._past = utterance
            self._loop.call_later(self._limits.correction_s, self._forget, utterance)

    def _forget(self, utterance: AzureUtterance) -> None:
        if self._past is utterance:
            self._past = None

    def _stop_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()


class AzureSpeechToText:
    """The engine, see ``SpeechToText``. One per credential: tenants with keys of their own get engines of their own."""

    def __init__(
        self,
        settings: AzureSttSettings,
        credential: Credential,
        workers: InferencePool,
        now_s: Callable[[], float] = time.monotonic,
        room: ConnectionRoom | None = None,
    ) -> None:
        """``workers`` run what blocks in the SDK; theirs are two to four threads, owned by the caller, who closes them
        after the engine. ``room`` bounds the connections of several engines together."""
        self._settings = settings
        self._credential = credential
        self._workers = workers
        self._now_s = now_s
        self._room = room
        self._pools: dict[str, WarmPool[AzureRecognizer]] = {}
        self._closed = False

    @property
    def profile(self) -> SttProfile:
        """Locales are languages without a region; which regions the service knows, it says itself."""
        settings = self._settings
        return SttProfile(
            provider=PROVIDER,
            model=settings.custom_endpoint_id or "conversation",
            locales=frozenset(map(language_of, settings.languages)) or LANGUAGES,
            streaming=True,
            word_timings=True,
        )

    async def warm_up(self) -> None:
        """Try one connection, and have spare recognizers connected. Raises EngineUnavailable where there is nobody."""
        try:
            await self._workers.run(partial(load_sdk, "stt"), priority=Priority.URGENT, limit_s=_WARM_UP_LIMIT_S)
        except (PoolBusy, PoolClosed, TimeoutError) as error:
            raise unavailable(f"the SDK was not loaded ({error})", "stt") from error
        pool = self._pool(self._settings.locale)
        limit_s = self._settings.limits.connect_s
        probe = await pool.acquire()
        answered: asyncio.Future[RecognizerEvent] = asyncio.get_running_loop().create_future()

        def heard(event: RecognizerEvent) -> None:
            if not answered.done():
                answered.set_result(event)

        try:
            probe.connect(heard)
            async with asyncio.timeout(limit_s):
                event = await answered
        except TimeoutError as error:
            pool.discard(probe)
            raise unavailable(f"no connection within {limit_s:g} s", "stt") from error
        finally:
            probe.connect(None)
        if not isinstance(event, Connected):
            pool.discard(probe)
            raise _not_connected(event)
        probe.unread(event)
        pool.give_back(probe)
        pool.fill()

    async def open(self, options: SttOptions, on_transcript: OnTranscript, on_failure: OnSttFailure) -> AzureStream:
        """A stream for one session; it takes a recognizer when speech begins. Raises EngineUnavailable if closed."""
        if self._closed:
            raise unavailable("the engine is closed", "stt")
        pool = self._pool(options.locale)
        pool.fill()
        settings = replace(self._settings, locale=options.locale)
        ear = EarPorts(pool, self._workers, settings, options.phrases, self._now_s)
        return AzureStream(Listening(ear, on_transcript, on_failure, options.partials))

    async def aclose(self) -> None:
        """Release all spares; streams still open fail at their next recognizer."""
        self._closed = True
        for pool in self._pools.values():
            await pool.aclose()

    @property
    def pools(self) -> tuple[WarmPool[AzureRecognizer], ...]:
        """One per locale, for metrics."""
        return tuple(self._pools.values())

    def _pool(self, locale: str) -> WarmPool[AzureRecognizer]:
        pool = self._pools.get(locale)
        if pool is None:
            if len(self._pools) >= _MOST_POOLS:
                raise overloaded(f"{_MOST_POOLS} locales are in use", "stt")
            settings = replace(self._settings, locale=locale)
            make = partial(AzureRecognizer, settings, self._credential, asyncio.get_running_loop(), self._now_s)
            pool = self._pools[locale] = WarmPool(make, self._workers, settings.pool, "stt", self._now_s, self._room)
        return pool


def _in_session(ear: Ear, words: Recognized) -> Piece:
    sent = ear.sent
    timed = tuple(
        WordTiming(each.text, sent.start_to_session(each.start), sent.to_session(each.end), each.confidence)
        for each in words.words
    )
    start, end = sent.start_to_session(words.start), sent.to_session(words.end)
    return Piece(words.text, start, end, words.confidence, words.language, timed)


def _not_connected(event: RecognizerEvent) -> EngineUnavailable:
    if isinstance(event, Canceled):
        error = from_cancellation(event.code, event.details, "stt")
        kind = type(error) if isinstance(error, EngineUnavailable) else EngineUnavailable
        return kind(str(error), stage="stt", provider=PROVIDER)
    return unavailable("the connection was lost", "stt")
