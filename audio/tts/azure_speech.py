"""One phrase (or one stream of text) on its way from a synthesizer to whoever takes it.

Owns the events that have come and not been taken, joins words to audio, and keeps our limits. The service outruns real
time, so what waits here is bounded by the text. Lives on the event loop. Driven by ``audio.tts.azure``.

The SDK tells words and audio on different threads, so either may come first. A word that comes before its audio goes
out with it; one that comes after all the audio there is goes out by itself, at once: in a text stream the next audio
may be as far away as the next sentence.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Final

import numpy as np

from audio.azure.errors import from_cancellation, timed_out
from audio.azure.settings import AzureTtsLimits
from audio.errors import EngineError
from audio.formats import Samples
from audio.stt.port import WordTiming
from audio.tts.azure_synthesizer import (
    RATE_HZ,
    SpeechCanceled,
    SpeechCompleted,
    SpokenAudio,
    SpokenWord,
    SynthesizerEvent,
)
from audio.tts.port import SpeechAudio, Viseme

_NOTHING: Final[Samples] = np.zeros(0, np.int16)
_MOST_IN_CHUNK: Final = RATE_HZ


class Speech:
    """What one synthesizer says, see the module. ``offset`` samples of the phrase were spoken before."""

    def __init__(self, limits: AzureTtsLimits, offset: int = 0) -> None:
        self._limits = limits
        self._offset = offset
        self._events: deque[SynthesizerEvent] = deque()
        self._changed = asyncio.Event()
        self._failure: EngineError | None = None
        self._words: list[WordTiming] = []
        self._visemes: list[Viseme] = []
        self._rest = b""
        self.samples = 0
        """Given out so far."""
        self.completed = False

    def hear(self, event: SynthesizerEvent) -> None:
        """The synthesizer's receiver."""
        self._events.append(event)
        self._changed.set()

    def fail(self, error: EngineError) -> None:
        """End it with this."""
        self._failure = error
        self._changed.set()

    async def chunks(self, is_waiting: Callable[[], bool] = lambda: False) -> AsyncGenerator[SpeechAudio]:
        """Audio as it comes; a piece without samples tells words whose audio went before. Raises EngineError:
        canceled, too late, or ``fail``.

        While ``is_waiting`` (for text that is still being written) no limit of ours runs.
        """
        while not self.completed:
            if self._has_words_to_tell():
                yield self._piece(_NOTHING)
            event = await self._next(self._limits.gap_s if self.samples else self._limits.first_audio_s, is_waiting)
            match event:
                case SpokenAudio(pcm):
                    for chunk in self._chunked(self._samples_of(pcm)):
                        yield chunk
                case SpokenWord(text, start, end):
                    self._words.append(WordTiming(text, self._offset + start, self._offset + end))
                case Viseme(shape, start):
                    self._visemes.append(Viseme(shape, self._offset + start))
                case SpeechCompleted():
                    self.completed = True
                case SpeechCanceled(code, details):
                    raise from_cancellation(code, details, "tts")
        if self.samples and (self._words or self._visemes):
            yield self._piece(_NOTHING)

    async def _next(self, limit_s: float, is_waiting: Callable[[], bool]) -> SynthesizerEvent:
        while not self._events and self._failure is None:
            self._changed.clear()
            waited_for_text = is_waiting()
            try:
                async with asyncio.timeout(limit_s):
                    await self._changed.wait()
            except TimeoutError as error:
                if waited_for_text or self._events or self._failure is not None:
                    continue
                what = "no further audio" if self.samples else "no audio"
                raise timed_out(what, limit_s, "tts") from error
        if self._failure is not None:
            raise self._failure
        return self._events.popleft()

    def _samples_of(self, pcm: bytes) -> Samples:
        data = self._rest + pcm
        whole = len(data) // 2 * 2
        self._rest = data[whole:]
        return np.frombuffer(data[:whole], dtype="<i2").astype(np.int16, copy=False)

    def _has_words_to_tell(self) -> bool:
        """Words whose audio was given out, and no event waits that may bring the audio to take them along.

        An error brings none, and whoever takes over would say them again.
        """
        if self._events and not isinstance(self._events[0], SpeechCanceled):
            return False
        given = self._offset + self.samples
        return any(word.start_sample < given for word in self._words)

    def _chunked(self, samples: Samples) -> list[SpeechAudio]:
        return [
            self._piece(samples[start : start + _MOST_IN_CHUNK]) for start in range(0, len(samples), _MOST_IN_CHUNK)
        ]

    def _piece(self, samples: Samples) -> SpeechAudio:
        self._words.sort(key=lambda word: word.start_sample)
        piece = SpeechAudio(samples, RATE_HZ, tuple(self._words), tuple(self._visemes))
        self._words.clear()
        self._visemes.clear()
        self.samples += len(samples)
        return piece
