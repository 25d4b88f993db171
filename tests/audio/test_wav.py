"""WAV files of every PCM width and channel count become mono int16, anything else a clear error."""

from __future__ import annotations

import io
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audio.errors import AudioFormatError
from audio.wav import read_wav, write_wav

SPEECH = Path(__file__).parents[1] / "fixtures" / "speech" / "cards_003.wav"


def wav_bytes(content: bytes, width: int, channels: int = 1, rate_hz: int = 16_000) -> bytes:
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate_hz)
        file.writeframes(content)
    return target.getvalue()


@given(values=st.lists(st.integers(-32_768, 32_767)), rate_hz=st.sampled_from([8_000, 22_050, 48_000]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_was_written_is_read_back(tmp_path, values, rate_hz):
    samples = np.array(values, np.int16)
    write_wav(tmp_path / "a.wav", samples, rate_hz)
    back, back_hz = read_wav(tmp_path / "a.wav")
    assert back.dtype == np.int16
    assert back.tolist() == values
    assert back_hz == rate_hz


@pytest.mark.parametrize(
    ("width", "content", "expected"),
    [
        (1, bytes([0, 128, 255]), [-32_768, 0, 32_512]),
        (2, struct.pack("<3h", -32_768, 1, 32_767), [-32_768, 1, 32_767]),
        (3, b"\x00\x00\x80" + b"\x00\x01\x00" + b"\xff\xff\x7f", [-32_768, 1, 32_767]),
        (4, struct.pack("<3i", -(2**31), 65_536, 2**31 - 1), [-32_768, 1, 32_767]),
    ],
)
def test_every_width_is_brought_to_16_bit(tmp_path, width, content, expected):
    (tmp_path / "a.wav").write_bytes(wav_bytes(content, width))
    samples, rate_hz = read_wav(tmp_path / "a.wav")
    assert samples.tolist() == expected
    assert rate_hz == 16_000


def test_channels_are_averaged(tmp_path):
    stereo = struct.pack("<6h", 100, 300, -32_768, -32_768, 32_767, -32_767)
    (tmp_path / "a.wav").write_bytes(wav_bytes(stereo, 2, channels=2))
    assert read_wav(tmp_path / "a.wav")[0].tolist() == [200, -32_768, 0]


def test_a_file_cut_short_gives_the_whole_frames_it_has(tmp_path):
    whole = SPEECH.read_bytes()
    (tmp_path / "a.wav").write_bytes(whole[:1_045])
    samples, _ = read_wav(tmp_path / "a.wav")
    assert samples.tolist() == read_wav(SPEECH)[0][:500].tolist()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"RIFF",
        b"not a wav file at all, but long enough to look at",
        b"\x1aE\xdf\xa3" + bytes(100),
        wav_bytes(b"\0\0", 2).replace(b"\x01\x00\x01\x00", b"\x03\x00\x01\x00", 1),  # IEEE float
        wav_bytes(b"\0\0", 2).replace(b"\x01\x00\x01\x00", b"\x01\x00\x00\x00", 1),  # no channels
        wav_bytes(b"\0\0", 2).replace(struct.pack("<I", 16_000), bytes(4), 1),  # 0 Hz
        wav_bytes(b"\0\0", 2)[:-10] + bytes([200]) + wav_bytes(b"\0\0", 2)[-9:],
    ],
)
def test_anything_else_is_a_format_error_that_names_the_file(tmp_path, content):
    (tmp_path / "odd.wav").write_bytes(content)
    with pytest.raises(AudioFormatError, match=r"odd\.wav"):
        read_wav(tmp_path / "odd.wav")


def test_a_file_that_is_not_there_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_wav(tmp_path / "absent.wav")


@given(st.binary(max_size=60), st.integers(0, 43))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_header_never_does_more_than_raise_the_format_error(tmp_path, junk, at):
    good = wav_bytes(bytes(64), 2)
    (tmp_path / "a.wav").write_bytes(good[:at] + junk + good[at + len(junk) :])
    try:
        samples, rate_hz = read_wav(tmp_path / "a.wav")
    except AudioFormatError:
        return
    assert samples.dtype == np.int16
    assert rate_hz > 0
