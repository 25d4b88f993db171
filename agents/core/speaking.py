"""From phrases to the writer: one turn's speech synthesis, with limits.

A reply that is spoken while it is written goes through here too, piece by piece (``agents.core.streamed_reply``).

Owns the turn's resampler and its degradation: a speech engine that fails or stalls leaves the turn silent, not broken,
and the text goes on. Driven by ``agents.core.turn_run``; knows nothing of models or turn-taking.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import cast

import anyio

from agents.core.options import SessionOptions
from agents.core.turn_watch import TurnWatch
from agents.core.voice_requests import VoiceRequests
from agents.core.writer import Writer
from agents.loop.speakable import speakable
from audio.codecs.resample import StreamResampler
from audio.errors import EngineTimeout
from audio.formats import samples_to_ms
from audio.stt.port import WordTiming
from audio.tts.port import SpeechAudio, SpeechRequest, TextStream, TextStreamingSpeech, TextToSpeech, Viseme


@dataclass(frozen=True, slots=True)
class SpokenPhrase:
    """A phrase that has been synthesized: where its audio lies in the turn."""

    text: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class PreparedSpeech:
    """A phrase that was spoken before it is needed, at the voice's own rate."""

    text: str
    pieces: tuple[SpeechAudio, ...]

    @property
    def ms(self) -> int:
        """Its length."""
        rate_hz = self.pieces[0].sample_rate_hz if self.pieces else 1
        return samples_to_ms(sum(len(piece.samples) for piece in self.pieces), rate_hz)


@dataclass(frozen=True, slots=True)
class SpeakingPorts:
    """Where speech goes; who knows what time there is; who is told of the first audio; and who counts what is asked of
    the voice and made by it."""

    tts: TextToSpeech
    writer: Writer
    watch: TurnWatch
    on_first_audio: Callable[[], None]
    requests: VoiceRequests


