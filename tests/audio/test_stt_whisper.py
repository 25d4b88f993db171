from __future__ import annotations

import asyncio
import re
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from audio.errors import EngineError, EngineUnavailable
from audio.formats import PcmChunk, Samples
from audio.inference import InferencePool
from audio.stt.port import SttOptions, Transcript, TranscriptKind
from audio.stt.whisper import WhisperSpeechToText
from audio.stt.whisper_model import WhisperModel, packaged_model

pytestmark = pytest.mark.engines

SPEECH = Path(__file__).parents[1] / "fixtures" / "speech"
SPOKEN = {
    "goforward.wav": "go forward ten meters",
    "librivox_0930.wav": "he might even have been made amiable himself",
    "cards_003.wav": "seven of clubs",
}
DIGITS = {"7": "seven", "10": "ten"}
LIMIT_S = 30.0


def clip(name: str) -> Samples:
    with wave.open(str(SPEECH / name)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)


def words(text: str) -> list[str]:
    return [DIGITS.get(word, word) for word in re.findall(r"[a-z0-9']+", text.lower())]


@pytest.fixture(scope="module")
def model() -> WhisperModel:
    try:
        return WhisperModel(packaged_model(), workers=1)
    except EngineUnavailable as error:
        pytest.skip(str(error))


@pytest_asyncio.fixture
async def pool() -> AsyncIterator[InferencePool]:
    async with InferencePool() as running:
        yield running


@pytest_asyncio.fixture
async def engine(pool: InferencePool) -> WhisperSpeechToText:
    try:
        return WhisperSpeechToText(pool)
    except EngineUnavailable as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", SPOKEN)
def test_human_speech_is_recognised_word_by_word(model: WhisperModel, name: str) -> None:
    decoded = model.decode(clip(name), model.prompt("en"))
    assert words(decoded.text) == SPOKEN[name].split()
    assert decoded.confidence is not None
    assert 0.1 < decoded.confidence < 1


@pytest.mark.parametrize("level", [0, 5, 100, 3_000])
def test_silence_and_noise_say_nothing(model: WhisperModel, level: int) -> None:
    noise = np.random.default_rng(0).normal(0, level, 32_000).astype(np.int16)
    decoded = model.decode(noise, model.prompt("en"))
    assert (decoded.text, decoded.confidence) == ("", None)


def test_audio_of_a_minute_keeps_every_clip_spoken_in_it(model: WhisperModel) -> None:
    pause = np.zeros(4_800, dtype=np.int16)
    order = ["librivox_0930.wav", "goforward.wav"] * 10
    audio = np.concatenate([piece for name in order for piece in (clip(name), pause)])
    text = words(model.decode(audio, model.prompt("en")).text)
    assert text.count("amiable") >= 9
    assert text.count("forward") >= 9
    assert len(text) >= 0.9 * sum(len(SPOKEN[name].split()) for name in order)


def test_names_given_as_phrases_do_not_disturb_other_speech(model: WhisperModel) -> None:
    prompt = model.prompt("en", ("Dashwood", "Firefox"))
    assert words(model.decode(clip("goforward.wav"), prompt).text) == SPOKEN["goforward.wav"].split()


async def test_partials_grow_into_the_final_text(engine: WhisperSpeechToText, pool: InferencePool) -> None:
    heard: list[Transcript] = []
    answered = asyncio.Event()
    partial = asyncio.Event()

    def on_transcript(transcript: Transcript) -> None:
        heard.append(transcript)
        (answered if transcript.kind is TranscriptKind.FLUSHED else partial).set()

    stream = await engine.open(SttOptions(), on_transcript, lambda _, error: pytest.fail(str(error)))
    speech = clip("librivox_0930.wav")
    stream.begin(1, 0)
    stream.push(PcmChunk(speech[:40_000], 0))
    async with asyncio.timeout(LIMIT_S):
        await partial.wait()
        stream.push(PcmChunk(speech[40_000:], 40_000))
        stream.flush(1, len(speech))
        await answered.wait()
    assert words(heard[-1].text) == SPOKEN["librivox_0930.wav"].split()
    assert heard[-1].text[0].isupper()
    assert words(heard[0].text)[:4] == ["he", "might", "even", "have"]
    assert pool.completed <= 1 + len(heard) + 1
    await stream.aclose()


async def test_a_flush_of_an_utterance_that_is_not_running_fails(engine: WhisperSpeechToText) -> None:
    failed: asyncio.Queue[tuple[int, EngineError]] = asyncio.Queue()
    stream = await engine.open(
        SttOptions(), lambda transcript: pytest.fail(str(transcript)), lambda *failure: failed.put_nowait(failure)
    )
    stream.push(PcmChunk(clip("cards_003.wav"), 0))
    stream.flush(3, 0)
    async with asyncio.timeout(LIMIT_S):
        assert (await failed.get())[0] == 3
    await stream.aclose()


async def test_a_language_the_model_does_not_know_is_refused(engine: WhisperSpeechToText) -> None:
    with pytest.raises(EngineUnavailable):
        await engine.open(SttOptions(locale="it-IT"), lambda _: None, lambda *_: None)


async def test_a_directory_without_a_model_is_unavailable(pool: InferencePool, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable):
        WhisperSpeechToText(pool, tmp_path)


async def test_a_model_may_be_given_as_a_directory(pool: InferencePool) -> None:
    engine = WhisperSpeechToText(pool, packaged_model())
    assert engine.profile.locales == {"en"}
    await engine.warm_up()


async def test_a_broken_model_is_unavailable_when_it_is_loaded(pool: InferencePool, tmp_path: Path) -> None:
    for name in ("tokenizer.json", "config.json"):
        (tmp_path / name).write_bytes((packaged_model() / name).read_bytes())
    (tmp_path / "model.bin").write_bytes(b"broken")
    with pytest.raises(EngineUnavailable):
        await WhisperSpeechToText(pool, tmp_path).warm_up()
