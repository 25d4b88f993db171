"""Text-to-speech that changes engines: before sound, within a phrase, and at one rate."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

import anyio
import pytest

from audio.breaker import BreakerOptions, CircuitBreaker
from audio.errors import EngineError, EngineTimeout
from audio.fallback import Degradation, Guarded
from audio.tts.fallback import FallbackTextToSpeech
from audio.tts.port import SpeechAudio, SpeechRequest
from audio.tts.scripted import BeforeChunk, ScriptedTextToSpeech, ScriptedVoice

BROKEN = EngineError("the line is dead", stage="tts", provider="scripted")
TEXT = "one two three four five six seven eight"


def fails_at(number: int) -> BeforeChunk:
    async def before(_: SpeechRequest, at: int) -> None:
        if at == number:
            raise BROKEN

    return before


def pair(before: BeforeChunk, told: list[Degradation], rate_hz: int = 24_000) -> FallbackTextToSpeech:
    first, second = ScriptedTextToSpeech(before_chunk=before), ScriptedTextToSpeech(ScriptedVoice(rate_hz))
    breaker = CircuitBreaker(BreakerOptions(failures=1))
    return FallbackTextToSpeech([Guarded(first, breaker), Guarded(second)], on_degraded=told.append, first_audio_s=0.05)


async def test_a_phrase_is_said_by_the_next_engine_at_the_rate_of_the_first() -> None:
    told: list[Degradation] = []
    engine = pair(fails_at(0), told, rate_hz=16_000)
    audio = [piece async for piece in engine.speak(SpeechRequest(TEXT))]
    assert {piece.sample_rate_hz for piece in audio} == {24_000}
    assert [word.text for piece in audio for word in piece.words] == TEXT.split()
    assert len(told) == 1
    seconds = sum(len(piece.samples) for piece in audio) / 24_000
    assert seconds == pytest.approx(0.06 * len(TEXT), abs=0.02)


async def test_a_phrase_that_breaks_off_goes_on_from_the_next_word() -> None:
    engine = pair(fails_at(8), [])
    audio = [piece async for piece in engine.speak(SpeechRequest(TEXT))]
    words = [word for piece in audio for word in piece.words]
    whole = [word.text for word in words if word.text in TEXT.split()]
    assert whole[-1] == "eight"
    assert set(whole) == set(TEXT.split())
    assert [word.start_sample for word in words] == sorted(word.start_sample for word in words)


class Untimed(ScriptedTextToSpeech):
    """Its words are timed too late to be of use."""

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[SpeechAudio]:
        async with aclosing(super().speak(request)) as audio:
            async for piece in audio:
                yield replace(piece, words=())


def untimed(breaks_at: int) -> FallbackTextToSpeech:
    return FallbackTextToSpeech([Guarded(Untimed(before_chunk=fails_at(breaks_at))), Guarded(ScriptedTextToSpeech())])


async def test_a_phrase_that_has_barely_begun_is_said_again_from_its_beginning() -> None:
    audio = [piece async for piece in untimed(2).speak(SpeechRequest(TEXT))]
    assert [word.text for piece in audio for word in piece.words] == TEXT.split()


async def test_well_into_a_phrase_nobody_can_place_nothing_is_said_twice() -> None:
    with pytest.raises(EngineError, match="dead"):
        [piece async for piece in untimed(8).speak(SpeechRequest(TEXT))]


async def test_an_engine_that_gives_no_sound_in_time_gives_way() -> None:
    async def hangs(_: SpeechRequest, __: int) -> None:
        await anyio.sleep_forever()

    told: list[Degradation] = []
    engine = pair(hangs, told)
    assert [piece async for piece in engine.speak(SpeechRequest("Hello."))]
    assert isinstance(told[0].error, EngineTimeout)


async def test_the_last_engines_error_is_raised() -> None:
    engine = FallbackTextToSpeech([Guarded(ScriptedTextToSpeech(before_chunk=fails_at(0)))])
    with pytest.raises(EngineError, match="dead"):
        [piece async for piece in engine.speak(SpeechRequest("Hello."))]
