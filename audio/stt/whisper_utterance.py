"""One utterance as Whisper hears it: when to decode, what an answer covers, and folding what grows too long.

Owns the utterance's audio, the text already committed and the decodes under way. Everything here runs on the event
loop and returns at once; decoding happens in the inference pool and comes back through futures. Driven by
``audio.stt.whisper.WhisperStream``.

Whisper cannot stream, so the audio is decoded again and again, at three occasions:

=========  ==========  ============================================================================================
decode     priority    when
=========  ==========  ============================================================================================
partial    BACKGROUND  every 500 ms of new audio (less often as the window grows), or as soon as the speaker falls
                       quiet: a pause detected a moment later is then answered from a decode that is under way
flush      URGENT      asked for, and no decode finished or under way covers it
fold       NORMAL      the window has grown past 12 s and has a pause to be cut at, or past 28 s and is cut at its
                       quietest place; its head becomes committed text and is not decoded again
=========  ==========  ============================================================================================
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from audio.errors import EngineError, EngineOverloaded, EngineTimeout
from audio.formats import HEARING_RATE_HZ, PcmChunk, Samples, ms_to_samples
from audio.inference import InferencePool, PoolBusy, PoolClosed, Priority
from audio.stt.port import OnSttFailure, OnTranscript, Transcript, TranscriptKind
from audio.stt.whisper_model import LONGEST_PIECE_SAMPLES, PROVIDER, Decoded, cut_point
from audio.stt.window import UtteranceAudio, quietest

Decode = Callable[[Samples], Decoded]
"""Blocking: runs on a thread of the pool."""

_DECODE_LIMIT_S: Final = 15.0
_COVER_SLACK_SAMPLES: Final = ms_to_samples(20, HEARING_RATE_HZ)
"""Of audio already known to be silent: less than the detector's own frame."""
_PARTIAL_EVERY_SAMPLES: Final = ms_to_samples(500, HEARING_RATE_HZ)
_PARTIAL_WINDOW_SHARE: Final = 10
"""A window ten times the period stretches it: the cost of partials per second of speech stays bounded."""
_RETRY_SAMPLES: Final = ms_to_samples(100, HEARING_RATE_HZ)
_QUIET_SAMPLES: Final = (ms_to_samples(60, HEARING_RATE_HZ), ms_to_samples(200, HEARING_RATE_HZ))
"""How long a quiet must last to be decoded, and to be decoded once more if nobody has asked by then."""
_FOLD_FROM_SAMPLES: Final = 12 * HEARING_RATE_HZ
_FOLD_RETRY_SAMPLES: Final = 2 * HEARING_RATE_HZ
_FOLD_EARLIEST_SAMPLES: Final = 5 * HEARING_RATE_HZ
_FOLD_LATEST_SAMPLES: Final = 10 * HEARING_RATE_HZ
_MOST_SAMPLES: Final = 120 * HEARING_RATE_HZ
"""Audio held while folding cannot keep up; beyond it the utterance fails rather than lose words."""


@dataclass(frozen=True, slots=True)
class Recognition:
    """What an utterance needs of its session: how to decode, where to report, and whether partials are wanted."""

    pool: InferencePool
    decode: Decode
    on_transcript: OnTranscript
    on_failure: OnSttFailure
    language: str
    partials: bool


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """A decode of the whole window, and what is known when it is done."""

    answer: asyncio.Future[Decoded]
    through_sample: int
    committed: Decoded
    partial: bool


@dataclass(frozen=True, slots=True)
class _Heard:
    decoded: Decoded
    through_sample: int


