"""The cheap first opinion: WebRTC's voice activity detector over 20 ms frames cut from chunks of any length.

Owns framing and the little history a slower detector needs to look back. A frame costs about 2 us. The detector
is a Gaussian mixture on six bands: reliable in quiet, calls everything speech at 0 dB SNR, and so may only ever
save work, never decide alone where something better is at hand. Driven by ``audio.vad.chain``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import webrtcvad

from audio.formats import HEARING_RATE_HZ, PcmChunk, Samples

FRAME_SAMPLES: Final = 320
"""20 ms: the length at which most clients send, so that framing usually copies nothing twice."""

_CAPACITY_SAMPLES: Final = 16_384
_BLOCK_SAMPLES: Final = 4_096


class WebRtcGate:
    """One stream's WebRTC detector. ``mode`` 0-3: how eagerly it calls a frame silence."""

    def __init__(self, mode: int) -> None:
        self._mode = mode
        self._vad: Any = webrtcvad.Vad(mode)

    def is_voiced(self, frame: Samples) -> bool:
        """Whether a frame of ``FRAME_SAMPLES`` at 16 kHz may hold speech."""
        return self._vad.is_speech(frame.tobytes(), HEARING_RATE_HZ, FRAME_SAMPLES)

    def update(self, mode: int) -> None:
        """Change the mode and keep what has been learnt of the background."""
        if mode != self._mode:
            self._mode = mode
            self._vad.set_mode(mode)

    def reset(self) -> None:
        """Forget the background."""
        self._vad = webrtcvad.Vad(self._mode)


class FrameFeed:
    """Cuts a stream into gate frames and keeps its last samples addressable by position.

    ``lookback_samples`` before the current frame are always readable; before the start of the stream they are
    zeros.
    """

    def __init__(self, lookback_samples: int) -> None:
        self._lookback = lookback_samples
        self._buffer: Samples = np.zeros(_CAPACITY_SAMPLES, dtype=np.int16)
        self._base = 0
        self._length = 0
        self._framed = 0
        self._origin = 0
        self.restart(0)

    @property
    def position(self) -> int:
        """Stream position up to which frames have been cut."""
        return self._base + self._framed

    @property
    def end(self) -> int:
        """Stream position up to which samples are there to be read, cut into frames or not."""
        return self._base + self._length

    @property
    def origin(self) -> int:
        """Stream position of the first sample since the last restart."""
        return self._origin

    def restart(self, position: int) -> None:
        """Forget the past; the next sample stands at ``position``."""
        self._buffer[: self._lookback] = 0
        self._length = self._framed = self._lookback
        self._base = position - self._lookback
        self._origin = position

    def frames(self, chunk: PcmChunk) -> Iterator[Samples]:
        """The whole frames this chunk completes, oldest first, as views that hold until the next frame."""
        if chunk.start_sample != self._base + self._length:
            self.restart(chunk.start_sample)
        samples = chunk.samples
        for start in range(0, len(samples), _BLOCK_SAMPLES):
            self._append(samples[start : start + _BLOCK_SAMPLES])
            while self._framed + FRAME_SAMPLES <= self._length:
                frame = self._buffer[self._framed : self._framed + FRAME_SAMPLES]
                self._framed += FRAME_SAMPLES
                yield frame

    def read(self, start: int, count: int) -> Samples:
        """A view of ``count`` samples from stream position ``start`` up to ``end``; valid until the next frame."""
        index = start - self._base
        return self._buffer[index : index + count]

    def _append(self, block: Samples) -> None:
        end = self._length + len(block)
        if end > _CAPACITY_SAMPLES:
            dropped = self._framed - self._lookback
            kept = self._length - dropped
            self._buffer[:kept] = self._buffer[dropped : self._length]
            self._base += dropped
            self._framed -= dropped
            self._length, end = kept, kept + len(block)
        self._buffer[self._length : end] = block
        self._length = end
