"""A text stream that goes on with another engine where one fails: nothing is lost, and no word is said twice.

Owns the stream's text until it has been said, and which engine has been sent how much of it. An engine that cannot
stream is given phrases as they become complete. Breakers and their order are the fallback's. One caller writes, one
takes ``audio``. Driven by ``audio.tts.fallback``.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final, cast

import anyio
import numpy as np

from audio.errors import EngineError, EngineUnavailable
from audio.fallback import DegradationTeller, Guarded, attempt, in_turn
from audio.tts.owed_audio import NO_LIMIT, OwedAudio
from audio.tts.placing import Placing, shared_out
from audio.tts.port import SpeechAudio, SpeechRequest, TextStream, TextStreamingSpeech, TextToSpeech
from audio.tts.text import has_something_to_say
from audio.tts.text_progress import TextProgress, whole

_PHRASE_END: Final = re.compile(r"[.!?…;:,।؟۔][)\]\"'”’»]*\s+(?=\S)|[。！？；，、]")
_LONG_PHRASE: Final = 200
"""Characters that are spoken without waiting for the end of a clause."""


@dataclass(frozen=True, slots=True)
class FallbackTextStreamPorts:
    """The engines in order, who is told which of them speaks, and the limit for first audio of each but the last."""

    engines: Sequence[Guarded[TextToSpeech]]
    teller: DegradationTeller
    first_audio_s: float
    now_s: Callable[[], float]

    @property
    def rate_hz(self) -> int:
        """Of all audio: the preferred engine's."""
        return self.engines[0].engine.profile.sample_rate_hz


