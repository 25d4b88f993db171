"""The streaming resampler: exact lengths, little lag, flat where speech is, silent where aliases would be."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio.codecs.resample import StreamResampler

RATES = [
    (48_000, 16_000),
    (24_000, 16_000),
    (8_000, 16_000),
    (16_000, 8_000),
    (16_000, 24_000),
    (16_000, 48_000),
    (22_050, 8_000),
    (22_050, 16_000),
    (22_050, 24_000),
    (22_050, 48_000),
    (44_100, 16_000),
    (11_025, 16_000),
]
EACH_PAIR = pytest.mark.parametrize(("from_hz", "to_hz"), RATES)


def convert(samples: np.ndarray, from_hz: int, to_hz: int, cuts: list[int] | None = None) -> np.ndarray:
    resampler = StreamResampler(from_hz, to_hz)
    pieces = np.split(samples, sorted(cuts or []))
    return np.concatenate([*(resampler.process(piece) for piece in pieces), resampler.flush()])


def tone(frequency_hz: float, rate_hz: int, seconds: float = 0.5, amplitude: int = 16_000) -> np.ndarray:
    instants = np.arange(int(seconds * rate_hz)) / rate_hz
    return np.rint(amplitude * np.sin(2 * np.pi * frequency_hz * instants)).astype(np.int16)


def level_db(samples: np.ndarray, amplitude: int = 16_000) -> float:
    """Level of the middle of a signal against a sine of ``amplitude``."""
    middle = samples[len(samples) // 8 : -len(samples) // 8].astype(np.float64)
    return float(10 * np.log10(max(np.mean(middle**2), 1e-6) / (amplitude**2 / 2)))


@given(
    pair=st.sampled_from(RATES),
    length=st.integers(0, 3_000),
    cuts=st.lists(st.integers(0, 3_000), max_size=12),
    seed=st.integers(0, 9),
)
def test_however_a_stream_is_cut_its_output_is_the_same_and_exactly_as_long_as_the_rule_says(pair, length, cuts, seed):
    samples = np.random.default_rng(seed).integers(-20_000, 20_000, length).astype(np.int16)
    whole = convert(samples, *pair)
    parts = convert(samples, *pair, cuts=[min(cut, length) for cut in cuts])
    assert len(whole) == len(parts) == ceil(Fraction(length * pair[1], pair[0]))
    # Sums of floats in another order may round differently, by one step of 65536.
    assert np.abs(whole.astype(int) - parts).max(initial=0) <= 1


@EACH_PAIR
def test_output_lags_input_by_less_than_two_and_a_half_milliseconds(from_hz, to_hz):
    resampler = StreamResampler(from_hz, to_hz)
    received = emitted = 0
    for _ in range(50):
        received += from_hz // 50
        emitted += len(resampler.process(np.zeros(from_hz // 50, np.int16)))
        lag_ms = 1_000 * (received / from_hz - emitted / to_hz)
        assert 0 < lag_ms < 2.5


@EACH_PAIR
def test_a_click_comes_out_at_the_instant_it_went_in(from_hz, to_hz):
    samples = np.zeros(from_hz // 10, np.int16)
    samples[from_hz // 20] = 30_000
    peak = int(np.argmax(np.abs(convert(samples, from_hz, to_hz).astype(int))))
    assert abs(peak / to_hz - (from_hz // 20) / from_hz) <= 0.5 / to_hz + 1e-9


@EACH_PAIR
def test_speech_frequencies_pass_undamped(from_hz, to_hz):
    lower = min(from_hz, to_hz)
    for frequency in (100, 0.25 * lower, 0.4375 * lower):
        assert level_db(convert(tone(frequency, from_hz), from_hz, to_hz)) == pytest.approx(0, abs=0.1)


def test_seven_kilohertz_pass_from_48_to_16_khz():
    assert level_db(convert(tone(7_000, 48_000), 48_000, 16_000)) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(("from_hz", "to_hz"), [pair for pair in RATES if pair[0] > pair[1]])
def test_what_the_lower_rate_cannot_carry_does_not_come_back_as_aliases(from_hz, to_hz):
    for frequency in np.linspace(0.5625 * to_hz, 0.5 * from_hz - 1, 7):
        assert level_db(convert(tone(frequency, from_hz), from_hz, to_hz)) < -65


@pytest.mark.parametrize(("from_hz", "to_hz"), [pair for pair in RATES if pair[0] < pair[1]])
def test_a_tone_brings_no_images_of_itself_along(from_hz, to_hz):
    output = convert(tone(0.4 * from_hz, from_hz, seconds=1), from_hz, to_hz)[to_hz // 10 : -to_hz // 10]
    spectrum = np.abs(np.fft.rfft(output * np.blackman(len(output)))) ** 2
    at = round(0.4 * from_hz * len(output) / to_hz)
    assert 10 * np.log10((spectrum.sum() - spectrum[at - 6 : at + 7].sum()) / spectrum.sum()) < -60


@EACH_PAIR
def test_a_constant_keeps_its_value(from_hz, to_hz):
    output = convert(np.full(from_hz // 5, 12_345, np.int16), from_hz, to_hz)
    assert set(output[len(output) // 4 : -len(output) // 4].tolist()) == {12_345}


@EACH_PAIR
def test_full_scale_square_waves_clip_and_never_wrap_around(from_hz, to_hz):
    half = from_hz // 400
    square = np.tile(np.r_[np.full(half, 32_767), np.full(half, -32_768)], 40).astype(np.int16)
    output = convert(square, from_hz, to_hz)
    crossings = int(np.count_nonzero(np.diff(np.signbit(output[: len(output) - to_hz // 100]))))
    assert output.max() == 32_767
    assert output.min() == -32_768
    assert crossings <= 2 * 40  # a sample that wrapped around would add two


def test_equal_rates_pass_samples_through_untouched():
    resampler = StreamResampler(16_000, 16_000)
    samples = tone(440, 16_000)
    assert resampler.process(samples) is samples
    assert len(resampler.flush()) == 0


def test_after_a_flush_the_resampler_is_as_new():
    resampler = StreamResampler(22_050, 24_000)
    samples = tone(440, 22_050)
    first = np.concatenate([resampler.process(samples), resampler.flush()])
    assert len(resampler.flush()) == 0
    second = np.concatenate([resampler.process(samples), resampler.flush()])
    assert np.array_equal(first, second)


def test_a_long_chunk_is_converted_like_many_short_ones():
    samples = np.random.default_rng(1).integers(-20_000, 20_000, 22_050 * 5).astype(np.int16)
    whole = convert(samples, 22_050, 16_000)
    parts = convert(samples, 22_050, 16_000, cuts=list(range(441, len(samples), 441)))
    assert len(whole) == 80_000
    assert np.abs(whole.astype(int) - parts).max() <= 1


@pytest.mark.parametrize(("from_hz", "to_hz"), [(0, 16_000), (16_000, -1), (16_001, 16_000), (48_000, 7_919)])
def test_rates_it_cannot_convert_are_refused(from_hz, to_hz):
    with pytest.raises(ValueError, match="Hz"):
        StreamResampler(from_hz, to_hz)
