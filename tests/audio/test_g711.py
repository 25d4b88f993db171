"""G.711 against the recommendation's arithmetic, its published levels, and the standard library where it still is."""

from __future__ import annotations

import importlib
import sys
import warnings

import numpy as np
import pytest

from audio.codecs.g711 import G711Decoder, G711Encoder
from audio.errors import AudioFormatError
from audio.formats import Encoding

EVERY_SAMPLE = np.arange(-32_768, 32_768, dtype=np.int32).astype(np.int16)
EVERY_BYTE = bytes(range(256))
BOTH = pytest.mark.parametrize("encoding", [Encoding.G711_ULAW, Encoding.G711_ALAW])


def encode(encoding: Encoding, samples: np.ndarray) -> bytes:
    return b"".join(G711Encoder(encoding).encode(samples))


def ulaw_reference(sample: int) -> int:
    """Mu-law by its definition: the code whose interval holds the 14-bit magnitude (G.711, table 2)."""
    linear = sample >> 2
    magnitude = min(abs(linear), 8_158)
    for code in range(128):
        segment, step = divmod(code, 16)
        lower = ((16 + step) << (segment + 1)) - 33
        if max(lower, 0) <= magnitude < lower + (2 << segment):
            return (code ^ 0x7F) | (0x80 if linear >= 0 else 0)
    raise AssertionError(sample)


def alaw_reference(sample: int) -> int:
    """A-law by its definition: the code whose interval holds the 13-bit magnitude (G.711, table 1)."""
    linear = sample >> 3
    magnitude = ~linear if linear < 0 else linear
    for code in range(128):
        segment, step = divmod(code, 16)
        lower, width = (step * 2, 2) if segment == 0 else ((16 + step) << segment, 1 << segment)
        if lower <= magnitude < lower + width:
            return (code ^ 0x55) | (0 if linear < 0 else 0x80)
    raise AssertionError(sample)


@pytest.mark.parametrize(
    ("encoding", "reference"), [(Encoding.G711_ULAW, ulaw_reference), (Encoding.G711_ALAW, alaw_reference)]
)
def test_every_16_bit_sample_gets_the_code_its_interval_has_in_the_recommendation(encoding, reference):
    assert encode(encoding, EVERY_SAMPLE) == bytes(reference(int(sample)) for sample in EVERY_SAMPLE)


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="audioop left the standard library")
@pytest.mark.parametrize(("encoding", "law"), [(Encoding.G711_ULAW, "ulaw"), (Encoding.G711_ALAW, "alaw")])
def test_both_directions_agree_bit_for_bit_with_audioop(encoding, law):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        audioop = importlib.import_module("audioop")
    assert encode(encoding, EVERY_SAMPLE) == getattr(audioop, f"lin2{law}")(EVERY_SAMPLE.tobytes(), 2)
    assert G711Decoder(encoding).decode(EVERY_BYTE).tobytes() == getattr(audioop, f"{law}2lin")(EVERY_BYTE, 2)


@pytest.mark.parametrize(
    ("encoding", "code", "sample"),
    [
        (Encoding.G711_ULAW, 0xFF, 0),
        (Encoding.G711_ULAW, 0x80, 32_124),
        (Encoding.G711_ULAW, 0x00, -32_124),
        (Encoding.G711_ALAW, 0xD5, 8),
        (Encoding.G711_ALAW, 0x55, -8),
        (Encoding.G711_ALAW, 0xAA, 32_256),
        (Encoding.G711_ALAW, 0x2A, -32_256),
    ],
)
def test_the_extreme_codes_decode_to_the_published_levels(encoding, code, sample):
    assert G711Decoder(encoding).decode(bytes([code])).tolist() == [sample]


@BOTH
def test_a_decoded_code_encodes_to_itself_again(encoding):
    again = encode(encoding, G711Decoder(encoding).decode(EVERY_BYTE))
    different = [code for code in range(256) if again[code] != code]
    assert different == ([0x7F] if encoding is Encoding.G711_ULAW else [])  # mu-law has two zeros


@BOTH
def test_the_error_of_a_round_trip_stays_below_one_part_in_thirty(encoding):
    sound = EVERY_SAMPLE[np.abs(EVERY_SAMPLE.astype(np.int32)) <= 32_000]
    decoded = G711Decoder(encoding).decode(encode(encoding, sound)[: 5 * 8_000])
    error = np.abs(decoded.astype(np.int32) - sound[: len(decoded)])
    assert np.all(error <= 16 + np.abs(sound[: len(decoded)].astype(np.int32)) / 30)


@BOTH
def test_a_decoded_stretch_has_one_sample_per_byte_and_an_empty_one_none(encoding):
    decoder = G711Decoder(encoding)
    assert decoder.decode(b"\x12" * 160).shape == (160,)
    assert decoder.decode(b"").shape == (0,)
    assert G711Encoder(encoding).encode(np.empty(0, np.int16)) == []


@BOTH
def test_a_payload_of_more_than_five_seconds_is_refused(encoding):
    decoder = G711Decoder(encoding)
    assert len(decoder.decode(bytes(40_000))) == 40_000
    with pytest.raises(AudioFormatError, match="too long"):
        decoder.decode(bytes(40_001))
