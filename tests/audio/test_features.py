from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from audio.features import LogMel, to_float
from audio.formats import Samples

SPEECH = Path(__file__).parents[1] / "fixtures" / "speech"


def clip(name: str) -> Samples:
    with wave.open(str(SPEECH / name)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)


@pytest.mark.engines
@pytest.mark.parametrize("seconds", [0.02, 1.0, 1.5, 2.79])
def test_features_equal_the_reference_extractor_on_speech_followed_by_silence(seconds: float) -> None:
    reference = pytest.importorskip("faster_whisper.feature_extractor").FeatureExtractor()
    audio = to_float(clip("librivox_0930.wav")[8_000 : 8_000 + int(seconds * 16_000)])
    expected = reference(np.pad(audio, (0, 160_000 - len(audio))), padding=0)[:, :1000]
    features = LogMel()(audio, 1000)
    assert features.shape == (80, 1000)
    assert features.flags.c_contiguous
    np.testing.assert_allclose(features, expected, atol=1e-4)


@pytest.mark.engines
def test_audio_that_fills_its_window_is_reflected_at_the_end_as_in_the_reference() -> None:
    reference = pytest.importorskip("faster_whisper.feature_extractor").FeatureExtractor()
    audio = to_float(clip("librivox_0930.wav")[:48_000])
    np.testing.assert_allclose(LogMel()(audio, 300), reference(audio, padding=0)[:, :300], atol=1e-4)


def test_silence_has_equal_features_everywhere() -> None:
    features = LogMel()(np.zeros(1_600, dtype=np.float32), 20)
    np.testing.assert_allclose(features, -1.5, atol=1e-5)


def test_a_tone_is_strongest_in_the_band_that_holds_it() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000).astype(np.float32)
    features = LogMel()(tone, 100)
    # Slaney's scale is linear below 1 kHz: 45.25 mels over 81 steps, 66.7 Hz each.
    assert abs(int(features[:, 50].argmax()) + 1 - 440 / (200 / 3) * 81 / 45.245640471924965) < 1