class FallbackTextStream:
    """See ``TextStream`` and the module."""

    def __init__(self, ports: FallbackTextStreamPorts, request: SpeechRequest) -> None:
        """``request`` says how to speak; its text is empty."""
        self._ports = ports
        self._request = request
        self._progress = TextProgress()
        self._changed = anyio.Event()
        self._sending = anyio.Lock()
        self._stream: TextStream | None = None
        self._wait: OwedAudio | None = None
        self._sent = 0
        self._end_sent = False
        self._spoken = 0
        self._says_untimed = False
        self._failure: EngineError | None = None

    async def write(self, text: str) -> None:
        """See the port. Raises the last engine's error, once there is none left to speak."""
        self._require_going_on()
        self._progress.wrote(text)
        await self._text_changed()

    async def finish(self) -> None:
        """See the port."""
        self._require_going_on()
        self._progress.finished = True
        await self._text_changed()

    async def audio(self) -> AsyncGenerator[SpeechAudio]:
        """See the port. Raises the last engine's error, or the error in the middle of a phrase whose words are not
        timed: it is not said twice."""
        ports = self._ports
        error: EngineError | None = None
        for number, guarded, is_last in in_turn(ports.engines, ports.now_s):
            why = error or ports.engines[0].breaker.last_error
            try:
                with attempt(guarded.breaker, ports.now_s):
                    async with aclosing(self._spoken_by(number, guarded.engine, is_last=is_last)) as audio:
                        async for piece in audio:
                            ports.teller.uses(number, guarded.engine.profile.provider, why)
                            yield piece
            except EngineError as failure:
                error = failure
            else:
                return
            if is_last or self._says_untimed:
                self._failure = error
                raise error

    async def aclose(self) -> None:
        """See the port."""
        self._failure = EngineUnavailable(
            "the text stream has ended", stage="tts", provider=self._ports.engines[0].engine.profile.provider
        )
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.aclose()

    # --- text ---

    def _require_going_on(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _text_changed(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
        try:
            await self._send()
        except EngineError as error:
            if self._wait is not None:  # whoever takes the audio goes on with the next engine
                self._wait.fail(error)
        if self._wait is not None:
            self._wait.text_changed()

    async def _send(self) -> None:
        """Let the engine's stream have what it has not got. Raises EngineError."""
        async with self._sending:
            stream = self._stream
            if stream is None:
                return
            try:
                await self._send_to(stream)
            except EngineError:
                if stream is self._stream:  # else another has taken over, and what it has not got is sent for it
                    raise

    async def _send_to(self, stream: TextStream) -> None:
        progress = self._progress
        while stream is self._stream and self._sent < len(progress.text):
            piece, self._sent = progress.text[self._sent :], len(progress.text)
            await stream.write(piece)
        if stream is self._stream and progress.finished and not self._end_sent:
            self._end_sent = True
            await stream.finish()

    # --- audio ---

    async def _spoken_by(self, number: int, engine: TextToSpeech, *, is_last: bool) -> AsyncGenerator[SpeechAudio]:
        how = self._request if number == 0 else replace(self._request, voice=None)
        limit_s = NO_LIMIT if is_last else self._ports.first_audio_s
        self._progress.skip_to(self._progress.next_at)
        by = self._streamed if engine.profile.text_streaming else self._phrased
        async with aclosing(by(engine, how, limit_s)) as audio:
            async for piece in audio:
                for word in piece.words:
                    self._progress.said(word.text)
                yield piece

    async def _streamed(self, engine: TextToSpeech, how: SpeechRequest, limit_s: float) -> AsyncGenerator[SpeechAudio]:
        stream = await cast("TextStreamingSpeech", engine).open_text(how)
        wait = OwedAudio(self._progress, limit_s, NO_LIMIT)
        try:
            self._sent, self._end_sent = self._progress.at, False
            self._stream, self._wait = stream, wait
            await self._send()
            async with aclosing(stream.audio()) as audio, aclosing(self._placed(engine, audio, wait)) as placed:
                async for piece in placed:
                    yield piece
            if not self._end_sent:
                raise EngineError("the stream ended early", stage="tts", provider=engine.profile.provider)
        finally:
            self._stream = self._wait = None
            with anyio.CancelScope(shield=True):
                await stream.aclose()

    async def _phrased(self, engine: TextToSpeech, how: SpeechRequest, limit_s: float) -> AsyncGenerator[SpeechAudio]:
        progress = self._progress
        while (end := await self._next_phrase()) is not None:
            text = progress.text[progress.at : end].strip()
            if has_something_to_say(text):
                begins = self._spoken
                wait = OwedAudio(whole(text), limit_s, NO_LIMIT)
                audio = engine.speak(replace(how, text=text))
                async with aclosing(audio), aclosing(self._placed(engine, audio, wait)) as placed:
                    async for piece in placed:
                        self._says_untimed = not engine.profile.word_timings
                        yield piece
                self._says_untimed = False
                if not engine.profile.word_timings:
                    words = shared_out(text, begins, self._spoken)
                    yield SpeechAudio(np.zeros(0, np.int16), self._ports.rate_hz, words)
            progress.skip_to(end)

    async def _placed(
        self, engine: TextToSpeech, audio: AsyncGenerator[SpeechAudio], wait: OwedAudio
    ) -> AsyncGenerator[SpeechAudio]:
        """An engine's audio behind what was spoken before. Raises EngineError."""
        placing = Placing(engine.profile, self._ports.rate_hz, self._spoken)
        async with aclosing(placing.placed(audio, wait)) as placed:
            async for piece in placed:
                self._spoken = placing.end
                yield piece

    async def _next_phrase(self) -> int | None:
        """Where the next phrase ends, once that is certain; ``None`` once all has been said."""
        progress = self._progress
        while True:
            rest = progress.rest
            if not rest and progress.finished:
                return None
            if (end := _phrase_end(rest, is_whole=progress.finished)) is not None:
                return progress.at + end
            await self._changed.wait()


def _phrase_end(text: str, *, is_whole: bool) -> int | None:
    """A good place to cut: after the last clause that is complete, all of it at the end."""
    if is_whole:
        return len(text)
    ends = [match.end() for match in _PHRASE_END.finditer(text)]
    if ends:
        return ends[-1]
    space = text.rfind(" ")
    return space + 1 if space >= _LONG_PHRASE else None
