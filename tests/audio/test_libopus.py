"""libopus itself: the same packets as before, straight to 16 kHz, and what is lost made good."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio.codecs import libopus
from audio.codecs.libopus import (
    CODED_RATES_HZ,
    EncoderOptions,
    LibopusDecoder,
    LibopusEncoder,
    OpusUnavailable,
    packet_has_fec,
    packet_samples,
)
from audio.codecs.resample import StreamResampler
from audio.errors import AudioFormatError
from audio.wav import read_wav

SPEECH = Path(__file__).parents[1] / "fixtures" / "speech" / "goforward.wav"


def speech(rate_hz: int) -> np.ndarray:
    samples, from_hz = read_wav(SPEECH)
    resampler = StreamResampler(from_hz, rate_hz)
    return np.concatenate([resampler.process(samples), resampler.flush()])


def frames(samples: np.ndarray, rate_hz: int, ms: int = 20) -> list[np.ndarray]:
    size = rate_hz * ms // 1_000
    return [samples[start : start + size] for start in range(0, len(samples) - size + 1, size)]


def packets_of(samples: np.ndarray, rate_hz: int, **options) -> list[bytes]:
    encoder = LibopusEncoder(rate_hz, EncoderOptions(**options))
    return [encoder.encode(frame) for frame in frames(samples, rate_hz)]


def error_db(decoded: np.ndarray, truth: np.ndarray) -> float:
    """Energy of the difference, relative to the truth."""
    difference = decoded.astype(float) - truth.astype(float)
    return float(10 * np.log10(np.sum(difference**2) / np.sum(truth.astype(float) ** 2)))


@pytest.mark.parametrize("rate_hz", CODED_RATES_HZ)
def test_a_packet_decodes_to_its_length_at_every_rate(rate_hz):
    packet = packets_of(speech(16_000), 16_000)[40]
    assert len(LibopusDecoder(rate_hz).decode(packet)) == rate_hz // 50
    assert packet_samples(packet, rate_hz) == rate_hz // 50


@pytest.mark.parametrize("ms", [5, 10, 20, 40, 60])
def test_every_usual_frame_length_is_encoded(ms):
    encoder = LibopusEncoder(16_000, EncoderOptions())
    assert packet_samples(encoder.encode(np.zeros(16 * ms, np.int16)), 48_000) == 48 * ms


def test_decoding_straight_to_the_hearing_rate_equals_decoding_to_48_khz_and_resampling():
    packets = packets_of(speech(48_000), 48_000)
    high, low = LibopusDecoder(48_000), LibopusDecoder(16_000)
    resampler = StreamResampler(48_000, 16_000)
    resampled = np.concatenate([resampler.process(high.decode(packet)) for packet in packets])
    direct = np.concatenate([low.decode(packet) for packet in packets])
    count = len(resampled) - 100
    loudness = [np.abs(np.fft.rfft(samples[:count]))[: count // 3] for samples in (resampled, direct)]
    assert np.corrcoef(*loudness)[0, 1] > 0.97


def test_samples_are_the_callers_own():
    decoder = LibopusDecoder(16_000)
    packets = packets_of(speech(16_000), 16_000)
    first = decoder.decode(packets[40])
    kept = first.copy()
    decoder.decode(packets[41])
    assert np.array_equal(first, kept)


def test_forward_error_correction_brings_a_lost_packet_back_where_concealment_only_guesses():
    packets = packets_of(speech(16_000), 16_000, expected_loss_percent=30)
    lost = [at for at in range(20, len(packets) - 1) if packet_has_fec(packets[at + 1])][::7]
    assert len(lost) > 5
    whole = LibopusDecoder(16_000)
    truth = [whole.decode(packet) for packet in packets]
    better = 0
    for at in lost:
        corrected, guessed = LibopusDecoder(16_000), LibopusDecoder(16_000)
        for packet in packets[:at]:
            corrected.decode(packet)
            guessed.decode(packet)
        with_fec, concealed = corrected.decode_fec(packets[at + 1], 320), guessed.conceal(320)
        assert len(with_fec) == len(concealed) == 320
        better += error_db(with_fec, truth[at]) < error_db(concealed, truth[at])
    assert better > 0.7 * len(lost)


def test_without_correction_asked_for_no_packet_carries_any():
    assert not any(map(packet_has_fec, packets_of(speech(16_000), 16_000, in_band_fec=False)))


def test_concealment_of_a_long_gap_fades():
    decoder = LibopusDecoder(16_000)
    for packet in packets_of(speech(16_000), 16_000)[:60]:
        decoder.decode(packet)
    for _ in range(20):
        last = decoder.conceal(320)
    assert np.abs(last).max() < 300


def test_silence_becomes_packets_that_need_not_be_sent_and_speech_does_not():
    silence = np.zeros(16_000, np.int16)
    quiet = packets_of(silence, 16_000, dtx=True)
    assert sum(len(packet) <= 2 for packet in quiet) > 25
    assert all(len(packet) > 2 for packet in packets_of(silence, 16_000))
    assert sum(len(packet) <= 2 for packet in packets_of(speech(16_000), 16_000, dtx=True)) < len(quiet)


def test_reset_makes_encoder_and_decoder_as_new():
    encoder, samples = LibopusEncoder(16_000, EncoderOptions()), frames(speech(16_000), 16_000)
    first = [encoder.encode(frame) for frame in samples]
    encoder.reset()
    assert [encoder.encode(frame) for frame in samples] == first
    decoder = LibopusDecoder(16_000)
    decoded = [decoder.decode(packet) for packet in first]
    decoder.reset()
    assert all(np.array_equal(decoder.decode(p), before) for p, before in zip(first, decoded, strict=True))


@given(packet=st.binary(max_size=300))
def test_no_bytes_do_more_than_raise_the_format_error(packet):
    decoder = LibopusDecoder(16_000)
    packet_has_fec(packet)
    for call in (
        lambda: decoder.decode(packet),
        lambda: decoder.decode_fec(packet, 320),
        lambda: packet_samples(packet, 16_000),
    ):
        try:
            call()
        except AudioFormatError:
            continue
    assert len(decoder.conceal(320)) == 320


def test_what_libopus_would_refuse_is_refused():
    with pytest.raises(ValueError, match="bit/s"):
        EncoderOptions(bitrate_bps=1)
    with pytest.raises(ValueError, match="complexity"):
        EncoderOptions(complexity=11)
    with pytest.raises(ValueError, match="loss"):
        EncoderOptions(expected_loss_percent=101)
    with pytest.raises(ValueError, match="22050"):
        LibopusDecoder(22_050)
    encoder = LibopusEncoder(16_000, EncoderOptions())
    for count in (0, 319, 16_000):
        with pytest.raises(ValueError, match="no Opus frame"):
            encoder.encode(np.zeros(count, np.int16))
    with pytest.raises(ValueError, match="at most"):
        LibopusDecoder(16_000).conceal(16_000)


def test_a_machine_without_libopus_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(libopus, "_candidates", lambda: ["/nowhere/libopus.so", "libm.so.6"])
    libopus._load.cache_clear()
    try:
        with pytest.raises(OpusUnavailable, match="libopus0"):
            LibopusDecoder(16_000)
    finally:
        libopus._load.cache_clear()
