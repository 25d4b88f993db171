from __future__ import annotations

import wave
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from audio.endpoint.smart_turn import SmartTurn
from audio.errors import EngineOverloaded, EngineUnavailable
from audio.formats import Samples
from audio.inference import InferencePool

SPEECH = Path(__file__).parents[1] / "fixtures" / "speech"


def clip(name: str) -> Samples:
    with wave.open(str(SPEECH / name)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)


@pytest_asyncio.fixture
async def pool() -> AsyncIterator[InferencePool]:
    async with InferencePool() as running:
        yield running


@pytest_asyncio.fixture
async def model(pool: InferencePool) -> SmartTurn:
    try:
        return SmartTurn(pool)
    except EngineUnavailable as error:
        pytest.skip(str(error))


@pytest.mark.engines
async def test_a_finished_sentence_sounds_more_finished_than_its_beginning(model: SmartTurn) -> None:
    await model.warm_up()
    whole = clip("goforward.wav")
    finished, begun = await model.probability(whole), await model.probability(whole[: int(0.75 * 16_000)])
    assert 0 <= begun < finished <= 1
    assert finished > 0.9


@pytest.mark.engines
async def test_only_the_last_eight_seconds_count(model: SmartTurn) -> None:
    ending = np.concatenate([np.zeros(6 * 16_000, dtype=np.int16), clip("goforward.wav")])[-8 * 16_000 :]
    before = np.random.default_rng(0).normal(0, 3_000, 16_000).astype(np.int16)
    assert await model.probability(np.concatenate([before, ending])) == await model.probability(ending)


@pytest.mark.engines
async def test_features_equal_a_plain_double_precision_computation(model: SmartTurn) -> None:
    speech = clip("goforward.wav")
    window = np.concatenate([np.zeros(128_000 - len(speech)), speech / 32_768])
    window = (window - window.mean()) / np.sqrt(window.var() + 1e-7)
    padded = np.pad(window, 200, mode="reflect")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160][:800]
    power = np.abs(np.fft.rfft(frames * hann)) ** 2
    from audio.features import slaney_filters  # noqa: PLC0415

    log = np.log10(np.maximum(slaney_filters(80).astype(np.float64) @ power.T, 1e-10))
    expected = (np.maximum(log, log.max() - 8) + 4) / 4
    np.testing.assert_allclose(model.features(speech), expected, atol=1e-4)


@pytest.mark.engines
async def test_silence_and_nothing_at_all_have_a_probability_too(model: SmartTurn) -> None:
    assert 0 <= await model.probability(np.zeros(16_000, dtype=np.int16)) <= 1
    assert 0 <= await model.probability(np.zeros(0, dtype=np.int16)) <= 1


@pytest.mark.engines
async def test_a_closed_pool_is_an_overloaded_engine(model: SmartTurn, pool: InferencePool) -> None:
    await model.warm_up()
    await pool.aclose()
    with pytest.raises(EngineOverloaded):
        await model.probability(clip("goforward.wav"))


@pytest.mark.engines
async def test_a_file_that_is_no_model_makes_the_engine_unavailable(pool: InferencePool, tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    with pytest.raises(EngineUnavailable):
        await SmartTurn(pool, tmp_path / "broken.onnx").warm_up()
