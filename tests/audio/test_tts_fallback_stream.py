"""A text stream that changes engines: nothing is lost, no word is said twice, and it is told once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

import pytest

from audio.breaker import BreakerOptions, CircuitBreaker
from audio.errors import EngineError, EngineTimeout
from audio.fallback import Degradation, Guarded
from audio.tts.fallback import FallbackTextToSpeech
from audio.tts.fallback_stream import FallbackTextStream
from audio.tts.port import SpeechAudio, SpeechRequest, TextToSpeech, TtsProfile
from audio.tts.scripted import BeforeChunk, ScriptedTextToSpeech, ScriptedVoice
from audio.tts.scripted_stream import ScriptedTextStreaming

TEXT = "One two three four, five six seven eight. Nine ten eleven twelve thirteen fourteen."
WORDS = TEXT.replace(",", "").replace(".", "").split()
LIMIT_S = 10.0


class Untimed(ScriptedTextToSpeech):
    """A voice that does not tell its words."""

    @property
    def profile(self) -> TtsProfile:
        return replace(super().profile, word_timings=False)

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[SpeechAudio]:
        async with aclosing(super().speak(request)) as audio:
            async for piece in audio:
                yield replace(piece, words=())


def fails_at(number: int) -> BeforeChunk:
    async def before(_: SpeechRequest, at: int) -> None:
        if at == number:
            raise EngineError("the line is dead", stage="tts", provider="scripted")

    return before


async def hangs(_: SpeechRequest, __: int) -> None:
    await asyncio.Event().wait()


def fallback(*engines: TextToSpeech, told: list[Degradation] | None = None) -> FallbackTextToSpeech:
    guarded = [Guarded(engine, CircuitBreaker(BreakerOptions(failures=1))) for engine in engines]
    on_degraded = (lambda _: None) if told is None else told.append
    return FallbackTextToSpeech(guarded, on_degraded=on_degraded, first_audio_s=0.1)


async def spoken(engine: FallbackTextToSpeech, text: str = TEXT) -> list[SpeechAudio]:
    """Written word by word, while it is spoken."""
    stream = await engine.open_text(SpeechRequest(""))

    async def write() -> None:
        for word in text.split():
            await stream.write(f"{word} ")
            await asyncio.sleep(0)
        await stream.finish()

    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as tasks, aclosing(stream.audio()) as audio:
        tasks.create_task(write())
        return [piece async for piece in audio]


async def drain(stream: FallbackTextStream) -> None:
    async with asyncio.timeout(LIMIT_S), aclosing(stream.audio()) as audio:
        async for _ in audio:
            pass


def words(pieces: list[SpeechAudio]) -> list[str]:
    return [word.text.strip(".,") for piece in pieces for word in piece.words]


@pytest.mark.parametrize("at", [0, 3, 11, 25])
@pytest.mark.parametrize("other", [ScriptedTextStreaming, ScriptedTextToSpeech, Untimed])
async def test_the_next_engine_goes_on_with_the_next_word(at: int, other: type[ScriptedTextToSpeech]) -> None:
    told: list[Degradation] = []
    engine = fallback(ScriptedTextStreaming(before_chunk=fails_at(at)), other(ScriptedVoice(16_000)), told=told)
    pieces = await spoken(engine)
    assert words(pieces) == WORDS
    assert {piece.sample_rate_hz for piece in pieces} == {24_000}
    starts = [word.start_sample for piece in pieces for word in piece.words]
    assert starts == sorted(starts)
    assert starts[-1] < sum(len(piece.samples) for piece in pieces)
    assert len(told) == 1


async def test_three_engines_may_take_turns() -> None:
    engine = fallback(
        ScriptedTextStreaming(before_chunk=fails_at(5)),
        ScriptedTextStreaming(before_chunk=fails_at(4)),
        ScriptedTextToSpeech(),
    )
    assert words(await spoken(engine)) == WORDS


async def test_an_engine_that_failed_is_not_asked_again_while_its_breaker_is_open() -> None:
    first = ScriptedTextStreaming(before_chunk=fails_at(2))
    engine = fallback(first, ScriptedTextToSpeech())
    assert words(await spoken(engine)) == WORDS
    assert words(await spoken(engine, "And again.")) == ["And", "again"]
    assert len(first.opened) == 1


async def test_an_engine_that_stays_silent_while_audio_is_due_gives_way() -> None:
    told: list[Degradation] = []
    engine = fallback(ScriptedTextStreaming(before_chunk=hangs), ScriptedTextToSpeech(), told=told)
    assert words(await spoken(engine)) == WORDS
    assert isinstance(told[0].error, EngineTimeout)


async def test_an_engine_that_waits_for_the_rest_of_a_sentence_is_not_late() -> None:
    told: list[Degradation] = []
    engine = fallback(ScriptedTextStreaming(), ScriptedTextToSpeech(), told=told)
    stream = await engine.open_text(SpeechRequest("Half"))

    async def write() -> None:
        await asyncio.sleep(0.4)  # longer than the limit for first audio
        await stream.write(" a sentence.")
        await stream.finish()

    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as tasks, aclosing(stream.audio()) as audio:
        tasks.create_task(write())
        assert words([piece async for piece in audio]) == ["Half", "a", "sentence"]
    assert not told


async def test_the_last_engines_error_is_raised_to_who_listens_and_who_writes() -> None:
    engine = fallback(ScriptedTextStreaming(before_chunk=fails_at(1)), ScriptedTextToSpeech(before_chunk=fails_at(0)))
    stream = await engine.open_text(SpeechRequest(TEXT))
    await stream.finish()
    with pytest.raises(EngineError, match="dead"):
        await drain(stream)
    with pytest.raises(EngineError, match="dead"):
        await stream.write("More.")


async def test_a_phrase_of_a_voice_without_word_times_is_not_said_twice() -> None:
    engine = fallback(
        ScriptedTextStreaming(before_chunk=fails_at(0)),
        Untimed(before_chunk=fails_at(2)),
        ScriptedTextToSpeech(),
    )
    stream = await engine.open_text(SpeechRequest(TEXT))
    await stream.finish()
    with pytest.raises(EngineError, match="dead"):
        await drain(stream)


async def test_a_session_of_its_own_is_told_and_shares_the_breakers() -> None:
    told: list[Degradation] = []
    engine = fallback(ScriptedTextStreaming(before_chunk=fails_at(3)), ScriptedTextToSpeech())
    assert words(await spoken(engine.for_session(told.append))) == WORDS
    assert len(told) == 1
    assert words(await spoken(engine.for_session(told.append), "Once more.")) == ["Once", "more"]
    assert len(told) == 2
