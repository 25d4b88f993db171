"""Hold music: a loop without a seam, at the line's rate; files that are checked; and that it ends at once."""

from __future__ import annotations

import wave
from pathlib import Path

import anyio
import numpy as np
import pytest

from audio.formats import PCM_RATES_HZ, Samples
from server.hold_music_choice import OFF, RATES_HZ, TONES, check
from server.settings import SettingsError, load_settings
from server.telephony.hold_music import LEVEL, loop, play


class Sink:
    """A ``VoiceSink`` that keeps what it is given."""

    def __init__(self) -> None:
        self.played: list[Samples] = []

    def play(self, samples: Samples, rate_hz: int) -> None:
        assert rate_hz == 8_000
        self.played.append(samples)

    def finish(self) -> None: ...

    def clear(self) -> None: ...


def written(path: Path, samples: Samples, rate_hz: int = 16_000, channels: int = 1) -> str:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.astype("<i2").tobytes())
    return str(path)


def sine(seconds: float, rate_hz: int, hz: int = 200) -> Samples:
    at_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return np.rint(8_000 * np.sin(2 * np.pi * hz * at_s)).astype(np.int16)


def steepest(samples: Samples) -> int:
    return int(np.abs(np.diff(samples.astype(int))).max())


def test_files_may_have_the_rates_that_lines_have() -> None:
    assert set(RATES_HZ) == set(PCM_RATES_HZ)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_the_tones_have_no_seam_and_are_gentle(rate_hz: int) -> None:
    tones = loop(TONES, rate_hz)
    assert len(tones) == 8 * rate_hz
    assert np.abs(tones.astype(int)).max() == LEVEL
    assert steepest(np.concatenate([tones[-50:], tones[:50]])) < 10
    assert steepest(tones) < LEVEL * 2 * np.pi * 400 / rate_hz


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_file_is_at_the_lines_rate_and_has_no_seam(tmp_path: Path, rate_hz: int) -> None:
    path = written(tmp_path / f"{rate_hz}.wav", sine(1.5, 16_000))
    check(path)
    samples = loop(path, rate_hz)
    assert len(samples) == 1.5 * rate_hz
    inside = steepest(samples)
    assert steepest(np.concatenate([samples[-50:], samples[:50]])) <= inside * 1.05
    wanted = sine(1.5, rate_hz).astype(int)
    assert np.abs(samples.astype(int) - wanted).max() < 200


@pytest.mark.parametrize(
    ("seconds", "rate_hz", "channels", "why"),
    [
        (0.5, 16_000, 1, "1 to 120 seconds"),
        (2, 11_025, 1, "mono WAV of 16 bits"),
        (4, 16_000, 2, "mono WAV of 16 bits"),
    ],
)
def test_a_file_that_will_not_do_stops_the_start(
    tmp_path: Path, seconds: float, rate_hz: int, channels: int, why: str
) -> None:
    path = written(tmp_path / "x.wav", sine(seconds, rate_hz), rate_hz, channels)
    with pytest.raises(SettingsError, match=why):
        load_settings(telephony={"hold_music": path})


def test_what_is_no_wav_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"no sound")
    for path in (tmp_path / "x.wav", tmp_path / "none.wav"):
        with pytest.raises(SettingsError, match="cannot be read as a WAV"):
            load_settings(telephony={"hold_music": str(path)})


async def test_it_goes_round_and_is_hardly_ahead_of_the_line(tmp_path: Path) -> None:
    path = written(tmp_path / "x.wav", np.arange(8_000, dtype=np.int16), 8_000)
    sink, began_s = Sink(), anyio.current_time()
    with anyio.move_on_after(1.5):
        await play(sink, path, 8_000)
    played, passed_s = np.concatenate(sink.played), anyio.current_time() - began_s
    assert len(played) > 8_000
    assert len(played) / 8_000 <= passed_s + 0.31
    assert (played == np.arange(len(played)) % 8_000).all()


async def test_off_is_silence() -> None:
    sink = Sink()
    await play(sink, OFF, 8_000)
    assert sink.played == []
