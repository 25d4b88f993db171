"""A scripted voice that speaks text while it is being written, word by word: ``ScriptedTextToSpeech`` with a stream.

For tests and benchmarks of what streams text. Each word sounds once the space behind it has come, as a tone as long as
the word, whose time is counted in characters of everything written. Driven like any ``TextStreamingSpeech``.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Final

import anyio
from anyio.lowlevel import checkpoint

from audio.errors import EngineUnavailable
from audio.formats import ms_to_samples
from audio.stt.port import WordTiming
from audio.tts.port import SpeechAudio, SpeechRequest, TtsProfile, Viseme
from audio.tts.scripted import BeforeChunk, ScriptedTextToSpeech, ScriptedVoice, tone

_WORD: Final = re.compile(r"\S+")


class ScriptedTextStreaming(ScriptedTextToSpeech):
    """See the module. ``opened`` are the streams so far, for a test to look at."""

    def __init__(self, voice: ScriptedVoice | None = None, before_chunk: BeforeChunk | None = None) -> None:
        super().__init__(voice, before_chunk)
        self.opened: list[ScriptedTextStream] = []

    @property
    def profile(self) -> TtsProfile:
        return replace(super().profile, text_streaming=True, visemes=True)

    async def open_text(self, request: SpeechRequest) -> ScriptedTextStream:
        """See the port."""
        if self._closed:
            raise EngineUnavailable("the engine is closed", stage="tts", provider="scripted")
        stream = ScriptedTextStream(request, self._voice, self._before_chunk)
        self.opened.append(stream)
        return stream

    async def aclose(self) -> None:
        """Refuse to speak from here on; streams end with an error."""
        await super().aclose()
        for stream in self.opened:
            await stream.aclose()


class ScriptedTextStream:
    """See ``TextStream``. ``writes`` are what it was given."""

    def __init__(self, request: SpeechRequest, voice: ScriptedVoice, before_chunk: BeforeChunk | None) -> None:
        self.writes: list[str] = [request.text] if request.text else []
        self.finished = False
        self._request = request
        self._voice = voice
        self._before_chunk = before_chunk
        self._tone = tone(voice.sample_rate_hz)
        self._changed = anyio.Event()
        self._closed = False

    async def write(self, text: str) -> None:
        """See the port."""
        await checkpoint()
        self._require_open()
        self.writes.append(text)
        self._wake()

    async def finish(self) -> None:
        """See the port."""
        await checkpoint()
        if not self._closed:
            self.finished = True
            self._wake()

    async def audio(self) -> AsyncGenerator[SpeechAudio]:
        """See the port. What the hook raises, this raises."""
        said, chunks = 0, 0
        while True:
            text = "".join(self.writes)
            end = len(text.rstrip()) if self.finished else text.rstrip().rfind(" ") + 1
            if text[-1:].isspace():
                end = len(text.rstrip())
            if end > said:
                for piece in self._spoken(text, said, end):
                    if self._before_chunk is not None:
                        await self._before_chunk(self._request, chunks)
                    await checkpoint()
                    if self._closed:
                        raise EngineUnavailable("the stream is closed", stage="tts", provider="scripted")
                    chunks += 1
                    yield piece
                said = end
            elif self._closed and not self.finished:
                raise EngineUnavailable("the stream is closed", stage="tts", provider="scripted")
            elif self.finished:
                self._closed = True
                return
            else:
                await self._changed.wait()

    async def aclose(self) -> None:
        """See the port."""
        self._closed = True
        self._wake()

    def _spoken(self, text: str, said: int, end: int) -> list[SpeechAudio]:
        rate_hz = self._voice.sample_rate_hz
        per_character = ms_to_samples(self._voice.ms_per_character, rate_hz) / self._request.rate
        words = [
            WordTiming(match[0], round(match.start() * per_character), round(match.end() * per_character))
            for match in _WORD.finditer(text, said, end)
        ]
        visemes = [Viseme(len(word.text) % 22, word.start_sample) for word in words]
        pieces: list[SpeechAudio] = []
        step = ms_to_samples(self._voice.chunk_ms, rate_hz)
        first, last = round(said * per_character), round(end * per_character)
        for start in range(first, last, step):
            stop = min(start + step, last)
            begun = tuple(word for word in words if start <= word.start_sample < stop)
            shapes = tuple(viseme for viseme in visemes if start <= viseme.start_sample < stop)
            at = start % rate_hz
            pieces.append(SpeechAudio(self._tone[at : at + stop - start], rate_hz, begun, shapes))
        return pieces

    def _require_open(self) -> None:
        if self._closed or self.finished:
            raise EngineUnavailable("the text stream has ended", stage="tts", provider="scripted")

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
