"""One turn's recognition: voice activity cuts phrases, a speech-to-text engine understands them, results come in order.

Owns the detector, the engine's stream and the phrase under way; tells results by callback on the event loop. While an
engine still works on a phrase, what follows waits here. Knows nothing of the wire. Driven by ``stt_connection``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from audio.errors import EngineError
from audio.formats import HEARING_RATE_HZ, PcmChunk, Samples, ms_to_samples
from audio.ring import SampleRing
from audio.stt.port import SpeechToText, SttOptions, SttStream, Transcript, TranscriptKind
from audio.vad.port import EdgeKind, SpeechEdge, VoiceActivityDetector
from server.azure_emulator.stt_phrases import Span
from server.azure_emulator.stt_request import SttRequest
from server.azure_emulator.stt_session import Failed, Finished, Partial, Phrase, Silence, SpeechStarted, SttResult

PADDING_SAMPLES: Final = ms_to_samples(300, HEARING_RATE_HZ)
"""Of audio before speech, for the engine only."""
MAX_WAITING_SAMPLES: Final = 120 * HEARING_RATE_HZ
"""Audio that may wait for an engine that is behind; beyond it the oldest is dropped and counted."""
MAX_PHRASE_SAMPLES: Final = 60 * HEARING_RATE_HZ
"""A phrase without a pause is cut here."""
_STEP_SAMPLES: Final = ms_to_samples(20, HEARING_RATE_HZ)
_RING_SAMPLES: Final = 4 * HEARING_RATE_HZ


@dataclass(slots=True)
class _Speech:
    """A phrase under way. ``end`` is set once it is over and its text was asked for."""

    utterance_id: int
    start: int
    end: int | None = None


class Hearing:
    """Recognition of one turn's audio, from sample 0. Use from one event loop."""

    def __init__(
        self, request: SttRequest, detector: VoiceActivityDetector, on_result: Callable[[SttResult], None]
    ) -> None:
        self._request = request
        self._detector = detector
        self._on_result = on_result
        self._stream: SttStream | None = None
        self._ring = SampleRing(_RING_SAMPLES)
        self._waiting: deque[Samples] = deque()
        self._waiting_samples = 0
        self._edges: deque[SpeechEdge] = deque()
        self._position = 0
        self._quiet_since = 0
        self._begun = 0
        self._speech: _Speech | None = None
        self._finishing = False
        self._closed = False
        self._advancing = False
        self.dropped_samples = 0
        self.phrases = 0

    async def open(self, stt: SpeechToText) -> None:
        """Get a stream of the engine. Raises EngineError."""
        options = SttOptions(self._request.locale, self._request.phrases)
        self._stream = await stt.open(options, self._on_transcript, self._on_failure)

    def push(self, samples: Samples) -> None:
        """The next samples, any number of them."""
        if self._closed or self._finishing:
            return
        for at in range(0, len(samples), _STEP_SAMPLES):
            self._waiting.append(samples[at : at + _STEP_SAMPLES])
        self._waiting_samples += len(samples)
        while self._waiting_samples > MAX_WAITING_SAMPLES:
            self.dropped_samples += self._next()
        self._advance()

    def finish(self) -> None:
        """No more audio comes: ``Finished`` follows once everything is reported."""
        self._finishing = True
        self._advance()

    def stop(self) -> None:
        """Report nothing any more; ``aclose`` must follow."""
        self._closed = True
        self._waiting.clear()

    async def aclose(self) -> None:
        """Release the engine's stream."""
        self.stop()
        if self._stream is not None:
            await self._stream.aclose()

    # --- audio ---

    def _next(self) -> int:
        """Drop the oldest piece that waits; how many samples it had."""
        dropped = len(self._waiting.popleft())
        self._waiting_samples -= dropped
        return dropped

    def _advance(self) -> None:
        """Work on what waits, until an engine must answer first. Results may come back in here: not twice at once."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while not self._closed and (self._speech is None or self._speech.end is None) and self._step():
                pass
        finally:
            self._advancing = False

    def _step(self) -> bool:
        """One piece of work; whether there may be more."""
        if self._edges:
            self._turn(self._edges.popleft())
            return True
        if self._waiting:
            samples = self._waiting[0]
            self._next()
            self._take(PcmChunk(samples, self._position))
            return True
        if self._finishing:
            if self._speech is not None:
                self._flush(self._speech, self._position)
                return True
            self._closed = True
            self._on_result(Finished(self._position))
        return False

    def _take(self, chunk: PcmChunk) -> None:
        assert self._stream is not None
        self._ring.append(chunk)
        self._position = chunk.end_sample
        if self._speech is not None:
            self._stream.push(chunk)
        self._edges.extend(self._detector.process(chunk))
        if self._speech is not None:
            if self._position - self._speech.start >= MAX_PHRASE_SAMPLES and not self._edges:
                self._edges.append(SpeechEdge(EdgeKind.STOPPED, self._position, self._position))
                self._edges.append(SpeechEdge(EdgeKind.STARTED, self._position, self._position))
        elif not self._edges and not self._detector.undecided:
            self._watch_silence()

    def _watch_silence(self) -> None:
        limit = ms_to_samples(self._request.initial_silence_ms, HEARING_RATE_HZ)
        if limit and self._position - self._quiet_since >= limit:
            span = Span(self._quiet_since, self._position)
            self._quiet_since = self._position
            self._on_result(Silence(span))

    def _turn(self, edge: SpeechEdge) -> None:
        """Speech began or ended."""
        assert self._stream is not None
        if edge.kind is EdgeKind.STARTED and self._speech is None:
            self._begun += 1
            begins = max(edge.sample - PADDING_SAMPLES, self._quiet_since, 0)
            audio = self._ring.read(begins, self._position)
            self._speech = _Speech(self._begun, edge.sample)
            self._stream.begin(self._begun, audio.start_sample)
            self._on_result(SpeechStarted(edge.sample))
            if not self._closed:
                self._stream.push(audio)
        elif edge.kind is EdgeKind.STOPPED and self._speech is not None:
            self._flush(self._speech, edge.sample)

    def _flush(self, speech: _Speech, end: int) -> None:
        assert self._stream is not None
        speech.end = max(end, speech.start)
        self._stream.flush(speech.utterance_id, max(end, speech.start))

    # --- from the engine ---

    def _on_transcript(self, transcript: Transcript) -> None:
        speech = self._speech
        if self._closed or speech is None or transcript.utterance_id != speech.utterance_id:
            return
        if transcript.kind is TranscriptKind.PARTIAL:
            self._on_result(Partial(replace(transcript, start_sample=min(speech.start, transcript.through_sample))))
        elif speech.end is not None:
            self.phrases += 1
            self._over(speech, Phrase(replace(transcript, start_sample=speech.start, through_sample=speech.end)))

    def _on_failure(self, utterance_id: int, error: EngineError) -> None:
        del error  # the wire has no place for a reason
        speech = self._speech
        if not self._closed and speech is not None and speech.utterance_id == utterance_id:
            self._over(speech, Failed(Span(speech.start, speech.end or self._position)))

    def _over(self, speech: _Speech, result: SttResult) -> None:
        assert self._stream is not None
        self._stream.end(speech.utterance_id)
        self._speech = None
        self._quiet_since = speech.end or self._position
        self._on_result(result)
        self._advance()
