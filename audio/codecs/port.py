"""The codec port: payloads of a wire format in and out of mono int16 samples.

Owns the two Protocols and the bound on one payload. Knows no encoding and no transport: whoever holds a connection
drives one ``Decoder`` per inbound and one ``Encoder`` per outbound stream. Both are plain calls without I/O, keep
the state of one stream and are not thread-safe.
"""

from __future__ import annotations

from typing import Final, Protocol

from audio.errors import AudioFormatError
from audio.formats import Samples

MAX_PAYLOAD_MS: Final = 5_000
"""Audio one payload may hold. Longer ones are refused, so no message can hold the event loop up."""


class Decoder(Protocol):
    """Payloads of one stream to samples."""

    @property
    def sample_rate_hz(self) -> int:
        """The rate of the samples ``decode`` returns."""
        ...

    def decode(self, payload: bytes) -> Samples:
        """The samples this payload completes, in order; shape ``(n,)``, int16, possibly read-only or empty.

        Raises:
            AudioFormatError: the payload is not the format, or too long. The decoder stays usable, and the stream
                goes on with the next payload as if this one had not come.
        """
        ...


class Encoder(Protocol):
    """Samples of one stream to payloads."""

    @property
    def sample_rate_hz(self) -> int:
        """The rate of the samples ``encode`` takes."""
        ...

    def encode(self, samples: Samples) -> list[bytes]:
        """The payloads these samples complete, oldest first: none, one or several. Any number of samples."""
        ...

    def flush(self) -> list[bytes]:
        """End the stretch of audio: the payloads that were waiting for more samples, padded with silence.

        The encoder is then ready for the next stretch. After an interruption, call it and drop the result, or the
        remains of the old reply would open the new one.
        """
        ...


def require_at_most(payload: bytes, max_bytes: int) -> None:
    """Raise AudioFormatError for a payload longer than ``max_bytes``."""
    if len(payload) > max_bytes:
        raise AudioFormatError(f"an audio payload of {len(payload)} bytes is too long: at most {max_bytes}")
