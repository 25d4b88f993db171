"""Codec and resampler together: any wire format to the hearing rate, any voice's rate to any wire format."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio.codecs.factory import make_decoder, make_encoder
from audio.codecs.opus import OpusOptions
from audio.codecs.port import MAX_PAYLOAD_MS
from audio.errors import AudioFormatError
from audio.formats import AudioFormat, Encoding, rates_for

FORMATS = [AudioFormat(encoding, rate) for encoding in Encoding for rate in rates_for(encoding)]
EACH_FORMAT = pytest.mark.parametrize("audio_format", FORMATS, ids=lambda f: f"{f.encoding}-{f.sample_rate_hz}")
VOICE_RATES_HZ = (8_000, 16_000, 22_050, 24_000, 48_000)


def sweep(rate_hz: int, seconds: float = 1.0) -> np.ndarray:
    """A voice-like signal: a tone that glides from 300 to 3000 Hz."""
    instants = np.arange(int(rate_hz * seconds)) / rate_hz
    return np.rint(9_000 * np.sin(2 * np.pi * (300 * instants + 1_350 * instants**2))).astype(np.int16)


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """The highest correlation of two signals over small shifts (Opus is late by 6.5 ms)."""
    shortest = min(len(one), len(other)) - 200
    return max(
        float(np.corrcoef(one[shift : shift + shortest].astype(float), other[:shortest])[0, 1]) for shift in range(200)
    )


@EACH_FORMAT
@pytest.mark.parametrize("voice_hz", VOICE_RATES_HZ)
def test_a_voice_at_any_rate_travels_through_every_format_to_the_ear(audio_format, voice_hz):
    encoder = make_encoder(audio_format, voice_hz)
    decoder = make_decoder(audio_format)
    assert encoder.sample_rate_hz == voice_hz
    assert decoder.sample_rate_hz == 16_000
    samples = sweep(voice_hz)
    chunk = voice_hz // 50
    payloads = [p for start in range(0, len(samples), chunk) for p in encoder.encode(samples[start : start + chunk])]
    payloads += encoder.flush()
    heard = np.concatenate([decoder.decode(payload) for payload in payloads])
    assert heard.dtype == np.int16
    assert len(heard) == pytest.approx(16_000, abs=450)  # the decoder's resampler lags, Opus pads its last packet
    assert likeness(heard, sweep(16_000)) > (0.95 if audio_format.encoding is Encoding.OPUS else 0.99)


def test_pcm_at_the_hearing_rate_is_the_payload_itself():
    samples = sweep(16_000)
    audio_format = AudioFormat(Encoding.PCM16, 16_000)
    (payload,) = make_encoder(audio_format, 16_000).encode(samples)
    assert payload == samples.astype("<i2").tobytes()
    assert np.array_equal(make_decoder(audio_format).decode(payload), samples)


def test_pcm_is_little_endian_on_the_wire():
    (payload,) = make_encoder(AudioFormat(Encoding.PCM16, 8_000), 8_000).encode(np.array([0x0102, -2], np.int16))
    assert payload == b"\x02\x01\xfe\xff"


def test_an_odd_number_of_pcm_bytes_is_refused_and_does_not_shift_what_follows():
    decoder = make_decoder(AudioFormat(Encoding.PCM16, 16_000))
    with pytest.raises(AudioFormatError, match="even number of bytes"):
        decoder.decode(b"\x01\x02\x03")
    assert decoder.decode(b"\x01\x02").tolist() == [0x0201]


@pytest.mark.parametrize("rate_hz", rates_for(Encoding.PCM16))
def test_a_pcm_payload_is_bounded_by_its_length_in_time(rate_hz):
    decoder = make_decoder(AudioFormat(Encoding.PCM16, rate_hz), rate_hz)
    longest = 2 * rate_hz * MAX_PAYLOAD_MS // 1_000
    assert len(decoder.decode(bytes(longest))) == longest // 2
    with pytest.raises(AudioFormatError, match="too long"):
        decoder.decode(bytes(longest + 2))


@EACH_FORMAT
def test_empty_input_gives_nothing_and_a_flush_after_nothing_gives_nothing(audio_format):
    encoder = make_encoder(audio_format, 22_050)
    assert encoder.encode(np.empty(0, np.int16)) == []
    assert encoder.flush() == []


@EACH_FORMAT
def test_after_a_flush_an_encoder_carries_nothing_of_the_last_reply_into_the_next(audio_format):
    encoder = make_encoder(audio_format, 22_050)
    encoder.encode(np.full(22_050 // 3, 20_000, np.int16))
    encoder.flush()
    silence = [payload for _ in range(20) for payload in encoder.encode(np.zeros(441, np.int16))]
    decoder = make_decoder(audio_format)
    heard = np.concatenate([decoder.decode(payload) for payload in silence])
    assert np.abs(heard[len(heard) // 4 :]).max() < 100
    if audio_format.encoding is not Encoding.OPUS:
        assert np.abs(heard).max() <= 10  # A-law has no zero: its silence is 8, and the filter rings a little


@EACH_FORMAT
@given(payloads=st.lists(st.binary(max_size=2_000), max_size=8))
def test_garbage_is_decoded_or_refused_and_never_anything_else(audio_format, payloads):
    decoder = make_decoder(audio_format)
    for payload in payloads:
        try:
            samples = decoder.decode(payload)
        except AudioFormatError:
            continue
        assert samples.dtype == np.int16
        assert samples.ndim == 1


def test_streams_of_one_format_do_not_share_state():
    audio_format = AudioFormat(Encoding.OPUS, 48_000)
    one, other = make_encoder(audio_format, 24_000), make_encoder(audio_format, 24_000)
    alone = make_encoder(audio_format, 24_000).encode(sweep(24_000))
    chunks = np.split(sweep(24_000), 50)
    noise = np.random.default_rng(3).integers(-9_000, 9_000, (50, 480)).astype(np.int16)
    mixed = [(one.encode(chunk), other.encode(noisy)) for chunk, noisy in zip(chunks, noise, strict=True)]
    assert list(itertools.chain.from_iterable(packets for packets, _ in mixed)) == alone


def test_opus_options_reach_the_encoder():
    small, large = (
        make_encoder(AudioFormat(Encoding.OPUS, 48_000), 16_000, OpusOptions(bitrate_bps=bitrate)).encode(sweep(16_000))
        for bitrate in (8_000, 64_000)
    )
    assert sum(map(len, small)) < sum(map(len, large)) / 2
