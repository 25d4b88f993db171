"""Likeness of what was played and what the microphone hears: recorded voices, a simulated room."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from echo_room import FRAME, EchoRoom

from audio.echo import BANDS, FLOOR_DB, FRAME_MS, MIN_ACTIVE_FRAMES, Levels, band_levels, match_echo, silent_levels
from audio.formats import HEARING_RATE_HZ, Samples
from audio.wav import read_wav

SPEECH = Path(__file__).parents[1] / "fixtures" / "speech"
WINDOW, LAGS = 48, 40


def recording(name: str) -> Samples:
    samples, _ = read_wav(SPEECH / f"{name}.wav")
    return samples


def echo_of(played: Samples, *, delay_ms: int, gain_db: float) -> Samples:
    room = EchoRoom(HEARING_RATE_HZ, delay_ms=delay_ms, gain_db=gain_db)
    room.arrive(played)
    return np.concatenate([room.hear() for _ in range(len(played) // FRAME)])


def windows(near: Samples, played: Samples) -> list[tuple[Levels, Levels]]:
    """Looks at both, 400 ms apart, each with all lags before it."""
    ours, theirs = band_levels(near, HEARING_RATE_HZ), band_levels(played, HEARING_RATE_HZ)
    ends = range(WINDOW + LAGS, min(len(ours), len(theirs)), 20)
    return [(ours[end - WINDOW : end], theirs[end - WINDOW - LAGS : end]) for end in ends]


def test_levels_are_of_whole_frames_in_bands_whatever_the_rate() -> None:
    for rate_hz in (8_000, 16_000, 24_000, 48_000):
        time_s = np.arange(rate_hz // 10) / rate_hz
        tone = np.rint(10_000 * np.sin(2 * np.pi * 1_000 * time_s)).astype(np.int16)
        levels = band_levels(tone, rate_hz)
        assert levels.shape == (100 // FRAME_MS, BANDS)
        assert np.max(levels[2]) == pytest.approx(-13.3, abs=0.5)
        assert np.argmax(levels[2]) == np.argmax(band_levels(tone, rate_hz)[3])
    assert np.all(band_levels(np.zeros(3_200, np.int16), HEARING_RATE_HZ) == pytest.approx(FLOOR_DB))


def test_a_frame_is_measured_with_the_one_before_it() -> None:
    samples = recording("cards_001")[:6_400]
    whole, first = band_levels(samples, HEARING_RATE_HZ), samples[:3_200]
    rest = band_levels(samples[3_200:], HEARING_RATE_HZ, before=first)
    assert np.allclose(whole[10:], rest)


@pytest.mark.parametrize(("delay_ms", "gain_db"), [(60, -6.0), (220, -20.0), (540, -12.0)])
def test_an_echo_is_found_with_its_lag_and_its_level(delay_ms: int, gain_db: float) -> None:
    played = recording("librivox_0870")
    found = [
        match_echo(near, far) for near, far in windows(echo_of(played, delay_ms=delay_ms, gain_db=gain_db), played)
    ]
    sure = [match for match in found if match.frames >= 30]
    assert len(sure) > 8
    assert np.mean([match.likeness > 0.6 for match in sure]) > 0.9
    assert {abs(match.lag * FRAME_MS - delay_ms) <= 20 for match in sure} == {True}
    assert np.median([match.gains_db for match in sure]) == pytest.approx(gain_db, abs=4.0)


def test_another_voice_is_not_like_it() -> None:
    played = recording("librivox_0870")
    for name in ("librivox_0890", "arctic_a0007", "mfa_61-70968-0000"):
        found = [match_echo(near, far) for near, far in windows(recording(name), played)]
        assert max(match.likeness for match in found if match.frames >= 30) < 0.66


def test_silence_is_not_compared() -> None:
    near = band_levels(recording("cards_001")[: WINDOW * FRAME], HEARING_RATE_HZ)
    assert match_echo(near, silent_levels(WINDOW + LAGS)).frames == 0
    far = silent_levels(WINDOW + LAGS)
    far[-MIN_ACTIVE_FRAMES + 1 :] = -20.0
    assert match_echo(near, far).frames == 0
    assert match_echo(near[:0], far).frames == 0
