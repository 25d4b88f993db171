"""What a stretch of audio is: its encoding, its rate, and where it stands in its stream.

Owns the value types every other module of this room exchanges. Knows no codec, no engine and no clock:
a position is a sample count, so time on the audio path is exact and tests need no waiting.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]
"""Mono PCM: shape ``(n,)``, dtype int16, native byte order."""

HEARING_RATE_HZ: Final = 16_000
"""The one rate at which everything that listens (VAD, end of turn, speech-to-text) works."""


class Encoding(StrEnum):
    """How samples travel on a wire. Values are the names clients use."""

    PCM16 = "pcm16"
    G711_ULAW = "g711_ulaw"
    G711_ALAW = "g711_alaw"
    OPUS = "opus"


PCM_RATES_HZ: Final = (8_000, 16_000, 24_000, 48_000)


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """An encoding at a rate, mono.

    Raises:
        ValueError: the pair is not one that exists (G.711 is 8 kHz, Opus is signalled at 48 kHz, PCM is one of
            ``PCM_RATES_HZ``).
    """

    encoding: Encoding
    sample_rate_hz: int

    def __post_init__(self) -> None:
        allowed = rates_for(self.encoding)
        if self.sample_rate_hz not in allowed:
            rates = ", ".join(str(rate) for rate in allowed)
            raise ValueError(f"{self.encoding} runs at {rates} Hz, not {self.sample_rate_hz}")

    @property
    def sample_bytes(self) -> int:
        """What a sample takes on the wire; 1 for Opus, whose packets are cut nowhere."""
        return 2 if self.encoding is Encoding.PCM16 else 1


def rates_for(encoding: Encoding) -> tuple[int, ...]:
    """The sample rates in Hz at which an encoding may be used."""
    match encoding:
        case Encoding.PCM16:
            return PCM_RATES_HZ
        case Encoding.G711_ULAW | Encoding.G711_ALAW:
            return (8_000,)
        case Encoding.OPUS:
            return (48_000,)


@dataclass(frozen=True, slots=True)
class PcmChunk:
    """Consecutive samples of one stream, and the position of the first.

    ``samples`` has shape ``(n,)``, dtype int16; ``start_sample`` counts from the start of the stream at
    ``sample_rate_hz``.
    """

    samples: Samples
    start_sample: int
    sample_rate_hz: int = HEARING_RATE_HZ

    @property
    def end_sample(self) -> int:
        """Position just after the last sample."""
        return self.start_sample + len(self.samples)


def samples_to_ms(samples: int, sample_rate_hz: int) -> int:
    """Whole milliseconds in a count of samples, rounded half up (integers only)."""
    return (samples * 2_000 + sample_rate_hz) // (2 * sample_rate_hz)


def ms_to_samples(ms: int, sample_rate_hz: int) -> int:
    """Samples in a number of milliseconds, rounded down."""
    return ms * sample_rate_hz // 1_000