class WhisperUtterance:
    """Recognition of one utterance, from ``begin`` to ``end``."""

    def __init__(self, recognition: Recognition, utterance_id: int, start_sample: int) -> None:
        self._recognition = recognition
        self.utterance_id = utterance_id
        self._start_sample = start_sample
        self._audio = UtteranceAudio(start_sample)
        self._committed = Decoded()
        self._heard: _Heard | None = None
        self._decoding: _UnderWay | None = None
        self._folding: asyncio.Future[tuple[int, Decoded]] | None = None
        self._fold_at = _FOLD_FROM_SAMPLES
        self._flush_through: int | None = None
        self._fresh = 0
        self._answered_in_quiet = False
        self._closed = False

    def push(self, chunk: PcmChunk) -> None:
        """More audio: may begin a fold or a partial decode."""
        if self._closed:
            return
        self._fresh += self._audio.append(chunk)
        if len(self._audio) > _MOST_SAMPLES:
            self._fail(EngineOverloaded("decoding falls too far behind speech", stage="stt", provider=PROVIDER))
            return
        if self._folding is None and len(self._audio) >= self._fold_at:
            self._fold()
        if self._flush_through is None and self._decoding is None and self._partial_is_due():
            self._decode(Priority.BACKGROUND)

    def flush(self, through_sample: int) -> None:
        """Ask for the text so far; overtakes an earlier flush."""
        if self._closed:
            self.report(EngineOverloaded("the utterance has failed", stage="stt", provider=PROVIDER))
            return
        self._flush_through = through_sample
        if self._heard is not None and self._covers(self._heard.through_sample):
            asyncio.get_running_loop().call_soon(self._answer_flush)
        elif self._decoding is None or not self._covers(self._decoding.through_sample):
            self._decode(Priority.URGENT)

    def end(self) -> None:
        """Release the audio and drop what is under way; nothing is reported any more."""
        self._closed = True
        self._flush_through = None
        self._audio = UtteranceAudio(self._audio.end_sample)
        self._drop_decoding()
        if self._folding is not None:
            self._folding.cancel()
            self._folding = None

    def report(self, error: EngineError) -> None:
        """Say, soon, that this utterance gets no further transcript."""
        asyncio.get_running_loop().call_soon(self._recognition.on_failure, self.utterance_id, error)

    def _covers(self, through_sample: int) -> bool:
        """Whether a decode of the audio up to a position answers the pending flush."""
        assert self._flush_through is not None
        return through_sample + _COVER_SLACK_SAMPLES >= min(self._flush_through, self._audio.end_sample)

    def _partial_is_due(self) -> bool:
        quiet = self._audio.quiet_samples
        if quiet < _QUIET_SAMPLES[0]:
            self._answered_in_quiet = False
            period = max(_PARTIAL_EVERY_SAMPLES, len(self._audio) // _PARTIAL_WINDOW_SHARE)
            return quiet == 0 and self._recognition.partials and self._fresh >= period
        # What follows the first decode of a pause is silence, or a breath the detector waits for: one more will do.
        later = quiet >= _QUIET_SAMPLES[1] and not self._answered_in_quiet
        return self._fresh > quiet - _QUIET_SAMPLES[later]

    def _decode(self, priority: Priority) -> None:
        """Decode the whole window, in place of any decode under way."""
        self._drop_decoding()
        decode, samples = self._recognition.decode, self._audio.copy()
        try:
            answer = self._recognition.pool.submit(lambda: decode(samples), priority=priority, limit_s=_DECODE_LIMIT_S)
        except (PoolBusy, PoolClosed) as error:
            if priority is Priority.BACKGROUND:
                self._fresh -= _RETRY_SAMPLES
            else:
                self._flush_through = None
                self.report(_as_engine_error(error))
            return
        self._fresh = 0
        under_way = _UnderWay(answer, self._audio.end_sample, self._committed, priority is Priority.BACKGROUND)
        self._decoding = under_way
        answer.add_done_callback(lambda _: self._decoded(under_way))

    def _drop_decoding(self) -> None:
        if self._decoding is not None:
            self._decoding.answer.cancel()
            self._decoding = None

    def _decoded(self, under_way: _UnderWay) -> None:
        if under_way.answer.cancelled():
            return
        self._decoding = None
        error = under_way.answer.exception()
        if error is not None:
            self._decode_failed(under_way, error)
            return
        before = self._heard
        text = under_way.committed.followed_by(under_way.answer.result())
        self._heard = _Heard(text, under_way.through_sample)
        if self._flush_through is not None:
            self._answer_flush()
        elif self._recognition.partials and _worth_showing(text.text, before):
            self._say(TranscriptKind.PARTIAL, self._heard.through_sample)

    def _decode_failed(self, under_way: _UnderWay, error: BaseException) -> None:
        if self._flush_through is None:
            return  # a partial: nobody waits, and the flush will tell
        if under_way.partial:
            self._decode(Priority.URGENT)
            return
        self._flush_through = None
        self._recognition.on_failure(self.utterance_id, _as_engine_error(error))

    def _answer_flush(self) -> None:
        """Answer the pending flush, unless it was overtaken by one that the text at hand does not cover."""
        through = self._flush_through
        if through is None or self._heard is None:
            return
        if self._covers(self._heard.through_sample):
            self._flush_through = None
            self._answered_in_quiet = True
            self._say(TranscriptKind.FLUSHED, through)
        elif self._decoding is None:
            self._decode(Priority.URGENT)

    def _say(self, kind: TranscriptKind, through_sample: int) -> None:
        assert self._heard is not None
        decoded = self._heard.decoded
        self._recognition.on_transcript(
            Transcript(
                self.utterance_id,
                kind,
                decoded.text[:1].upper() + decoded.text[1:],
                self._start_sample,
                through_sample,
                language=self._recognition.language,
                confidence=decoded.confidence,
            )
        )

    def _fold(self) -> None:
        """Turn the head of the window into committed text: at a pause, or past 28 s wherever it is quietest."""
        decode, samples = self._recognition.decode, self._audio.copy()
        must = len(samples) >= LONGEST_PIECE_SAMPLES
        try:
            self._folding = self._recognition.pool.submit(
                lambda: _fold_head(decode, samples, must=must),
                priority=Priority.NORMAL,
                limit_s=_DECODE_LIMIT_S,
            )
        except (PoolBusy, PoolClosed):
            self._fold_at = len(self._audio) + _PARTIAL_EVERY_SAMPLES
            return
        self._folding.add_done_callback(self._folded)

    def _folded(self, answer: asyncio.Future[tuple[int, Decoded]]) -> None:
        if answer.cancelled():
            return
        self._folding = None
        cut, decoded = (0, Decoded()) if answer.exception() is not None else answer.result()
        if cut:
            self._audio.drop(cut)
            self._committed = self._committed.followed_by(decoded)
        self._fold_at = max(_FOLD_FROM_SAMPLES, len(self._audio) + (0 if cut else _FOLD_RETRY_SAMPLES))

    def _fail(self, error: EngineError) -> None:
        self.end()
        self.report(error)


def _fold_head(decode: Decode, samples: Samples, *, must: bool) -> tuple[int, Decoded]:
    """Length and text of the window's head; length 0 where there is no pause and none is enforced."""
    if must:
        cut = cut_point(samples)
    else:
        place = quietest(samples, _FOLD_EARLIEST_SAMPLES, _FOLD_LATEST_SAMPLES)
        if not place.is_pause:
            return 0, Decoded()
        cut = place.index
    return cut, decode(samples[:cut])


def _as_engine_error(error: BaseException) -> EngineError:
    match error:
        case EngineError():
            return error
        case TimeoutError():
            made: EngineError = EngineTimeout(str(error), stage="stt", provider=PROVIDER)
        case PoolBusy():
            made = EngineOverloaded(str(error), stage="stt", provider=PROVIDER)
        case _:
            made = EngineError(f"decoding failed: {error}", stage="stt", provider=PROVIDER)
    made.__cause__ = error
    return made


def _worth_showing(text: str, before: _Heard | None) -> bool:
    """Whether a partial is new, and no guess at half a word that Whisper itself masks ("Go f***")."""
    return bool(text) and "*" not in text and (before is None or before.decoded.text != text)
