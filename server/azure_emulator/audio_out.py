"""Synthesized audio in the form a client asked for. Pure.

Formats are Azure's names (``raw-24khz-16bit-mono-pcm``). The SDK asks for the raw kin of every riff format and makes
the header itself; a client that asks for riff gets a header that says zero for its lengths. Compressed formats are
refused.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from audio.codecs.g711 import G711Encoder
from audio.codecs.resample import StreamResampler
from audio.formats import Encoding, Samples

_PCM: Final = re.compile(r"(raw|riff)-(8|16|22050|24|44100|48)(?:khz|hz)-16bit-mono-pcm")
_G711: Final = re.compile(r"(raw|riff)-8khz-8bit-mono-(mulaw|alaw)")
DEFAULT_FORMAT: Final = "riff-16khz-16bit-mono-pcm"
Coding = Literal["pcm", "mulaw", "alaw"]
_TAGS: Final[dict[Coding, int]] = {"pcm": 1, "alaw": 6, "mulaw": 7}


class UnsupportedFormat(ValueError):
    """The service closes with 1007 and such a reason."""


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """What a name means."""

    coding: Coding
    rate_hz: int
    riff: bool

    @property
    def bytes_per_s(self) -> int:
        """Of audio."""
        return self.rate_hz * (2 if self.coding == "pcm" else 1)

    @property
    def header(self) -> bytes:
        """What comes before the first samples."""
        if not self.riff:
            return b""
        width = 2 if self.coding == "pcm" else 1
        form = struct.pack("<HHIIHH", _TAGS[self.coding], 1, self.rate_hz, self.rate_hz * width, width, 8 * width)
        return b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<I", len(form)) + form + b"data\0\0\0\0"


def output_format(name: str) -> OutputFormat:
    """Raises UnsupportedFormat."""
    name = name.lower()
    if match := _PCM.fullmatch(name):
        rate = int(match[2])
        return OutputFormat("pcm", rate if rate > 1_000 else rate * 1_000, match[1] == "riff")
    if match := _G711.fullmatch(name):
        return OutputFormat("mulaw" if match[2] == "mulaw" else "alaw", 8_000, match[1] == "riff")
    raise UnsupportedFormat(f"Unsupported output format {name}: this emulator makes raw and riff PCM and G.711")


class AudioOut:
    """One utterance's samples to bytes; the voice may change its rate between stretches."""

    def __init__(self, form: OutputFormat) -> None:
        self._form = form
        self._resampler: StreamResampler | None = None
        self._from_hz = 0
        law = Encoding.G711_ULAW if form.coding == "mulaw" else Encoding.G711_ALAW
        self._encoder = None if form.coding == "pcm" else G711Encoder(law)
        self._header = form.header

    def feed(self, samples: Samples, rate_hz: int) -> bytes:
        """What these samples complete; possibly nothing."""
        before = np.empty(0, np.int16)
        if self._resampler is None or rate_hz != self._from_hz:
            before = np.empty(0, np.int16) if self._resampler is None else self._resampler.flush()
            self._resampler, self._from_hz = StreamResampler(rate_hz, self._form.rate_hz), rate_hz
        return self._encode(np.concatenate([before, self._resampler.process(samples)]))

    def flush(self) -> bytes:
        """The rest."""
        return b"" if self._resampler is None else self._encode(self._resampler.flush())

    def _encode(self, samples: Samples) -> bytes:
        if not len(samples):
            return b""
        header, self._header = self._header, b""
        if self._encoder is None:
            return header + samples.astype("<i2", copy=False).tobytes()
        return header + b"".join(self._encoder.encode(samples.astype(np.int16, copy=False)))
