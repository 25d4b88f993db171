"""An engine's audio as part of a longer utterance: at one rate, its words and mouth shapes at their place in it.

Owns what of the engine's words has not sounded yet: a word is told once its audio is out, so that whoever takes over
from an engine that broke off repeats none and leaves none out. Driven by the fallbacks, one per engine and utterance.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Final

import numpy as np

from audio.codecs.resample import StreamResampler
from audio.errors import EngineTimeout
from audio.fallback import Maker
from audio.formats import Samples
from audio.stt.port import WordTiming
from audio.tts.owed_audio import OwedAudio
from audio.tts.port import SpeechAudio, TtsProfile, Viseme

_WORD: Final = re.compile(r"\S+")


class Placing:
    """Puts an engine's audio behind ``offset`` samples spoken before, at ``wanted_hz``, and says who made it."""

    def __init__(self, made_by: TtsProfile, wanted_hz: int, offset: int) -> None:
        made_hz = self._made_hz = made_by.sample_rate_hz
        self._maker = Maker(made_by.provider, made_by.model)
        self._wanted_hz = wanted_hz
        self._offset = offset
        self._resample = None if made_hz == wanted_hz else StreamResampler(made_hz, wanted_hz)
        self._words: list[WordTiming] = []
        self._visemes: list[Viseme] = []
        self.end = offset
        """How far the whole utterance has sounded."""

    async def placed(self, audio: AsyncGenerator[SpeechAudio], wait: OwedAudio) -> AsyncGenerator[SpeechAudio]:
        """All of the engine's audio, at its place. Raises EngineError, EngineTimeout where it is late."""
        while True:
            limit_s = wait.limit_s
            try:
                piece = await wait.next(audio)
            except TimeoutError as error:
                message = f"no audio within {limit_s:g} s"
                raise EngineTimeout(message, stage="tts", provider=self._maker.provider) from error
            placed = self.finish() if piece is None else self.place(piece)
            if placed is not None and (len(placed.samples) or placed.words):
                yield placed
            if piece is None:
                return

    def place(self, piece: SpeechAudio) -> SpeechAudio | None:
        """The piece, with the words that have sounded by its end; ``None`` where no sample is certain yet."""
        samples = piece.samples if self._resample is None else self._resample.process(piece.samples)
        self._words.extend(
            WordTiming(word.text, self._at(word.start_sample), self._at(word.end_sample)) for word in piece.words
        )
        self._visemes.extend(Viseme(viseme.shape, self._at(viseme.start_sample)) for viseme in piece.visemes)
        if not len(samples):
            return None
        self.end += len(samples)
        sounded = sum(1 for word in self._words if word.end_sample <= self.end)
        begun = sum(1 for viseme in self._visemes if viseme.start_sample < self.end)
        words, self._words = tuple(self._words[:sounded]), self._words[sounded:]
        visemes, self._visemes = tuple(self._visemes[:begun]), self._visemes[begun:]
        return SpeechAudio(samples, self._wanted_hz, words, visemes, self._maker)

    def finish(self) -> SpeechAudio:
        """The engine has said it all: the last samples, and what was still open."""
        samples: Samples = np.zeros(0, np.int16) if self._resample is None else self._resample.flush()
        self.end += len(samples)
        words = tuple(replace(word, end_sample=min(word.end_sample, self.end)) for word in self._words)
        visemes = tuple(self._visemes)
        self._words.clear()
        self._visemes.clear()
        return SpeechAudio(samples, self._wanted_hz, words, visemes, self._maker)

    def _at(self, sample: int) -> int:
        return self._offset + sample * self._wanted_hz // self._made_hz


def shared_out(text: str, start: int, end: int) -> tuple[WordTiming, ...]:
    """The words of ``text``, which sounds from one sample to another, by their length: of voices that time none."""
    spans = [match.span() for match in _WORD.finditer(text)]
    length = max(1, len(text.rstrip()))
    at = [start + (end - start) * min(place, length) // length for span in spans for place in span]
    return tuple(
        WordTiming(text[slice(*span)], at[2 * number], at[2 * number + 1]) for number, span in enumerate(spans)
    )
