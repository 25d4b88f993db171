"""Text-to-speech that goes on with another engine: before a phrase sounds, or within it from the next word on.

A phrase that broke off in its first half second, before any word was timed, is said again from its beginning: a
syllable twice is better than an answer that falls silent.

Owns the order of engines and the limit for a phrase's first audio. Audio of any engine comes at the preferred engine's
rate. Breakers belong to the engines, not to sessions. Driven like any other ``TextToSpeech``, and like a
``TextStreamingSpeech`` where the preferred engine is one (``audio.tts.fallback_stream``).
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final

import anyio

from audio.errors import EngineError, EngineTimeout
from audio.fallback import DegradationTeller, Guarded, OnDegraded, nobody_told, warm_all
from audio.tts.fallback_stream import FallbackTextStream, FallbackTextStreamPorts
from audio.tts.placing import Placing
from audio.tts.port import SpeechAudio, SpeechRequest, TextToSpeech, TtsProfile
from audio.tts.text_progress import TextProgress

_BARELY_BEGUN_S: Final = 0.5


class FallbackTextToSpeech:
    """Engines in order of preference, see the module."""

    def __init__(
        self,
        engines: Sequence[Guarded[TextToSpeech]],
        *,
        on_degraded: OnDegraded = nobody_told,
        first_audio_s: float = 1.5,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        if not engines:
            raise ValueError("a fallback needs at least one engine")
        self._engines = tuple(engines)
        self._first_audio_s = first_audio_s
        self._now_s = now_s
        self._teller = DegradationTeller("tts", self.profile.provider, on_degraded)

    @property
    def profile(self) -> TtsProfile:
        """The preferred engine's; an alternate's audio comes at its rate."""
        return self._engines[0].engine.profile

    def for_session(self, on_degraded: OnDegraded) -> FallbackTextToSpeech:
        """The same engines and breakers, telling this session when another has to step in."""
        return FallbackTextToSpeech(
            self._engines, on_degraded=on_degraded, first_audio_s=self._first_audio_s, now_s=self._now_s
        )

    async def warm_up(self) -> None:
        """Warm all of them; raises EngineUnavailable if none can be had."""
        await warm_all(self._engines, self._now_s)

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[SpeechAudio]:
        """See the port. Raises the last engine's error, or the error well into a phrase whose words are not timed:
        it is not said twice."""
        error: EngineError | None = None
        progress = TextProgress(request.text)
        spoken = 0
        for number, guarded in enumerate(self._engines):
            is_last = number == len(self._engines) - 1
            if not guarded.breaker.admits(self._now_s()) and not is_last:
                continue
            if error is not None and not progress.at and spoken > _BARELY_BEGUN_S * self.profile.sample_rate_hz:
                raise error
            why = error or self._engines[0].breaker.last_error
            placing = Placing(guarded.engine.profile, self.profile.sample_rate_hz, spoken)
            heard_how = False
            try:
                wanted = replace(request, text=progress.rest.lstrip(), voice=request.voice if number == 0 else None)
                async with aclosing(self._spoken_by(guarded.engine, wanted, placing, is_last=is_last)) as audio:
                    async for piece in audio:
                        spoken = placing.end
                        for word in piece.words:
                            progress.said(word.text)
                        self._teller.uses(number, guarded.engine.profile.provider, why)
                        yield piece
                guarded.breaker.succeeded()
                heard_how = True
            except EngineError as failure:
                guarded.breaker.failed(failure, self._now_s())
                heard_how = True
                error = failure
            else:
                return
            finally:
                if not heard_how:
                    guarded.breaker.withdrawn()
            if is_last:
                raise error

    async def open_text(self, request: SpeechRequest) -> FallbackTextStream:
        """See the port. An engine that breaks off is taken over, phrase by phrase where the next one cannot stream."""
        ports = FallbackTextStreamPorts(self._engines, self._teller, self._first_audio_s, self._now_s)
        stream = FallbackTextStream(ports, replace(request, text=""))
        if request.text:
            await stream.write(request.text)
        return stream

    async def aclose(self) -> None:
        """Release the engines."""
        for guarded in self._engines:
            await guarded.engine.aclose()

    async def _spoken_by(
        self, engine: TextToSpeech, request: SpeechRequest, placing: Placing, *, is_last: bool
    ) -> AsyncGenerator[SpeechAudio]:
        async with aclosing(engine.speak(request)) as audio:
            first = True
            while True:
                piece = await self._next(engine, audio, limited=first and not is_last)
                if piece is None:
                    break
                first = False
                placed = placing.place(piece)
                if placed is not None:
                    yield placed
        tail = placing.finish()
        if len(tail.samples) or tail.words:
            yield tail

    async def _next(
        self, engine: TextToSpeech, audio: AsyncGenerator[SpeechAudio], *, limited: bool
    ) -> SpeechAudio | None:
        if not limited:
            return await anext(audio, None)
        try:
            with anyio.fail_after(self._first_audio_s):
                return await anext(audio, None)
        except TimeoutError as error:
            message = f"no audio within {self._first_audio_s:g} s"
            raise EngineTimeout(message, stage="tts", provider=engine.profile.provider) from error
