"""What every speech-to-text engine must do, run over the scripted engine and over real ones."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from azure.emulator_process import azure_emulator

from audio.azure.credentials import KeyCredential
from audio.azure.settings import AzurePlace, AzureSttSettings
from audio.errors import EngineError, EngineUnavailable
from audio.fallback import Guarded
from audio.formats import PcmChunk, Samples
from audio.inference import InferencePool
from audio.stt.azure import AzureSpeechToText
from audio.stt.fallback import FallbackSpeechToText
from audio.stt.port import SpeechToText, SttOptions, Transcript, TranscriptKind
from audio.stt.scripted import ScriptedSpeechToText
from audio.stt.whisper import WhisperSpeechToText

SPEECH = Path(__file__).parents[1] / "fixtures" / "speech"
LIMIT_S = 30.0
START = 48_000


def clip(name: str) -> Samples:
    with wave.open(str(SPEECH / name)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)


class Heard:
    """What a stream reported, in order."""

    def __init__(self) -> None:
        self.transcripts: list[Transcript] = []
        self.failures: list[tuple[int, EngineError]] = []
        self._changed = asyncio.Event()

    def on_transcript(self, transcript: Transcript) -> None:
        self.transcripts.append(transcript)
        self._changed.set()

    def on_failure(self, utterance_id: int, error: EngineError) -> None:
        self.failures.append((utterance_id, error))
        self._changed.set()

    @property
    def flushed(self) -> list[Transcript]:
        return [each for each in self.transcripts if each.kind is TranscriptKind.FLUSHED]

    async def answers(self, count: int) -> list[Transcript]:
        async with asyncio.timeout(LIMIT_S):
            while len(self.flushed) + len(self.failures) < count:
                self._changed.clear()
                await self._changed.wait()
        assert self.failures == []
        assert len(self.flushed) == count
        return self.flushed


@pytest.fixture(scope="module")
def azure_url() -> Iterator[str]:
    pytest.importorskip("azure.cognitiveservices.speech", reason="the Speech SDK is not installed (extra: azure)")
    with azure_emulator("--say", "Go forward ten meters.") as emulator:
        yield emulator.ws_url


@asynccontextmanager
async def azure_engine(url: str) -> AsyncIterator[SpeechToText]:
    async with InferencePool(workers=4) as workers:
        azure = AzureSpeechToText(AzureSttSettings(AzurePlace(host=url)), KeyCredential("any"), workers)
        await azure.warm_up()
        yield azure
        await azure.aclose()


@pytest_asyncio.fixture(params=["scripted", "azure", "fallback", pytest.param("whisper", marks=pytest.mark.engines)])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[SpeechToText]:
    if request.param == "scripted":
        yield ScriptedSpeechToText(["Go forward ten meters."], partial_every_ms=500)
        return
    if request.param == "azure":
        async with azure_engine(request.getfixturevalue("azure_url")) as azure:
            yield azure
        return
    if request.param == "fallback":
        failing = ScriptedSpeechToText([EngineError("out of order", stage="stt", provider="scripted")])
        working = ScriptedSpeechToText(["Go forward ten meters."], partial_every_ms=500)
        yield FallbackSpeechToText([Guarded(failing), Guarded(working)])
        return
    async with InferencePool() as pool:
        try:
            whisper = WhisperSpeechToText(pool)
            await whisper.warm_up()
        except EngineUnavailable as error:
            pytest.skip(str(error))
        yield whisper
        await whisper.aclose()


@pytest.fixture
def heard() -> Heard:
    return Heard()


def speak(stream: object, samples: Samples, start: int = START) -> int:
    """Push in 20 ms chunks; returns the end."""
    for offset in range(0, len(samples), 320):
        stream.push(PcmChunk(samples[offset : offset + 320], start + offset))  # type: ignore[attr-defined]
    return start + len(samples)


async def test_a_flush_is_answered_once_with_the_utterances_own_positions(engine: SpeechToText, heard: Heard) -> None:
    stream = await engine.open(SttOptions(), heard.on_transcript, heard.on_failure)
    stream.begin(7, START)
    end = speak(stream, clip("goforward.wav"))
    stream.flush(7, end)
    assert heard.flushed == [], "answers never come from inside flush"
    (answer,) = await heard.answers(1)
    assert (answer.utterance_id, answer.start_sample, answer.through_sample) == (7, START, end)
    assert answer.text.lower().startswith("go forward")
    assert answer.confidence is None or 0 < answer.confidence <= 1
    await stream.aclose()


async def test_a_later_flush_overtakes_an_earlier_one(engine: SpeechToText, heard: Heard) -> None:
    stream = await engine.open(SttOptions(), heard.on_transcript, heard.on_failure)
    speech = clip("goforward.wav")
    stream.begin(1, START)
    middle = speak(stream, speech[:24_000])
    stream.flush(1, middle)
    end = speak(stream, speech[24_000:], middle)
    stream.flush(1, end)
    (answer,) = await heard.answers(1)
    assert answer.through_sample == end
    stream.begin(2, end)
    last = speak(stream, speech, end)
    stream.flush(2, last)
    assert [each.utterance_id for each in await heard.answers(2)] == [1, 2]
    await stream.aclose()


async def test_speech_that_goes_on_after_an_answer_is_part_of_the_next_one(engine: SpeechToText, heard: Heard) -> None:
    stream = await engine.open(SttOptions(), heard.on_transcript, heard.on_failure)
    speech = clip("goforward.wav")
    stream.begin(1, START)
    middle = speak(stream, speech[:24_000])
    stream.flush(1, middle)
    await heard.answers(1)
    end = speak(stream, speech[24_000:], middle)
    stream.flush(1, end)
    first, second = await heard.answers(2)
    assert (first.through_sample, second.through_sample) == (middle, end)
    assert second.text.lower().startswith("go forward")
    assert "meters" in second.text
    await stream.aclose()


async def test_nothing_is_heard_of_an_utterance_that_has_ended(engine: SpeechToText, heard: Heard) -> None:
    stream = await engine.open(SttOptions(), heard.on_transcript, heard.on_failure)
    stream.begin(1, START)
    end = speak(stream, clip("goforward.wav"))
    stream.flush(1, end)
    stream.end(1)
    stream.end(1)
    stream.begin(2, end)
    last = speak(stream, clip("goforward.wav"), end)
    stream.flush(2, last)
    (answer,) = await heard.answers(1)
    assert answer.utterance_id == 2
    await stream.aclose()


async def test_beginning_an_utterance_ends_the_one_before(engine: SpeechToText, heard: Heard) -> None:
    stream = await engine.open(SttOptions(), heard.on_transcript, heard.on_failure)
    stream.begin(1, START)
    end = speak(stream, clip("goforward.wav"))
    stream.flush(1, end)
    stream.begin(2, end)
    last = speak(stream, clip("goforward.wav"), end)
    stream.flush(2, last)
    (answer,) = await heard.answers(1)
    assert answer.utterance_id == 2
    await stream.aclose()


async def test_no_partials_come_where_none_are_wanted(engine: SpeechToText, heard: Heard) -> None:
    stream = await engine.open(SttOptions(partials=False), heard.on_transcript, heard.on_failure)
    stream.begin(1, START)
    end = speak(stream, clip("goforward.wav"))
    stream.flush(1, end)
    await heard.answers(1)
    assert [each.kind for each in heard.transcripts] == [TranscriptKind.FLUSHED]
    await stream.aclose()


async def test_an_utterance_without_audio_is_answered_too(engine: SpeechToText, heard: Heard) -> None:
    stream = await engine.open(SttOptions(), heard.on_transcript, heard.on_failure)
    stream.begin(1, START)
    stream.flush(1, START)
    assert len(await heard.answers(1)) == 1
    await stream.aclose()


async def test_two_streams_do_not_hear_each_other(engine: SpeechToText, heard: Heard) -> None:
    other = Heard()
    streams = [await engine.open(SttOptions(), each.on_transcript, each.on_failure) for each in (heard, other)]
    for number, stream in enumerate(streams):
        stream.begin(number, START)
        stream.flush(number, speak(stream, clip("goforward.wav")))
    assert [each.utterance_id for each in await heard.answers(1)] == [0]
    assert [each.utterance_id for each in await other.answers(1)] == [1]
    for stream in streams:
        await stream.aclose()


async def test_a_closed_stream_is_silent(engine: SpeechToText, heard: Heard) -> None:
    stream = await engine.open(SttOptions(), heard.on_transcript, heard.on_failure)
    stream.begin(1, START)
    stream.flush(1, speak(stream, clip("goforward.wav")))
    already = list(heard.transcripts)
    await stream.aclose()
    control = Heard()
    other = await engine.open(SttOptions(), control.on_transcript, control.on_failure)
    other.begin(1, START)
    other.flush(1, speak(other, clip("goforward.wav")))
    await control.answers(1)
    assert (heard.transcripts, heard.failures) == (already, [])
    await other.aclose()


async def test_an_engine_says_what_it_is(engine: SpeechToText) -> None:
    assert engine.profile.provider
    assert engine.profile.model
    assert "en" in engine.profile.locales
