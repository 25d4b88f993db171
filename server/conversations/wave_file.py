"""A WAV file that grows: stereo, 16 bits, its lengths written when it is complete. Blocks; for worker threads.

Whatever its server dies of, the samples that were written are there, and ``mend`` makes a WAV of them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
from pathlib import Path
from typing import IO, Final

CHANNELS: Final = 2
SAMPLE_BYTES: Final = 2
FRAME_BYTES: Final = CHANNELS * SAMPLE_BYTES
HEADER: Final = struct.Struct("<4sI4s4sIHHIIHH4sI")
"""RIFF with one PCM format chunk and one data chunk."""
_RATE_AT: Final = 24


class DiskFull(OSError):
    """Less room is left on the disk than was to be left."""


class WaveFile:
    """One file, open for writing, readable by its owner only."""

    def __init__(self, path: Path, rate_hz: int, free_bytes: int) -> None:
        """A new file. ``free_bytes``: so much of the disk is left to others. Raises OSError, DiskFull."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = path
        self._rate_hz = rate_hz
        self._free_bytes = free_bytes
        self.size = HEADER.size
        """In bytes, heading and all."""
        self._require_room(HEADER.size)
        self._file: IO[bytes] = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0)
        try:
            self._file.write(_header(rate_hz, 0))
        except OSError:
            self._file.close()
            raise

    def append(self, data: bytes) -> None:
        """More frames; none: it is said to be alive. Raises OSError (what was written in part stays), DiskFull."""
        if not data:
            os.utime(self._file.fileno())
            return
        self._require_room(len(data))
        rest = memoryview(data)
        while rest:
            written = self._file.write(rest) or 0
            self.size += written
            rest = rest[written:]

    def close(self) -> tuple[int, int]:
        """Complete it: its size in bytes and its length in ms. Raises OSError."""
        with contextlib.closing(self._file):
            whole = self.size - (self.size - HEADER.size) % FRAME_BYTES
            if whole != self.size:
                self._file.truncate(whole)
            self.size = whole
            self._file.seek(0)
            self._file.write(_header(self._rate_hz, whole - HEADER.size))
            os.fsync(self._file.fileno())
        return whole, _length_ms(whole, self._rate_hz)

    @staticmethod
    def mend(path: Path) -> tuple[int, int]:
        """Complete what another process left: size and length. Raises OSError."""
        with path.open("r+b") as file:
            head = file.read(HEADER.size)
            if len(head) < HEADER.size:
                return len(head), 0
            (rate_hz,) = struct.unpack_from("<I", head, _RATE_AT)
            size = file.seek(0, os.SEEK_END)
            whole = size - (size - HEADER.size) % FRAME_BYTES
            file.truncate(whole)
            file.seek(0)
            file.write(_header(rate_hz, whole - HEADER.size))
        return whole, _length_ms(whole, rate_hz)

    def _require_room(self, more: int) -> None:
        if shutil.disk_usage(self._path.parent).free < self._free_bytes + more:
            raise DiskFull("The disk is nearly full.")


def _header(rate_hz: int, data_bytes: int) -> bytes:
    return HEADER.pack(
        b"RIFF",
        HEADER.size - 8 + data_bytes,
        b"WAVE",
        b"fmt ",
        16,
        1,
        CHANNELS,
        rate_hz,
        rate_hz * FRAME_BYTES,
        FRAME_BYTES,
        SAMPLE_BYTES * 8,
        b"data",
        data_bytes,
    )


def _length_ms(size: int, rate_hz: int) -> int:
    return (size - HEADER.size) // FRAME_BYTES * 1_000 // rate_hz if rate_hz else 0
