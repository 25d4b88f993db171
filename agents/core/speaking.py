"""From phrases to the writer: one turn's speech synthesis, with limits.

Owns the turn's resampler and its degradation: a speech engine that fails or stalls leaves the turn silent, not broken,
and the text goes on. Driven by ``agents.core.turn_run``; knows nothing of models or turn-taking.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

import anyio

from agents.core.options import SessionOptions
from agents.core.writer import Writer
from agents.loop.speakable import speakable
from audio.codecs.resample import StreamResampler
from audio.errors import EngineTimeout
from audio.stt.port import WordTiming
from audio.tts.port import SpeechAudio, SpeechRequest, TextToSpeech


@dataclass(frozen=True, slots=True)
class SpokenPhrase:
    """A phrase that has been synthesized: where its audio lies in the turn."""

    text: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class SpeakingPorts:
    """Where speech goes, and who is told: of its first audio, of the characters of every request, of every piece."""

    tts: TextToSpeech
    writer: Writer
    on_first_audio: Callable[[], None]
    on_request: Callable[[int], None]
    on_piece: Callable[[SpeechAudio], None]


class Speaking:
    """Speaks one turn's phrases, in order."""

    def __init__(self, ports: SpeakingPorts, turn: int, options: SessionOptions) -> None:
        self._ports = ports
        self._turn = turn
        self._options = options
        self._resample = StreamResampler(ports.tts.profile.sample_rate_hz, options.output_rate_hz)
        self._said_anything = False

    async def say(self, text: str, *, remembered: bool = True) -> SpokenPhrase | None:
        """Speak one phrase; ``None`` where there is nothing to say. Raises EngineError.

        A phrase that is not ``remembered`` (a filler) never counts among the words the user heard.
        """
        spoken = speakable(text, self._options.locale)
        if not spoken.strip():
            return None
        start_ms = self._ports.writer.begin_phrase(self._turn, text if remembered else "")
        if start_ms is None:
            return None
        end_ms = start_ms
        self._ports.on_request(len(spoken))
        options = self._options
        request = SpeechRequest(spoken, options.locale, options.voice, options.rate, urgent=not self._said_anything)
        async with aclosing(self._ports.tts.speak(request)) as audio:
            async for piece in self._within_limits(audio):
                self._ports.on_piece(piece)
                if not self._said_anything:
                    self._said_anything = True
                    self._ports.on_first_audio()
                words = [self._at_output_rate(word) for word in piece.words]
                end_ms = await self._ports.writer.write(self._turn, self._resample.process(piece.samples), words)
        return SpokenPhrase(text, start_ms, end_ms)

    async def finish(self) -> None:
        """No more phrases: let the last samples out."""
        if self._said_anything:
            await self._ports.writer.write(self._turn, self._resample.flush())
        self._ports.writer.finish(self._turn)

    async def _within_limits(self, audio: AsyncGenerator[SpeechAudio]) -> AsyncGenerator[SpeechAudio]:
        limit_s = self._options.limits.tts_first_audio_s
        while True:
            try:
                with anyio.fail_after(limit_s):
                    piece = await anext(audio, None)
            except TimeoutError as error:
                provider = self._ports.tts.profile.provider
                raise EngineTimeout(f"no audio within {limit_s:g} s", stage="tts", provider=provider) from error
            if piece is None:
                return
            yield piece
            limit_s = self._options.limits.tts_gap_s

    def _at_output_rate(self, word: WordTiming) -> WordTiming:
        made_hz, sent_hz = self._ports.tts.profile.sample_rate_hz, self._options.output_rate_hz
        start, end = word.start_sample * sent_hz // made_hz, word.end_sample * sent_hz // made_hz
        return WordTiming(word.text, start, end)
