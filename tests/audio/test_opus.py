"""Opus packets: real speech survives, bad packets do not hurt, nothing is lost at the end of a stretch."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio.codecs.opus import ENCODER_RATES_HZ, MAX_PACKET_BYTES, OpusDecoder, OpusEncoder, OpusOptions
from audio.codecs.resample import StreamResampler
from audio.errors import AudioFormatError
from audio.wav import read_wav

SPEECH = Path(__file__).parents[1] / "fixtures" / "speech" / "goforward.wav"
LAG_SAMPLES = 312


def speech(rate_hz: int) -> np.ndarray:
    samples, from_hz = read_wav(SPEECH)
    resampler = StreamResampler(from_hz, rate_hz)
    return np.concatenate([resampler.process(samples), resampler.flush()])


def encode(samples: np.ndarray, rate_hz: int = 48_000, options: OpusOptions | None = None) -> list[bytes]:
    encoder = OpusEncoder(rate_hz, options or OpusOptions())
    return [*encoder.encode(samples), *encoder.flush()]


def decode(packets: list[bytes]) -> np.ndarray:
    decoder = OpusDecoder()
    return np.concatenate([decoder.decode(packet) for packet in packets])


def spectral_likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of two 48 kHz signals' log spectrograms below 8 kHz."""

    def spectrogram(samples: np.ndarray) -> np.ndarray:
        frames = samples[: len(samples) // 960 * 960].reshape(-1, 960) * np.hanning(960)
        return np.log10(np.abs(np.fft.rfft(frames))[:, :160] + 300.0).ravel()

    return float(np.corrcoef(spectrogram(one), spectrogram(other))[0, 1])


def lag(late: np.ndarray, reference: np.ndarray) -> int:
    """By how many samples one signal follows another: the peak of their cross-correlation."""
    size = 2 * max(len(late), len(reference))
    return int(np.fft.irfft(np.fft.rfft(late, size) * np.conj(np.fft.rfft(reference, size))).argmax())


@pytest.mark.parametrize("rate_hz", ENCODER_RATES_HZ)
def test_speech_comes_back_as_the_same_speech_late_by_the_known_lag(rate_hz):
    original = speech(rate_hz)
    decoded = decode(encode(original, rate_hz))
    reference = speech(48_000)
    aligned = decoded[LAG_SAMPLES : LAG_SAMPLES + len(reference)]
    assert len(aligned) == len(reference)
    assert spectral_likeness(aligned, reference) > (0.9 if rate_hz >= 16_000 else 0.6)  # 8 kHz keeps half the band
    assert lag(decoded, reference) == pytest.approx(LAG_SAMPLES, abs=12)


def test_a_packet_is_twenty_milliseconds_however_the_samples_arrive():
    encoder = OpusEncoder(24_000, OpusOptions())
    samples = speech(24_000)[: 480 * 10]
    packets = [packet for start in range(0, len(samples), 77) for packet in encoder.encode(samples[start : start + 77])]
    assert len(packets) == 10
    assert [len(OpusDecoder().decode(packet)) for packet in packets] == [960] * 10
    assert packets == OpusEncoder(24_000, OpusOptions()).encode(samples)


@pytest.mark.parametrize("extra", [0, 1, 320, 647, 648, 649, 959])
def test_flush_brings_the_last_sample_out(extra):
    samples = np.zeros(960 * 3 + extra, np.int16)
    samples[-240:] = (12_000 * np.sin(np.arange(240) * 2 * np.pi * 1_000 / 48_000)).astype(np.int16)
    decoded = decode(encode(samples))
    assert len(decoded) % 960 == 0
    assert len(samples) + LAG_SAMPLES <= len(decoded) < len(samples) + LAG_SAMPLES + 960
    tail = decoded[len(samples) + LAG_SAMPLES - 240 : len(samples) + LAG_SAMPLES].astype(np.float64)
    assert np.sqrt(np.mean(tail**2)) > 2_000


def test_an_encoder_goes_on_after_a_flush_and_flushes_nothing_twice():
    encoder = OpusEncoder(48_000, OpusOptions())
    assert encoder.flush() == []
    first = [*encoder.encode(speech(48_000)), *encoder.flush()]
    assert encoder.flush() == []
    second = [*encoder.encode(speech(48_000)), *encoder.flush()]
    assert len(first) == len(second)
    assert spectral_likeness(decode(first), decode(second)) > 0.9


def test_the_bitrate_asked_for_is_about_what_packets_take():
    for bitrate_bps in (12_000, 24_000, 48_000):
        packets = encode(speech(48_000), options=OpusOptions(bitrate_bps=bitrate_bps))
        taken = sum(map(len, packets)) * 8 * 50 / len(packets)
        assert taken == pytest.approx(bitrate_bps, rel=0.3)


def test_complexity_changes_what_is_encoded():
    assert encode(speech(16_000), 16_000, OpusOptions(complexity=0)) != encode(
        speech(16_000), 16_000, OpusOptions(complexity=10)
    )


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b"", "at least one byte"),
        (b"\xff", "not a valid"),
        (b"\xff" * 10, "not a valid"),
        (b"\x03\xff\xff", "not a valid"),
        (bytes(2_000), "not a valid"),
        (bytes(MAX_PACKET_BYTES + 1), "too long"),
    ],
)
def test_a_bad_packet_is_an_error_and_the_decoder_stays_usable(bad, why):
    packets = encode(speech(48_000))
    decoder = OpusDecoder()
    before = [decoder.decode(packet) for packet in packets[:20]]
    with pytest.raises(AudioFormatError, match=why):
        decoder.decode(bad)
    after = [decoder.decode(packet) for packet in packets[20:]]
    assert np.array_equal(np.concatenate(before + after), decode(packets))


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_no_bytes_do_more_than_raise_the_format_error(payloads):
    decoder = OpusDecoder()
    for payload in payloads:
        try:
            samples = decoder.decode(payload)
        except AudioFormatError:
            continue
        assert samples.dtype == np.int16
        assert samples.ndim == 1
        assert len(samples) <= 5_760
    assert len(decoder.decode(encode(np.zeros(960, np.int16))[0])) == 960


def test_stereo_packets_of_a_foreign_encoder_decode_to_mono():
    container = io.BytesIO()
    with av.open(container, "w", format="ogg") as output:
        stream = output.add_stream("libopus", rate=48_000, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.repeat(speech(48_000), 2).reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate = 48_000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    container.seek(0)
    with av.open(container) as source:
        packets = [bytes(packet) for packet in source.demux() if packet.size]
    decoded = decode(packets)
    assert spectral_likeness(decoded[LAG_SAMPLES : LAG_SAMPLES + len(speech(48_000))], speech(48_000)) > 0.9


def test_options_libopus_would_refuse_are_refused_before_it():
    with pytest.raises(ValueError, match="bit/s"):
        OpusOptions(bitrate_bps=5_999)
    with pytest.raises(ValueError, match="complexity"):
        OpusOptions(complexity=11)
    with pytest.raises(ValueError, match="22050"):
        OpusEncoder(22_050, OpusOptions())
