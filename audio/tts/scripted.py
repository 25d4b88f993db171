"""A speaking engine without a voice: a tone as long as the text, at once and always the same.

For tests, benchmarks and trying out a pipeline without speech models. Owns no process, no model and no clock: a hook,
called before each chunk, is where a test waits or fails. Driven like any other ``TextToSpeech``.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from anyio.lowlevel import checkpoint

from audio.errors import EngineUnavailable
from audio.formats import Samples, ms_to_samples
from audio.stt.port import WordTiming
from audio.tts.port import SpeechAudio, SpeechRequest, TtsProfile
from audio.tts.text import has_something_to_say

BeforeChunk = Callable[[SpeechRequest, int], Awaitable[None]]
"""Awaited with the request and the chunk's number (from 0) before each chunk; what it raises, ``speak`` raises."""

_TONE_HZ: Final = 200
_AMPLITUDE: Final = 4_000
_WORD: Final = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class ScriptedVoice:
    """How long and how loud: ``ms_per_character`` of text in chunks of ``chunk_ms`` (at most 1000)."""

    sample_rate_hz: int = 24_000
    ms_per_character: int = 60
    chunk_ms: int = 100


class ScriptedTextToSpeech:
    """``TextToSpeech`` that says nothing, with word timings. Each word begins in the chunk that carries it."""

    def __init__(self, voice: ScriptedVoice | None = None, before_chunk: BeforeChunk | None = None) -> None:
        self._voice = voice or ScriptedVoice()
        self._before_chunk = before_chunk
        self._tone = tone(self._voice.sample_rate_hz)
        self._closed = False

    @property
    def profile(self) -> TtsProfile:
        return TtsProfile(
            provider="scripted",
            model="tone",
            sample_rate_hz=self._voice.sample_rate_hz,
            voices=("tone",),
            streaming=True,
            word_timings=True,
        )

    async def warm_up(self) -> None:
        """Nothing to load."""

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[SpeechAudio]:
        """See the port."""
        text = request.text.strip()
        if not has_something_to_say(text):
            return
        rate_hz = self._voice.sample_rate_hz
        per_character = ms_to_samples(self._voice.ms_per_character, rate_hz) / request.rate
        words = _timed_words(text, per_character)
        total = round(len(text) * per_character)
        step = ms_to_samples(self._voice.chunk_ms, rate_hz)
        for number, start in enumerate(range(0, total, step)):
            if self._before_chunk is not None:
                await self._before_chunk(request, number)
            await checkpoint()
            if self._closed:
                raise EngineUnavailable("the engine is closed", stage="tts", provider="scripted")
            end = min(start + step, total)
            begun = tuple(word for word in words if start <= word.start_sample < end)
            at = start % rate_hz
            yield SpeechAudio(self._tone[at : at + end - start], rate_hz, begun)

    async def aclose(self) -> None:
        """Refuse to speak from here on."""
        self._closed = True


def tone(rate_hz: int) -> Samples:
    """Two seconds of sine, read-only; any second of it joins to any other that starts a whole second later."""
    phase = 2.0 * np.pi * _TONE_HZ / rate_hz * np.arange(2 * rate_hz)
    tone = np.rint(_AMPLITUDE * np.sin(phase)).astype(np.int16)
    tone.flags.writeable = False
    return tone


def _timed_words(text: str, samples_per_character: float) -> tuple[WordTiming, ...]:
    return tuple(
        WordTiming(
            text=match.group(),
            start_sample=round(match.start() * samples_per_character),
            end_sample=round(match.end() * samples_per_character),
        )
        for match in _WORD.finditer(text)
    )
