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

from audio.errors import EngineError
from audio.fallback import DegradationTeller, Guarded, OnDegraded, attempt, in_turn, nobody_told, warm_all
from audio.tts.fallback_stream import FallbackTextStream, FallbackTextStreamPorts
from audio.tts.owed_audio import NO_LIMIT, OwedAudio
from audio.tts.placing import Placing
from audio.tts.port import SpeechAudio, SpeechRequest, TextToSpeech, TtsProfile
from audio.tts.text_progress import TextProgress, whole

_BARELY_BEGUN_S: Final = 0.5
_USUAL_START_S: Final = 0.25
"""What a voice takes to begin, until it is known."""
_LEAST_WAIT_S: Final = 0.1
"""For any voice that is asked at all."""


def first_limit_s(usual_s: float, request: SpeechRequest, following: Guarded[TextToSpeech]) -> float:
    """How long a voice may take to begin: so long that the one that stands in for it can still begin in time."""
    if request.within_s is None:
        return usual_s
    return min(usual_s, max(_LEAST_WAIT_S, request.within_s - following.pace.p95_s(_USUAL_START_S)))


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
    def engines(self) -> tuple[Guarded[TextToSpeech], ...]:
        """All of them, the preferred one first."""
        return self._engines

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
        for number, guarded, is_last in in_turn(self._engines, self._now_s):
            if error is not None and not progress.at and spoken > _BARELY_BEGUN_S * self.profile.sample_rate_hz:
                raise error
            why = error or self._engines[0].breaker.last_error
            engine, text = guarded.engine, progress.rest.lstrip()
            wanted = replace(request, text=text, voice=request.voice if number == 0 else None)
            limit_s = NO_LIMIT if is_last else first_limit_s(self._first_audio_s, request, self._engines[number + 1])
            wait = OwedAudio(whole(text), limit_s, NO_LIMIT)
            asked_s, had = self._now_s(), spoken
            placing = Placing(engine.profile, self.profile.sample_rate_hz, spoken)
            try:
                with attempt(guarded.breaker, self._now_s):
                    async with (
                        aclosing(engine.speak(wanted)) as audio,
                        aclosing(placing.placed(audio, wait)) as placed,
                    ):
                        async for piece in placed:
                            if spoken == had and len(piece.samples):
                                guarded.pace.note(self._now_s() - asked_s)
                            spoken = placing.end
                            for word in piece.words:
                                progress.said(word.text)
                            self._teller.uses(number, engine.profile.provider, why)
                            yield piece
            except EngineError as failure:
                error = failure
            else:
                return
            if is_last:
                raise error

    async def open_text(self, request: SpeechRequest) -> FallbackTextStream:
        """See the port. An engine that breaks off is taken over, phrase by phrase where the next one cannot stream."""
        first_audio_s = self._first_audio_s
        if len(self._engines) > 1:
            first_audio_s = first_limit_s(first_audio_s, request, self._engines[1])
        ports = FallbackTextStreamPorts(self._engines, self._teller, first_audio_s, self._now_s)
        stream = FallbackTextStream(ports, replace(request, text=""))
        if request.text:
            await stream.write(request.text)
        return stream

    async def aclose(self) -> None:
        """Release the engines."""
        for guarded in self._engines:
            await guarded.engine.aclose()
