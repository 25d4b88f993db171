"""Puts a codec and a resampler together, so that the rooms behind see one rate and int16 only.

Knows which class serves which encoding. Called by the edge once per direction of a session.
"""

from __future__ import annotations

from typing import assert_never

from audio.codecs.g711 import G711Decoder, G711Encoder
from audio.codecs.libopus import CODED_RATES_HZ
from audio.codecs.opus import DECODED_RATE_HZ, ENCODER_RATES_HZ, OpusDecoder, OpusEncoder, OpusOptions
from audio.codecs.pcm16 import Pcm16Decoder, Pcm16Encoder
from audio.codecs.port import Decoder, Encoder
from audio.codecs.resample import StreamResampler
from audio.formats import HEARING_RATE_HZ, AudioFormat, Encoding, Samples

_DEFAULT_OPUS = OpusOptions()


def make_decoder(audio_format: AudioFormat, to_rate_hz: int = HEARING_RATE_HZ) -> Decoder:
    """A decoder of one stream of ``audio_format`` to mono int16 at ``to_rate_hz``.

    Where rates differ, output lags by the resampler's 1-2 ms. Raises ValueError for a rate that cannot be reached.
    """
    match audio_format.encoding:
        case Encoding.PCM16:
            decoder: Decoder = Pcm16Decoder(audio_format.sample_rate_hz)
        case Encoding.G711_ULAW | Encoding.G711_ALAW:
            decoder = G711Decoder(audio_format.encoding)
        case Encoding.OPUS:
            decoder = OpusDecoder(to_rate_hz if to_rate_hz in CODED_RATES_HZ else DECODED_RATE_HZ)
        case _:
            assert_never(audio_format.encoding)
    return decoder if decoder.sample_rate_hz == to_rate_hz else _ResamplingDecoder(decoder, to_rate_hz)


def make_encoder(audio_format: AudioFormat, from_rate_hz: int, opus: OpusOptions = _DEFAULT_OPUS) -> Encoder:
    """An encoder of one stream of mono int16 at ``from_rate_hz`` to ``audio_format``.

    Opus takes the usual rates as they are. Raises ValueError for a rate that cannot be converted.
    """
    match audio_format.encoding:
        case Encoding.PCM16:
            encoder: Encoder = Pcm16Encoder(audio_format.sample_rate_hz)
        case Encoding.G711_ULAW | Encoding.G711_ALAW:
            encoder = G711Encoder(audio_format.encoding)
        case Encoding.OPUS:
            rate_hz = next((rate for rate in ENCODER_RATES_HZ if rate >= from_rate_hz), ENCODER_RATES_HZ[-1])
            encoder = OpusEncoder(rate_hz, opus)
        case _:
            assert_never(audio_format.encoding)
    return encoder if encoder.sample_rate_hz == from_rate_hz else _ResamplingEncoder(encoder, from_rate_hz)


class _ResamplingDecoder:
    """``Decoder`` at another rate than the codec's own."""

    def __init__(self, decoder: Decoder, to_rate_hz: int) -> None:
        self.sample_rate_hz = to_rate_hz
        self._decoder = decoder
        self._resampler = StreamResampler(decoder.sample_rate_hz, to_rate_hz)

    def decode(self, payload: bytes) -> Samples:
        return self._resampler.process(self._decoder.decode(payload))


class _ResamplingEncoder:
    """``Encoder`` at another rate than the codec's own."""

    def __init__(self, encoder: Encoder, from_rate_hz: int) -> None:
        self.sample_rate_hz = from_rate_hz
        self._encoder = encoder
        self._resampler = StreamResampler(from_rate_hz, encoder.sample_rate_hz)

    def encode(self, samples: Samples) -> list[bytes]:
        return self._encoder.encode(self._resampler.process(samples))

    def flush(self) -> list[bytes]:
        return [*self._encoder.encode(self._resampler.flush()), *self._encoder.flush()]
