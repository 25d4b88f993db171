"""Resampling of one stream, chunk by chunk, with a millisecond or two of lag.

A polyphase FIR: a Kaiser-windowed sinc (J. O. Smith, "Digital Audio Resampling", CCRMA) whose coefficients for one
block of outputs form a matrix, so that a chunk costs one small matrix product. Libraries made for files
filter in blocks of an FFT and hold 20-115 ms back, which here would be added to every answer and to every
barge-in; this one holds back only half its filter: 1.1 ms for 48 -> 16 kHz, 2.3 ms for 8 -> 16 kHz.

Flat to 0.4375 of the lower rate (7 kHz at 16 kHz), 70 dB down from 0.5625 of it; what lies between is folded
below that edge, where speech has little. Not thread-safe; one per stream and direction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from audio.formats import Samples

_Floats = npt.NDArray[np.float32]

_HALF_WIDTH: Final = 17.5
"""Half the filter's length, in samples of the lower rate: with ``_KAISER_BETA`` the transition named above."""

_KAISER_BETA: Final = 6.755  # 70 dB: 0.1102 * (70 - 8.7), Kaiser 1974
_MIN_BLOCK: Final = 16
_MAX_PERIOD: Final = 1_000
_MAX_PRODUCT: Final = 750_000
"""Multiplications in one matrix product. More, and BLAS would wake its threads up for it."""


@dataclass(frozen=True, slots=True)
class _Filter:
    """Coefficients of a rate pair.

    ``matrix`` has shape ``(window, block_out)``: column ``j`` gives output ``j`` of a block from the ``window`` inputs
    that start ``half`` before the block's first one. A block is ``block_in`` inputs and ``block_out`` outputs.
    ``up / down`` is the ratio of the rates in lowest terms.
    """

    up: int
    down: int
    half: int
    block_in: int
    block_out: int
    matrix: _Floats

    @property
    def window(self) -> int:
        return self.matrix.shape[0]


class StreamResampler:
    """Mono int16 at one rate to another.

    Output sample ``n`` stands at the instant of input ``n * from / to``: nothing is shifted. ``k`` input samples give
    exactly ``ceil(k * to / from)`` outputs once flushed (one for each output instant inside the input), however
    they were cut into chunks. Between equal rates samples pass through untouched.

    Raises:
        ValueError: a rate is not positive, or the two have so little in common that the filter would be huge (all
            usual audio rates are fine).
    """

    def __init__(self, from_rate_hz: int, to_rate_hz: int) -> None:
        self._filter = None if from_rate_hz == to_rate_hz else _design(from_rate_hz, to_rate_hz)
        self._restart()

    def process(self, samples: Samples) -> Samples:
        """The outputs these samples complete; shape ``(n,)``, possibly empty."""
        if self._filter is None:
            return samples
        self._held = np.concatenate([self._held, samples], dtype=np.float32)
        self._received += len(samples)
        return self._emit(self._filter, self._ready(self._filter))

    def flush(self) -> Samples:
        """End the stream: the outputs still held back. The resampler is then as new."""
        if self._filter is None:
            return np.empty(0, np.int16)
        rest = self._emit(self._filter, -(-self._received * self._filter.up // self._filter.down))
        self._restart()
        return rest

    def _restart(self) -> None:
        self._received = 0
        self._emitted = 0
        # Inputs from `half` before the block of the next output on; before the stream there was silence.
        self._held: _Floats = np.zeros(0 if self._filter is None else self._filter.half, np.float32)

    def _ready(self, fir: _Filter) -> int:
        """How many outputs, from the stream's start, have all the inputs they need."""
        known = self._received - fir.half
        return known * fir.up // fir.down + 1 if known >= 0 else 0

    def _emit(self, fir: _Filter, upto: int) -> Samples:
        if upto <= self._emitted:
            return np.empty(0, np.int16)
        first_block, skip = divmod(self._emitted, fir.block_out)
        blocks = -(-upto // fir.block_out) - first_block
        filtered = _filter_blocks(fir, self._held, blocks)[skip : skip + upto - self._emitted]
        # A block cut short by the end of the input is computed again, from its start, with the next chunk.
        self._held = self._held[(upto // fir.block_out - first_block) * fir.block_in :]
        self._emitted = upto
        np.rint(filtered, out=filtered)
        np.minimum(filtered, 32_767, out=filtered)  # two ufuncs cost a third of `np.clip` on a few hundred samples
        np.maximum(filtered, -32_768, out=filtered)
        return filtered.astype(np.int16)


def _filter_blocks(fir: _Filter, inputs: _Floats, blocks: int) -> _Floats:
    """``blocks`` whole blocks of outputs; inputs that are not there yet count as silence."""
    missing = (blocks - 1) * fir.block_in + fir.window - len(inputs)
    if missing > 0:
        inputs = np.concatenate([inputs, np.zeros(missing, np.float32)])
    outputs = np.empty((blocks, fir.block_out), np.float32)
    step = inputs.itemsize
    rows_at_once = max(1, _MAX_PRODUCT // fir.matrix.size)
    for row in range(0, blocks, rows_at_once):
        rows = min(rows_at_once, blocks - row)
        shape, strides = (rows, fir.window), (fir.block_in * step, step)
        # The windows overlap; BLAS wants them laid out one after the other.
        windows: _Floats = np.ndarray(shape, np.float32, inputs, row * fir.block_in * step, strides).copy()
        np.matmul(windows, fir.matrix, out=outputs[row : row + rows])
    return outputs.reshape(-1)


@lru_cache(maxsize=32)
def _design(from_rate_hz: int, to_rate_hz: int) -> _Filter:
    if min(from_rate_hz, to_rate_hz) <= 0:
        raise ValueError(f"sample rates are positive: {from_rate_hz} Hz, {to_rate_hz} Hz")
    common = math.gcd(from_rate_hz, to_rate_hz)
    up, down = to_rate_hz // common, from_rate_hz // common
    if max(up, down) > _MAX_PERIOD:
        raise ValueError(f"cannot resample {from_rate_hz} Hz to {to_rate_hz} Hz: the rates share no usable period")
    lower_rate_hz = min(from_rate_hz, to_rate_hz)
    half = math.ceil(_HALF_WIDTH * from_rate_hz / lower_rate_hz)
    periods = max(1, _MIN_BLOCK // up)
    block_in, block_out = down * periods, up * periods
    inputs = np.arange(block_in + 2 * half) - half
    instants = np.arange(block_out) * (down / up)
    distance = instants[np.newaxis, :] - inputs[:, np.newaxis]
    cutoff = lower_rate_hz / from_rate_hz
    response = np.zeros_like(distance)
    inside = np.abs(distance) < half
    near = distance[inside]
    response[inside] = np.sinc(cutoff * near) * np.i0(_KAISER_BETA * np.sqrt(1.0 - (near / half) ** 2))
    matrix = (response / response.sum(axis=0)).astype(np.float32)  # each phase passes a constant unchanged
    matrix.setflags(write=False)
    return _Filter(up, down, half, block_in, block_out, matrix)