class Speaking:
    """Speaks one turn's phrases, in order."""

    def __init__(self, ports: SpeakingPorts, turn: int, options: SessionOptions) -> None:
        self._ports = ports
        self.requests = ports.requests
        self._turn = turn
        self.options = options
        self._resample = StreamResampler(ports.tts.profile.sample_rate_hz, options.output_rate_hz)
        self._said_anything = False

    async def say(self, text: str, *, remembered: bool = True) -> SpokenPhrase | None:
        """Speak one phrase; ``None`` where there is nothing to say. Raises EngineError.

        A phrase that is not ``remembered`` (a filler) never counts among the words the user heard.
        """
        spoken = speakable(text, self.options.locale)
        if not spoken.strip():
            return None
        start_ms = self.begin(text if remembered else "")
        if start_ms is None:
            return None
        end_ms = start_ms
        self.requests.opened()
        self.requests.says(len(spoken))
        async with aclosing(self._ports.tts.speak(self._request(spoken))) as audio:
            async for piece in self._within_limits(audio):
                end_ms = await self.put(piece, [self.at_output_rate(word) for word in piece.words])
        return SpokenPhrase(text, start_ms, end_ms)

    async def prepare(self, text: str) -> PreparedSpeech | None:
        """Speak a phrase to nobody, for later; ``None`` where there is nothing to say. Raises EngineError."""
        spoken = speakable(text, self.options.locale)
        if not spoken.strip():
            return None
        pieces: list[SpeechAudio] = []
        requests = self.requests.apart()
        with requests.ending():
            requests.opened()
            requests.says(len(spoken))
            async with aclosing(self._ports.tts.speak(self._request(spoken))) as audio:
                async for piece in self._within_limits(audio):
                    requests.spoke(piece)
                    pieces.append(piece)
        return PreparedSpeech(text, tuple(pieces))

    async def replay(self, speech: PreparedSpeech) -> SpokenPhrase | None:
        """Say what was prepared, unremembered; ``None`` where the turn has no voice left."""
        start_ms = end_ms = self.begin("")
        if start_ms is None or end_ms is None:
            return None
        for piece in speech.pieces:
            end_ms = await self._put(piece, ())
        return SpokenPhrase(speech.text, start_ms, end_ms)

    def begin(self, text: str) -> int | None:
        """The audio that follows says ``text``. Returns its start in ms; ``None`` where the turn has no voice left."""
        return self._ports.writer.begin_phrase(self._turn, text)

    async def put(self, piece: SpeechAudio, words: Sequence[WordTiming] = ()) -> int:
        """Audio of what was begun, with its words at the output's rate. Returns the length of the turn's audio in ms;
        waits while too much of it is unsent."""
        self.requests.spoke(piece)
        return await self._put(piece, words)

    async def _put(self, piece: SpeechAudio, words: Sequence[WordTiming]) -> int:
        if not self._said_anything and len(piece.samples):
            self._said_anything = True
            self._ports.on_first_audio()
        made_hz, sent_hz = self._ports.tts.profile.sample_rate_hz, self.options.output_rate_hz
        visemes = [Viseme(viseme.shape, viseme.start_sample * sent_hz // made_hz) for viseme in piece.visemes]
        return await self._ports.writer.write(self._turn, self._resample.process(piece.samples), words, visemes)

    @property
    def provider(self) -> str:
        """Whose voice it is."""
        return self._ports.tts.profile.provider

    async def open_text(self) -> TextStream:
        """A stream, where the voice ``can_stream``. Raises EngineError."""
        limit_s = self.first_audio_s
        self.requests.opened()
        try:
            with anyio.fail_after(limit_s):
                return await cast("TextStreamingSpeech", self._ports.tts).open_text(self._request(""))
        except TimeoutError as error:
            message = f"no text stream within {limit_s:g} s"
            raise EngineTimeout(message, stage="tts", provider=self.provider) from error

    def says(self, text: str, characters: int) -> None:
        """What was begun says ``text`` too, for which ``characters`` are written to the voice."""
        self._ports.writer.extend_text(self._turn, text)
        if characters:
            self.requests.says(characters)

    def word_ends(self, sample: int, characters: int) -> None:
        """A word of what was begun, which ends after ``characters`` of its text, ends at ``sample`` of its audio."""
        self._ports.writer.word_ends(self._turn, sample, characters)

    def cut(self) -> None:
        """What of the phrases so far has not been sent stays unsaid."""
        self._ports.writer.cut(self._turn)
        self._resample = StreamResampler(self._ports.tts.profile.sample_rate_hz, self.options.output_rate_hz)

    async def finish(self) -> None:
        """No more phrases: let the last samples out."""
        if self._said_anything:
            await self._ports.writer.write(self._turn, self._resample.flush())
        self._ports.writer.finish(self._turn)

    @property
    def first_audio_s(self) -> float:
        """How long a phrase's first audio is waited for: the turn's first by its budget, where it has one."""
        usual_s, watch = self.options.limits.tts_first_audio_s, self._ports.watch
        if self._said_anything or not (watch.does("tts", "text_only") or watch.does("tts", "fail")):
            return usual_s
        return min(usual_s, watch.hard_limit_s("tts") or usual_s)

    async def _within_limits(self, audio: AsyncGenerator[SpeechAudio]) -> AsyncGenerator[SpeechAudio]:
        limit_s = self.first_audio_s
        while True:
            try:
                with anyio.fail_after(limit_s):
                    piece = await anext(audio, None)
            except TimeoutError as error:
                message = f"no audio within {limit_s:g} s"
                raise EngineTimeout(message, stage="tts", provider=self.provider) from error
            if piece is None:
                return
            yield piece
            limit_s = self.options.limits.tts_gap_s

    def _request(self, spoken: str) -> SpeechRequest:
        """A voice the engine does not say it has is not asked for: a service that refuses it would be lost to all."""
        options = self.options
        voice = options.voice if options.voice in self._ports.tts.profile.voices else None
        urgent = not self._said_anything
        within_s = self._ports.watch.limit_s("tts") if urgent else None
        return SpeechRequest(spoken, options.locale, voice, options.rate, urgent=urgent, within_s=within_s)

    def in_ms(self, samples: int) -> int:
        """A length at the output's rate."""
        return samples_to_ms(samples, self.options.output_rate_hz)

    def at_output_rate(self, word: WordTiming) -> WordTiming:
        """A word of the voice as the client gets it."""
        made_hz, sent_hz = self._ports.tts.profile.sample_rate_hz, self.options.output_rate_hz
        start, end = word.start_sample * sent_hz // made_hz, word.end_sample * sent_hz // made_hz
        return WordTiming(word.text, start, end)
