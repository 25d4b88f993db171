"""What every engine that speaks text while it is written must do: scripted, Azure, and fallbacks of any kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager

import numpy as np
import pytest
from azure.emulator_process import azure_emulator

from audio.azure.credentials import KeyCredential
from audio.azure.settings import AzurePlace, AzureTtsSettings
from audio.errors import EngineError
from audio.fallback import Guarded
from audio.inference import InferencePool
from audio.tts.azure import AzureTextToSpeech
from audio.tts.fallback import FallbackTextToSpeech
from audio.tts.port import SpeechAudio, SpeechRequest, TextStream, TextStreamingSpeech, TextToSpeech
from audio.tts.scripted import ScriptedTextToSpeech
from audio.tts.scripted_stream import ScriptedTextStreaming

LIMIT_S = 20.0
TEXT = "Good morning. How may I help you today? I can tell you about the weather."


@pytest.fixture(scope="module")
def azure_url() -> Iterator[str]:
    pytest.importorskip("azure.cognitiveservices.speech", reason="the Speech SDK is not installed (extra: azure)")
    with azure_emulator() as emulator:
        yield emulator.ws_url


async def out_of_order(request: SpeechRequest, number: int) -> None:
    raise EngineError("out of order", stage="tts", provider="scripted")


@asynccontextmanager
async def made(kind: str, url: str) -> AsyncIterator[TextStreamingSpeech]:
    def azure(workers: InferencePool) -> TextToSpeech:
        return AzureTextToSpeech(AzureTtsSettings(AzurePlace(host=url)), KeyCredential("any"), workers)

    async with InferencePool(workers=4) as workers:
        engines: list[TextToSpeech]
        match kind:
            case "scripted":
                engines = [ScriptedTextStreaming()]
            case "azure":
                engines = [azure(workers)]
            case "stream for stream":
                engines = [ScriptedTextStreaming(before_chunk=out_of_order), ScriptedTextStreaming()]
            case "phrases for stream":
                engines = [ScriptedTextStreaming(before_chunk=out_of_order), ScriptedTextToSpeech()]
            case _:
                engines = [azure(workers), ScriptedTextToSpeech()]
        engine = engines[0] if len(engines) == 1 else FallbackTextToSpeech([Guarded(each) for each in engines])
        yield engine  # type: ignore[misc]
        await engine.aclose()


KINDS = ("scripted", "azure", "stream for stream", "phrases for stream", "fallback over azure")


@pytest.fixture(params=KINDS)
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[TextStreamingSpeech]:
    url = request.getfixturevalue("azure_url") if "azure" in request.param else ""
    async with made(request.param, url) as engine:
        yield engine


async def everything(stream: TextStream) -> list[SpeechAudio]:
    async with asyncio.timeout(LIMIT_S), aclosing(stream.audio()) as audio:
        return [piece async for piece in audio]


def words(pieces: list[SpeechAudio]) -> list[str]:
    return [word.text.strip(".,?") for piece in pieces for word in piece.words]


async def test_text_written_word_by_word_is_said_whole_and_in_order(engine: TextStreamingSpeech) -> None:
    assert engine.profile.text_streaming
    stream = await engine.open_text(SpeechRequest(""))

    async def write() -> None:
        for word in TEXT.split():
            await stream.write(f"{word} ")
        await stream.finish()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        pieces = await everything(stream)

    assert words(pieces) == [word.strip(".,?") for word in TEXT.split()]
    starts = [word.start_sample for piece in pieces for word in piece.words]
    assert starts == sorted(starts)
    length = sum(len(piece.samples) for piece in pieces)
    assert max(word.end_sample for piece in pieces for word in piece.words) <= length
    assert {piece.sample_rate_hz for piece in pieces} == {engine.profile.sample_rate_hz}
    assert all(piece.samples.dtype == np.int16 for piece in pieces)


async def test_audio_comes_before_the_text_is_complete(engine: TextStreamingSpeech) -> None:
    stream = await engine.open_text(SpeechRequest("The first sentence is here. And then"))
    async with asyncio.timeout(LIMIT_S), aclosing(stream.audio()) as audio:
        first = await anext(audio)
        assert len(first.samples)
        await stream.write(" another one.")
        await stream.finish()
        rest = [piece async for piece in audio]
    assert words([first, *rest]) == "The first sentence is here And then another one".split()


async def test_text_given_with_the_request_is_the_first_of_it(engine: TextStreamingSpeech) -> None:
    stream = await engine.open_text(SpeechRequest("One two three."))
    await stream.finish()
    assert words(await everything(stream)) == ["One", "two", "three"]


@pytest.mark.parametrize("text", ["", "   ", "\n"])
async def test_a_stream_without_anything_to_say_ends(engine: TextStreamingSpeech, text: str) -> None:
    stream = await engine.open_text(SpeechRequest(text))
    await stream.finish()
    assert words(await everything(stream)) == []


async def test_a_stream_that_is_left_half_way_leaves_the_engine_usable(engine: TextStreamingSpeech) -> None:
    for _ in range(3):
        stream = await engine.open_text(SpeechRequest(TEXT + " And more"))
        async with asyncio.timeout(LIMIT_S), aclosing(stream.audio()) as audio:
            await anext(audio)
        await stream.aclose()
        with pytest.raises(EngineError):
            await stream.write("Too late.")
    stream = await engine.open_text(SpeechRequest("Yes."))
    await stream.finish()
    assert words(await everything(stream)) == ["Yes"], "nothing of what was cut short"


async def test_a_stream_nobody_listened_to_can_be_closed(engine: TextStreamingSpeech) -> None:
    stream = await engine.open_text(SpeechRequest(TEXT))
    await stream.aclose()
    await stream.aclose()


async def test_streams_at_once_do_not_mix(engine: TextStreamingSpeech) -> None:
    async def say(text: str) -> list[str]:
        stream = await engine.open_text(SpeechRequest(""))
        await stream.write(text)
        await stream.finish()
        return words(await everything(stream))

    texts = [f"This is number {name}." for name in ("one", "two", "three")]
    async with asyncio.TaskGroup() as tasks:
        said = [tasks.create_task(say(text)) for text in texts]
    assert [task.result() for task in said] == [text.strip(".").split() for text in texts]


async def test_an_engine_that_closes_ends_its_streams_with_an_error(engine: TextStreamingSpeech) -> None:
    stream = await engine.open_text(SpeechRequest(TEXT + " And more"))
    async with asyncio.timeout(LIMIT_S), aclosing(stream.audio()) as audio:
        await anext(audio)
        await engine.aclose()
        with pytest.raises(EngineError):
            await drain(audio)
    with pytest.raises(EngineError):
        await stream.write("Anyone there?")


async def drain(audio: AsyncGenerator[SpeechAudio]) -> None:
    async for _ in audio:
        pass
