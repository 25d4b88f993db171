"""libopus itself, through ctypes: one encoder, one decoder, and what a packet says about itself (RFC 6716).

A live stream needs what libavcodec does not pass on: in-band FEC of the packet after a lost one, concealment, DTX, and
decoding straight to 16 kHz (libopus does not compute what lies above, so nothing is resampled). The library is the one
PyAV's wheel carries, else the system's. Knows no network and no clock; ``audio.codecs.opus`` and ``audio.rtp`` drive
it. Encoder and decoder keep the state of one mono stream and are not thread-safe. Calls hold the interpreter's lock:
they take 20-200 us, less than another thread would keep it.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from audio.errors import AudioError, AudioFormatError
from audio.formats import Samples

CODED_RATES_HZ: Final = (8_000, 12_000, 16_000, 24_000, 48_000)
"""Rates at which libopus takes and returns samples."""

MAX_PACKET_MS: Final = 120
"""The longest audio one packet may hold (RFC 6716 section 3.2.5, R5)."""

MAX_FRAME_BYTES: Final = 1_275
"""The longest frame (RFC 6716 section 3.2.1). An encoder of 20 ms packets makes one frame."""

# include/opus_defines.h: the numbers are libopus' stable binary interface.
_APPLICATION_VOIP: Final = 2048
_RESET_STATE: Final = 4028
_SET_BITRATE: Final = 4002
_SET_VBR_CONSTRAINT: Final = 4020
_SET_COMPLEXITY: Final = 4010
_SET_INBAND_FEC: Final = 4012
_SET_PACKET_LOSS_PERC: Final = 4014
_SET_DTX: Final = 4016


class OpusUnavailable(AudioError):
    """There is no libopus on this machine."""


@dataclass(frozen=True, slots=True)
class EncoderOptions:
    """How speech is encoded.

    ``complexity`` is libopus' 0 (fastest) to 10 (best). ``expected_loss_percent`` and ``in_band_fec`` decide whether
    a packet carries its predecessor once more. With ``dtx``, silence becomes packets of one or two bytes that need not
    be sent.

    Raises:
        ValueError: outside what libopus takes.
    """

    bitrate_bps: int = 24_000
    complexity: int = 5
    in_band_fec: bool = True
    expected_loss_percent: int = 10
    dtx: bool = False

    def __post_init__(self) -> None:
        if not 6_000 <= self.bitrate_bps <= 510_000:
            raise ValueError(f"Opus takes 6000 to 510000 bit/s, not {self.bitrate_bps}")
        if not 0 <= self.complexity <= 10:
            raise ValueError(f"Opus complexity is 0 to 10, not {self.complexity}")
        if not 0 <= self.expected_loss_percent <= 100:
            raise ValueError(f"expected loss is 0 to 100 percent, not {self.expected_loss_percent}")


class LibopusEncoder:
    """Mono int16 at ``sample_rate_hz`` to packets, one frame at a time.

    Raises:
        ValueError: libopus does not take this rate.
        OpusUnavailable: there is no libopus.
    """

    def __init__(self, sample_rate_hz: int, options: EncoderOptions) -> None:
        _require_rate(sample_rate_hz)
        self.sample_rate_hz = sample_rate_hz
        self._library = library = _load()
        self._state = ctypes.create_string_buffer(library.opus_encoder_get_size(1))
        library.check(library.opus_encoder_init(self._state, sample_rate_hz, 1, _APPLICATION_VOIP))
        self._frame = np.zeros(sample_rate_hz * MAX_PACKET_MS // 1_000, np.int16)
        self._frame_at = self._frame.ctypes.data
        self._packet = ctypes.create_string_buffer(MAX_FRAME_BYTES)
        for request, value in (
            (_SET_BITRATE, options.bitrate_bps),
            (_SET_VBR_CONSTRAINT, 0),
            (_SET_COMPLEXITY, options.complexity),
            (_SET_INBAND_FEC, int(options.in_band_fec)),
            (_SET_PACKET_LOSS_PERC, options.expected_loss_percent),
            (_SET_DTX, int(options.dtx)),
        ):
            library.check(library.opus_encoder_ctl(self._state, request, ctypes.c_int(value)))

    def encode(self, samples: Samples) -> bytes:
        """One packet of exactly one frame: 2.5, 5, 10, 20, 40 or 60 ms of samples.

        A packet of at most two bytes is silence in DTX and need not be sent. Raises ValueError for another length.
        """
        count = len(samples)
        if count > len(self._frame):
            raise ValueError(f"{count} samples are no Opus frame at {self.sample_rate_hz} Hz")
        self._frame[:count] = samples
        taken = self._library.opus_encode(self._state, self._frame_at, count, self._packet, MAX_FRAME_BYTES)
        if taken < 0:
            raise ValueError(f"{count} samples are no Opus frame at {self.sample_rate_hz} Hz")
        return ctypes.string_at(self._packet, taken)

    def set_dtx(self, enabled: bool) -> None:
        """Switch DTX within a stream. What it takes for background is dulled, and a steady tone is taken for that."""
        self._library.check(self._library.opus_encoder_ctl(self._state, _SET_DTX, ctypes.c_int(enabled)))

    def reset(self) -> None:
        """Forget the stream so far; options stay."""
        self._library.check(self._library.opus_encoder_ctl(self._state, _RESET_STATE))


class LibopusDecoder:
    """Packets of any bandwidth, frame size and channel count to mono int16 at ``sample_rate_hz``.

    Raises:
        ValueError: libopus does not return this rate.
        OpusUnavailable: there is no libopus.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        _require_rate(sample_rate_hz)
        self.sample_rate_hz = sample_rate_hz
        self._library = library = _load()
        self._state = ctypes.create_string_buffer(library.opus_decoder_get_size(1))
        library.check(library.opus_decoder_init(self._state, sample_rate_hz, 1))
        self._pcm = np.zeros(sample_rate_hz * MAX_PACKET_MS // 1_000, np.int16)
        self._pcm_at = self._pcm.ctypes.data

    def decode(self, packet: bytes) -> Samples:
        """The packet's samples. Raises AudioFormatError for one that is not valid; the decoder stays usable."""
        if not packet:
            raise AudioFormatError("an Opus packet has at least one byte")
        return self._decode(packet, len(self._pcm), 0)

    def decode_fec(self, next_packet: bytes, samples: int) -> Samples:
        """``samples`` for the lost packet just before ``next_packet``, from its in-band FEC; concealed if it has none.

        To be called before ``next_packet`` itself is decoded; ``samples`` is a multiple of 2.5 ms, at most 120 ms.
        Raises AudioFormatError for a packet that is not valid.
        """
        return self._decode(next_packet, samples, 1)

    def conceal(self, samples: int) -> Samples:
        """``samples`` (a multiple of 2.5 ms, at most 120 ms) for something lost, extrapolated and fading."""
        return self._decode(None, samples, 0)

    def reset(self) -> None:
        """Forget the stream so far."""
        self._library.check(self._library.opus_decoder_ctl(self._state, _RESET_STATE))

    def _decode(self, packet: bytes | None, samples: int, fec: int) -> Samples:
        if samples > len(self._pcm):
            raise ValueError(f"an Opus packet holds at most {len(self._pcm)} samples, not {samples}")
        size = 0 if packet is None else len(packet)
        count = self._library.opus_decode(self._state, packet, size, self._pcm_at, samples, fec)
        if count < 0:
            raise AudioFormatError("not a valid Opus packet")
        return self._pcm[:count].copy()


def packet_samples(packet: bytes, sample_rate_hz: int) -> int:
    """How many samples per channel a packet holds at a rate. Raises AudioFormatError for one that is not valid."""
    count: int = _load().opus_packet_get_nb_samples(packet, len(packet), sample_rate_hz)
    if count <= 0:
        raise AudioFormatError("not a valid Opus packet")
    return count


def packet_has_fec(packet: bytes) -> bool:
    """Whether a packet carries its predecessor once more (in-band FEC, RFC 6716 section 2.1.7)."""
    return _load().opus_packet_has_lbrr(packet, len(packet)) > 0


def _require_rate(sample_rate_hz: int) -> None:
    if sample_rate_hz not in CODED_RATES_HZ:
        raise ValueError(f"Opus codes {CODED_RATES_HZ} Hz, not {sample_rate_hz}")


class _Library:
    """The functions used, with their C signatures."""

    def __init__(self, path: str) -> None:
        library = ctypes.PyDLL(path)
        state, count, bytes_at, pcm_at = ctypes.c_char_p, ctypes.c_int32, ctypes.c_char_p, ctypes.c_void_p

        def function(name: str, *arguments: Any) -> Any:
            found = getattr(library, name)
            found.argtypes, found.restype = arguments, ctypes.c_int
            return found

        self.opus_encoder_get_size = function("opus_encoder_get_size", ctypes.c_int)
        self.opus_encoder_init = function("opus_encoder_init", state, count, ctypes.c_int, ctypes.c_int)
        # Variadic: what is declared are the fixed arguments (some machines pass the others differently).
        self.opus_encoder_ctl = function("opus_encoder_ctl", state, ctypes.c_int)
        self.opus_encode = function("opus_encode", state, pcm_at, ctypes.c_int, state, count)
        self.opus_decoder_get_size = function("opus_decoder_get_size", ctypes.c_int)
        self.opus_decoder_init = function("opus_decoder_init", state, count, ctypes.c_int)
        self.opus_decoder_ctl = function("opus_decoder_ctl", state, ctypes.c_int)
        self.opus_decode = function("opus_decode", state, bytes_at, count, pcm_at, ctypes.c_int, ctypes.c_int)
        self.opus_packet_get_nb_samples = function("opus_packet_get_nb_samples", bytes_at, count, count)
        try:
            self.opus_packet_has_lbrr = function("opus_packet_has_lbrr", bytes_at, count)
        except AttributeError:  # before libopus 1.4: never known to have any
            self.opus_packet_has_lbrr = _has_no_fec

    def check(self, result: int) -> None:
        """Raise ValueError where libopus refuses."""
        if result != 0:
            raise ValueError(f"libopus refuses its arguments ({result})")


def _has_no_fec(packet: bytes, size: int) -> int:
    del packet, size
    return 0


@lru_cache(maxsize=1)
def _load() -> _Library:
    for path in _candidates():
        try:
            return _Library(path)
        except (OSError, AttributeError):  # built for another machine, or not libopus
            continue
    raise OpusUnavailable("no libopus: install the 'av' wheel, which carries it, or the system's package (libopus0)")


def _candidates() -> list[str]:
    found: list[str] = []
    spec = importlib.util.find_spec("av")
    if spec is not None and spec.origin is not None:
        package = Path(spec.origin).parent
        for directory in (package.with_name("av.libs"), package / ".dylibs"):
            found += [str(path) for path in sorted(directory.glob("libopus*"))]
    system = ctypes.util.find_library("opus")
    return [*found, system] if system else found
