"""Little-endian 16-bit PCM on the wire.

Stateless. A payload is a message of its own, so it holds whole samples: an odd length is refused rather than carried
over, because a carried byte would turn one truncated message into noise for the rest of the stream.
"""

from __future__ import annotations

import numpy as np

from audio.codecs.port import MAX_PAYLOAD_MS, require_at_most
from audio.errors import AudioFormatError
from audio.formats import Samples, ms_to_samples


class Pcm16Decoder:
    """``audio.codecs.port.Decoder`` for PCM16. The samples are a read-only view of the payload."""

    def __init__(self, sample_rate_hz: int) -> None:
        self.sample_rate_hz = sample_rate_hz
        self._max_bytes = 2 * ms_to_samples(MAX_PAYLOAD_MS, sample_rate_hz)

    def decode(self, payload: bytes) -> Samples:
        """Raises AudioFormatError for an odd number of bytes or more than ``MAX_PAYLOAD_MS``."""
        require_at_most(payload, self._max_bytes)
        if len(payload) % 2:
            raise AudioFormatError(f"16-bit PCM needs an even number of bytes, not {len(payload)}")
        return np.frombuffer(payload, dtype="<i2").astype(np.int16, copy=False)


class Pcm16Encoder:
    """``audio.codecs.port.Encoder`` for PCM16: one payload per call, nothing held back."""

    def __init__(self, sample_rate_hz: int) -> None:
        self.sample_rate_hz = sample_rate_hz

    def encode(self, samples: Samples) -> list[bytes]:
        return [samples.astype("<i2", copy=False).tobytes()] if len(samples) else []

    def flush(self) -> list[bytes]:
        return []
