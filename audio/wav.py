"""WAV files to samples and back, for tools, warm-up clips and tests.

Does blocking file I/O: never call it on the event loop. Knows nothing of sessions.
"""

from __future__ import annotations

import wave
from os import PathLike

import numpy as np

from audio.errors import AudioFormatError
from audio.formats import Samples


def read_wav(path: str | PathLike[str]) -> tuple[Samples, int]:
    """A PCM file (8, 16, 24 or 32 bit, any number of channels) as mono samples, and its rate in Hz.

    Channels are averaged. A file cut short gives the whole frames it has.

    Raises:
        AudioFormatError: it is not such a file (compressed, floating point, not WAV at all).
        OSError: it cannot be opened.
    """
    try:
        with wave.open(str(path), "rb") as file:
            channels, width, rate_hz = file.getnchannels(), file.getsampwidth(), file.getframerate()
            content = file.readframes(file.getnframes())
    except (wave.Error, EOFError, RuntimeError) as error:  # a chunk longer than the file is a bare RuntimeError
        raise AudioFormatError(f"{path} is not a PCM WAV file: {str(error) or 'it ends too early'}") from error
    if not 1 <= width <= 4 or rate_hz <= 0:
        raise AudioFormatError(f"{path} has {8 * width}-bit samples at {rate_hz} Hz, which is not supported")
    content = content[: len(content) - len(content) % (width * channels)]
    return _mono(_to_16_bit_scale(content, width), channels), rate_hz


def write_wav(path: str | PathLike[str], samples: Samples, sample_rate_hz: int) -> None:
    """Write mono samples as a 16-bit file. Raises OSError."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes(samples.astype("<i2", copy=False).tobytes())


def _to_16_bit_scale(content: bytes, width: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Interleaved samples of ``width`` bytes on the scale of int16, not yet rounded."""
    if width == 1:  # 8-bit WAV is the only unsigned one
        return (np.frombuffer(content, np.uint8).astype(np.float64) - 128.0) * 256.0
    raw = np.frombuffer(content, np.uint8).reshape(-1, width)
    padded = np.zeros((len(raw), 4), np.uint8)
    padded[:, 4 - width :] = raw
    return padded.view("<i4").reshape(-1).astype(np.float64) / 65_536.0


def _mono(samples: np.ndarray[tuple[int], np.dtype[np.float64]], channels: int) -> Samples:
    mean = samples.reshape(-1, channels).mean(axis=1)
    return np.clip(np.rint(mean), -32_768, 32_767).astype(np.int16)
