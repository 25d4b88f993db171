"""One turn of synthesis: parts in, messages out, as the engine makes audio.

Owns the turn's clock, counted in samples. Engines that time their words are streamed; of others, where a client wants
words, a phrase is collected first, because Azure tells a word before its audio. Driven by ``tts_connection``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import numpy as np

from audio.formats import Samples, ms_to_samples
from audio.stt.port import WordTiming
from audio.tts.port import SpeechAudio, SpeechRequest, TextToSpeech
from server.azure_emulator.audio_out import AudioOut
from server.azure_emulator.faults import Outgoing
from server.azure_emulator.ssml import Mark, Part, Pause, Say
from server.azure_emulator.stt_phrases import spread_words
from server.azure_emulator.tts_marks import TICKS_PER_S, phrase_events
from server.azure_emulator.tts_session import Utterance

MAX_FRAME_MS: Final = 500


class Speaking:
    """The messages of one utterance. ``duration_ms`` is what was made so far."""

    def __init__(self, tts: TextToSpeech, utterance: Utterance) -> None:
        self._tts = tts
        self._utterance = utterance
        self._out = AudioOut(utterance.form)
        self._rate_hz = tts.profile.sample_rate_hz
        self._position = 0
        wanted = utterance.wanted
        self._times_words = wanted.words or wanted.punctuation or wanted.sentences or wanted.visemes

    @property
    def duration_ms(self) -> int:
        """Of the audio made so far."""
        return self._position * 1_000 // self._rate_hz

    async def say(self, part: Part) -> AsyncGenerator[Outgoing]:
        """The messages of one part. Raises EngineError."""
        match part:
            case Mark(name):
                if self._utterance.wanted.bookmarks:
                    data = {"Offset": self._ticks(), "Bookmark": name}
                    yield self._utterance.metadata("Bookmark", data)
            case Pause(ms):
                silence = np.zeros(ms_to_samples(ms, self._rate_hz), np.int16)
                for message in self._audio(silence):
                    yield message
            case Say():
                async with aclosing(self._words(part)) as messages:
                    async for message in messages:
                        yield message

    def finish(self) -> list[Outgoing]:
        """What comes after the last part, except the end of the turn."""
        rest = self._out.flush()
        said = [self._utterance.audio(rest)] if rest else []
        if self._utterance.wanted.session_end:
            said.append(self._utterance.metadata("SessionEnd", {"Offset": self._ticks()}))
        return said

    async def _words(self, part: Say) -> AsyncGenerator[Outgoing]:
        manner = part.manner
        request = SpeechRequest(part.text, manner.locale, manner.voice or None, manner.rate, urgent=True)
        begins = self._position
        async with aclosing(self._made(request)) as made:
            async for audio in made:
                if self._times_words and audio.words:
                    events = phrase_events(part.text, audio.words, begins, audio.sample_rate_hz, self._utterance.wanted)
                    for _, kind, data in events:
                        yield self._utterance.metadata(kind, data)
                for message in self._audio(_louder(audio.samples, manner.volume)):
                    yield message

    async def _made(self, request: SpeechRequest) -> AsyncGenerator[SpeechAudio]:
        """The engine's audio; with timed words where they are needed, and whole where sentences are."""
        times_words = self._tts.profile.word_timings
        collect = self._times_words and (not times_words or self._utterance.wanted.sentences)
        stretches: list[Samples] = []
        words: list[WordTiming] = []
        async with aclosing(self._tts.speak(request)) as speech:
            async for audio in speech:
                if collect:
                    stretches.append(audio.samples)
                    words.extend(audio.words)
                else:
                    yield audio
        if stretches:
            samples = np.concatenate(stretches)
            timed = tuple(words) if times_words else spread_words(request.text.split(), 0, len(samples))
            yield SpeechAudio(samples, self._rate_hz, timed)

    def _audio(self, samples: Samples) -> list[Outgoing]:
        """Audio messages of a sensible size."""
        step = ms_to_samples(MAX_FRAME_MS, self._rate_hz)
        said: list[Outgoing] = []
        for at in range(0, len(samples), step):
            piece = samples[at : at + step]
            self._position += len(piece)
            payload = self._out.feed(piece, self._rate_hz)
            if payload:
                said.append(self._utterance.audio(payload))
        return said

    def _ticks(self) -> int:
        return self._position * TICKS_PER_S // self._rate_hz


def _louder(samples: Samples, volume: float) -> Samples:
    return samples if volume == 1.0 else np.rint(samples * volume).astype(np.int16)
