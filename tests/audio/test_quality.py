"""Measures of a microphone's signal, and the advice drawn from them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio.quality import FLOOR_DBFS, QualityMeasures, QualityMeter, QualityThresholds, issues
from audio.wav import read_wav

SPEECH = sorted((Path(__file__).parents[1] / "fixtures" / "speech").glob("*.wav"))
RATE_HZ = 16_000


def sine(amplitude: float, seconds: float = 4.0, offset: float = 0.0) -> np.ndarray:
    wave = amplitude * np.sin(2 * np.pi * 200 * np.arange(int(seconds * RATE_HZ)) / RATE_HZ) + offset
    return np.clip(np.rint(wave), -32_768, 32_767).astype(np.int16)


def measure(samples: np.ndarray, *, speech: bool = True, window_ms: int = 5_000) -> QualityMeasures:
    meter = QualityMeter(window_ms)
    for start in range(0, len(samples), 320):
        meter.push(samples[start : start + 320], speech=speech)
    return meter.snapshot()


def kinds(measures: QualityMeasures) -> list[str]:
    return [issue.kind for issue in issues(measures)]


def test_a_sine_measures_what_theory_says():
    measures = measure(sine(16_384))
    assert measures.duration_ms == measures.speech_ms == 4_000
    assert measures.rms_dbfs == measures.speech_dbfs == pytest.approx(-9.0, abs=0.05)
    assert measures.peak_dbfs == pytest.approx(-6.0, abs=0.05)
    assert measures.clipping_ratio == measures.silence_ratio == 0.0
    assert measures.dc_offset == pytest.approx(0.0, abs=1e-4)
    assert kinds(measures) == []


def test_speech_level_counts_speech_alone():
    meter = QualityMeter()
    for loud in [True, False] * 50:
        meter.push(sine(8_000 if loud else 30, 0.02), speech=loud)
    measures = meter.snapshot()
    assert measures.speech_dbfs == pytest.approx(-15.3, abs=0.05)
    assert measures.rms_dbfs == pytest.approx(-18.3, abs=0.05)
    assert measures.speech_ms == 1_000


@pytest.mark.parametrize("clip", SPEECH, ids=lambda path: path.stem)
def test_real_recordings_of_people_have_no_issue(clip):
    samples, rate_hz = read_wav(clip)
    assert rate_hz == RATE_HZ
    measures = measure(np.tile(samples, 3))
    assert kinds(measures) == []
    assert -40 < measures.rms_dbfs < -10


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (sine(0), ["silence"]),
        (np.full(64_000, 8, np.int16), ["silence"]),  # A-law's silence
        (np.full(64_000, -8, np.int16), ["silence"]),
        (sine(60), ["too_quiet"]),
        (sine(50_000), ["clipping"]),
        (sine(3_000, offset=1_500), ["dc_offset"]),
        (sine(40_000, offset=-9_000), ["clipping", "dc_offset"]),
    ],
)
def test_each_fault_is_named(samples, expected):
    assert kinds(measure(samples)) == expected


def test_clipping_is_seen_in_every_encoding():
    for rail in (32_767, 32_256, 32_124):
        assert measure(np.tile(np.r_[np.full(20, rail), np.zeros(300)], 100).astype(np.int16)).clipping_ratio == 0.0625


def test_every_issue_says_what_to_do_in_a_sentence():
    for samples in (sine(0), sine(60), sine(50_000), sine(3_000, offset=1_500)):
        (issue,) = issues(measure(samples))
        assert issue.message.endswith(".")
        assert ":" in issue.message


def test_quiet_background_without_speech_is_no_issue():
    assert kinds(measure(sine(60), speech=False)) == []
    assert measure(sine(60), speech=False).speech_dbfs is None


def test_noise_suppression_that_zeroes_pauses_does_not_look_like_a_muted_microphone():
    measures = measure(np.concatenate([sine(0, 3.0), sine(8_000, 1.0)]))
    assert measures.silence_ratio == pytest.approx(0.75)
    assert kinds(measures) == []


def test_a_quiet_room_behind_noise_suppression_does_not_look_like_a_muted_microphone():
    room = np.rint(np.random.default_rng(1).normal(0, 1.7, 5 * RATE_HZ)).astype(np.int16)
    measures = measure(room, speech=False)
    assert measures.rms_dbfs < -80
    assert measures.peak_dbfs < -70
    assert kinds(measures) == []


def test_nothing_is_judged_on_too_little_audio():
    assert kinds(measure(sine(0, 1.9))) == []
    assert kinds(measure(sine(60, 2.0)[:15_000])) == []


def test_thresholds_are_data():
    measures = measure(sine(3_000))
    assert issues(measures) == ()
    strict = QualityThresholds(quiet_speech_dbfs=-20.0)
    assert [issue.kind for issue in issues(measures, strict)] == ["too_quiet"]


def test_old_audio_leaves_the_window():
    meter = QualityMeter(window_ms=3_000)
    for samples in (sine(50_000, 5.0), sine(8_000, 3.0)):
        for start in range(0, len(samples), 320):
            meter.push(samples[start : start + 320])
    assert meter.snapshot().clipping_ratio == 0.0
    assert meter.snapshot().duration_ms == 3_000


def test_before_any_audio_the_measures_are_those_of_nothing():
    meter = QualityMeter()
    meter.push(np.empty(0, np.int16))
    measures = meter.snapshot()
    assert measures.duration_ms == 0
    assert measures.rms_dbfs == measures.peak_dbfs == FLOOR_DBFS
    assert kinds(measures) == []


def test_measures_travel_as_a_mapping_of_what_is_known():
    mapping = measure(sine(60), speech=False).as_mapping()
    assert "speech_dbfs" not in mapping
    assert set(mapping) == {field.name for field in dataclasses.fields(QualityMeasures)} - {"speech_dbfs"}


@given(st.lists(st.lists(st.integers(-32_768, 32_767), max_size=400), max_size=30))
def test_measures_stay_in_their_ranges_for_any_signal(chunks):
    meter = QualityMeter()
    for values in chunks:
        meter.push(np.array(values, np.int16), speech=len(values) % 2 == 0)
    measures = meter.snapshot()
    assert FLOOR_DBFS <= measures.rms_dbfs <= measures.peak_dbfs <= 0.0
    assert 0.0 <= measures.clipping_ratio <= 1.0
    assert 0.0 <= measures.silence_ratio <= 1.0
    assert -1.0 <= measures.dc_offset <= 1.0
