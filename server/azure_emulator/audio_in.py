"""The audio of one recognition turn: a WAV header, then samples without end, to 16 kHz samples. Pure.

The header opens every turn and says zero for its lengths. PCM of 16 bits and G.711 are understood, at the usual rates;
channels are averaged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from audio.codecs.g711 import G711Decoder
from audio.codecs.resample import StreamResampler
from audio.formats import HEARING_RATE_HZ, Encoding, Samples
from server.azure_emulator.frames import FrameError

_PCM, _ALAW, _ULAW = 1, 6, 7
_G711: Final = {_ALAW: Encoding.G711_ALAW, _ULAW: Encoding.G711_ULAW}
_MAX_HEADER_BYTES: Final = 4_096
_G711_PIECE_BYTES: Final = 800
_NOTHING: Final = np.empty(0, np.int16)


@dataclass(frozen=True, slots=True)
class WaveFormat:
    """What a header says: format tag (1 PCM, 6 A-law, 7 mu-law), channels, rate in Hz, bits per sample."""

    tag: int
    channels: int
    rate_hz: int
    bits: int


class AudioIn:
    """Bytes as they arrive, to mono int16 at 16 kHz."""

    def __init__(self) -> None:
        self._head = b""
        self._format: WaveFormat | None = None
        self._rest = b""
        self._resampler: StreamResampler | None = None
        self._decoder: G711Decoder | None = None

    @property
    def format(self) -> WaveFormat | None:
        """Known once the header is there."""
        return self._format

    def feed(self, payload: bytes) -> Samples:
        """The samples these bytes complete; shape ``(n,)``, possibly empty. Raises FrameError."""
        if self._format is None:
            self._head += payload
            found = _read_header(self._head)
            if found is None:
                if len(self._head) > _MAX_HEADER_BYTES:
                    raise FrameError("audio without a WAV header")
                return _NOTHING
            self._format, begins = found
            self._start(self._format)
            payload, self._head = self._head[begins:], b""
        return self._decode(self._format, payload)

    def flush(self) -> Samples:
        """What the resampler still holds."""
        return _NOTHING if self._resampler is None else self._resampler.flush()

    def _start(self, form: WaveFormat) -> None:
        known = (form.tag == _PCM and form.bits == 16) or (form.tag in _G711 and form.bits == 8)
        if not known or not 1 <= form.channels <= 8:
            raise FrameError(f"audio format {form.tag} with {form.bits} bits and {form.channels} channels")
        if form.tag in _G711:
            self._decoder = G711Decoder(_G711[form.tag])
        try:
            self._resampler = StreamResampler(form.rate_hz, HEARING_RATE_HZ)
        except ValueError as error:
            raise FrameError(f"audio at {form.rate_hz} Hz") from error

    def _decode(self, form: WaveFormat, payload: bytes) -> Samples:
        assert self._resampler is not None
        data = self._rest + payload
        whole = len(data) - len(data) % (form.channels * form.bits // 8)
        data, self._rest = data[:whole], data[whole:]
        if not data:
            return _NOTHING
        if self._decoder is None:
            samples = np.frombuffer(data, "<i2").astype(np.int16, copy=False)
        else:
            pieces = range(0, len(data), _G711_PIECE_BYTES)
            samples = np.concatenate([self._decoder.decode(data[at : at + _G711_PIECE_BYTES]) for at in pieces])
        if form.channels > 1:
            samples = samples.reshape(-1, form.channels).mean(axis=1).astype(np.int16)
        return self._resampler.process(samples)


def _read_header(data: bytes) -> tuple[WaveFormat, int] | None:
    """The format and where the samples begin, or ``None`` while the header is incomplete. Raises FrameError."""
    if len(data) < 12:
        return None
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise FrameError("audio without a WAV header")
    at, form = 12, None
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name == b"data":
            if form is None:
                raise FrameError("a WAV header without a format")
            return form, at + 8
        if name == b"fmt " and at + 24 <= len(data):
            body = data[at + 8 : at + 24]
            form = WaveFormat(
                tag=int.from_bytes(body[0:2], "little"),
                channels=int.from_bytes(body[2:4], "little"),
                rate_hz=int.from_bytes(body[4:8], "little"),
                bits=int.from_bytes(body[14:16], "little"),
            )
        at += 8 + size + size % 2
    return None
