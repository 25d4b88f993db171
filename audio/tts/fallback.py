"""Text-to-speech that goes on with another engine: before a phrase sounds, or within it from the next word on.

Owns the order of engines and the limit for a phrase's first audio. Audio of any engine comes at the preferred engine's
rate. Breakers belong to the engines, not to sessions. Driven like any other ``TextToSpeech``.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

import anyio

from audio.codecs.resample import StreamResampler
from audio.errors import EngineError, EngineTimeout
from audio.fallback import DegradationTeller, Guarded, Maker, OnDegraded, nobody_told, warm_all
from audio.stt.port import WordTiming
from audio.tts.port import SpeechAudio, SpeechRequest, TextToSpeech, TtsProfile


@dataclass(slots=True)
class _Spoken:
    """What of a phrase has sounded, in samples of the preferred engine's rate."""

    samples: int = 0
    words: list[WordTiming] = field(default_factory=list[WordTiming])

    def rest_of(self, text: str) -> str | None:
        """What is still to be said; ``None`` where nobody knows, because the engine timed no words."""
        if not self.samples:
            return text
        if not self.words:
            return None
        at = 0
        for word in self.words:
            if word.end_sample > self.samples:
                break
            found = text.find(word.text, at)
            at = found + len(word.text) if found >= 0 else at
        return text[at:].lstrip()


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
        """See the port. Raises the last engine's error, or the error in the middle of a phrase whose words are not
        timed: it is not said twice."""
        error: EngineError | None = None
        spoken = _Spoken()
        for number, guarded in enumerate(self._engines):
            is_last = number == len(self._engines) - 1
            if not guarded.breaker.admits(self._now_s()) and not is_last:
                continue
            rest = spoken.rest_of(request.text)
            if rest is None and error is not None:
                raise error
            why = error or self._engines[0].breaker.last_error
            heard_how = False
            try:
                wanted = replace(request, text=rest or "", voice=request.voice if number == 0 else None)
                async with aclosing(self._spoken_by(guarded.engine, wanted, spoken, is_last=is_last)) as audio:
                    async for piece in audio:
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

    async def aclose(self) -> None:
        """Release the engines."""
        for guarded in self._engines:
            await guarded.engine.aclose()

    async def _spoken_by(
        self, engine: TextToSpeech, request: SpeechRequest, spoken: _Spoken, *, is_last: bool
    ) -> AsyncGenerator[SpeechAudio]:
        made_hz, wanted_hz = engine.profile.sample_rate_hz, self.profile.sample_rate_hz
        resample = None if made_hz == wanted_hz else StreamResampler(made_hz, wanted_hz)
        maker = Maker(engine.profile.provider, engine.profile.model)
        offset = spoken.samples
        async with aclosing(engine.speak(request)) as audio:
            first = True
            while True:
                piece = await self._next(engine, audio, limited=first and not is_last)
                if piece is None:
                    break
                first = False
                samples = piece.samples if resample is None else resample.process(piece.samples)
                words = tuple(
                    WordTiming(
                        word.text,
                        offset + word.start_sample * wanted_hz // made_hz,
                        offset + word.end_sample * wanted_hz // made_hz,
                    )
                    for word in piece.words
                )
                spoken.samples += len(samples)
                spoken.words.extend(words)
                yield SpeechAudio(samples, wanted_hz, words, piece.visemes if resample is None else (), maker)
        tail = None if resample is None else resample.flush()
        if tail is not None and len(tail):
            spoken.samples += len(tail)
            yield SpeechAudio(tail, wanted_hz, maker=maker)

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
