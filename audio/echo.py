"""Our own voice in the user's microphone: how like it a sound is, how late and how loud it comes back.

Owns the acoustics: levels in bands, the likeness of two stretches of them, the level an echo is to be expected at.
Knows no turns, no words and no clock; ``agents.core.playback`` brings what was played, ``agents.core.echo_guard``
decides. All frames are 20 ms; levels are dB of full scale.

A sound is compared by how its spectrum moves. Of every frame the mean over the bands is taken away, so that two voices
which merely are loud at the same time do not look alike, and of every band its mean over time, so that loudspeaker,
room and microphone may colour the sound as they like.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from audio.formats import Samples

Levels = NDArray[np.float32]
"""Levels of frames in bands: shape (frames, ``BANDS``)."""

FRAME_MS: Final = 20
BANDS: Final = 16
FLOOR_DB: Final = -80.0
"""The level of silence in a band."""
_LOW_HZ, _HIGH_HZ = 200.0, 3_600.0
"""What the narrowest line carries: a telephone's."""
_ACTIVE_DB: Final = -60.0
"""A frame of what was played counts where its loudest band is above this: silence has no echo."""
MIN_ACTIVE_FRAMES: Final = 12
"""Less of our own voice than this (240 ms) and anything looks like it."""


def band_levels(samples: Samples, rate_hz: int, before: Samples | None = None) -> Levels:
    """The levels of as many whole frames as there are. ``before`` is the frame in front of them (silence if absent):
    each level is measured over two frames, which makes it indifferent to where frames begin."""
    frame = rate_hz * FRAME_MS // 1_000
    count = len(samples) // frame
    padded = np.zeros((count + 1) * frame, np.float32)
    if before is not None and len(before):
        tail = before[-frame:]
        padded[frame - len(tail) : frame] = tail
    padded[frame:] = samples[: count * frame]
    halves = padded.reshape(count + 1, frame)
    window, bands = _analysis(rate_hz)
    spectrum = np.fft.rfft(np.concatenate([halves[:-1], halves[1:]], axis=1) * window, axis=1)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32) @ bands
    return (10.0 * np.log10(power + np.float32(10.0 ** (FLOOR_DB / 10.0)))).astype(np.float32)


def silent_levels(frames: int) -> Levels:
    """The levels of silence."""
    return np.full((frames, BANDS), FLOOR_DB, np.float32)


@cache
def _analysis(rate_hz: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The window over two frames, and what each band takes of each line of the spectrum: shape (lines, bands)."""
    size = 2 * rate_hz * FRAME_MS // 1_000
    window = np.hanning(size).astype(np.float32)
    lines_hz = np.fft.rfftfreq(size, 1.0 / rate_hz)
    mel = np.linspace(_mel(_LOW_HZ), _mel(_HIGH_HZ), BANDS + 1)
    edges_hz = 700.0 * (10.0 ** (mel / 2_595.0) - 1.0)
    bands = ((lines_hz[:, None] >= edges_hz[:-1]) & (lines_hz[:, None] < edges_hz[1:])).astype(np.float32)
    energy = float(np.sum(window.astype(np.float64) ** 2)) * size / 2.0
    return window, bands / np.float32(energy * 32_768.0**2)


def _mel(hz: float) -> float:
    return 2_595.0 * float(np.log10(1.0 + hz / 700.0))


@dataclass(frozen=True, slots=True, eq=False)
class EchoMatch:
    """How like what was played a sound is (-1 to 1), at the lag (frames) where it is most so, judged on ``frames`` of
    our own voice. ``gains_db`` is how much louder than what was played it is in each band: below 0, as a rule."""

    likeness: float
    lag: int
    gains_db: NDArray[np.float32]
    frames: int


NO_MATCH: Final = EchoMatch(0.0, 0, np.zeros(BANDS, np.float32), 0)


def match_echo(near: Levels, far: Levels) -> EchoMatch:
    """Where in ``far``, which ends when ``near`` does and begins some lags earlier, ``near`` comes from.

    Only frames in which something was played are compared; lags with fewer than ``MIN_ACTIVE_FRAMES`` are not.
    """
    count, lags = len(near), len(far) - len(near) + 1
    if count == 0 or lags < 1:
        return NO_MATCH
    active = (np.max(far, axis=1) > _ACTIVE_DB).astype(np.float32)
    weights = np.lib.stride_tricks.sliding_window_view(active, count)[::-1]
    counts = np.sum(weights, axis=1)
    if float(np.max(counts)) < MIN_ACTIVE_FRAMES:
        return NO_MATCH
    ours, theirs = _flat(near), _flat(far) * active[:, None]
    safe = np.maximum(counts, 1.0)[:, None]
    ours_mean, theirs_mean = weights @ ours / safe, _sums(theirs, count) / safe
    product = _diagonal_sums(ours @ theirs.T) - np.sum(safe * ours_mean * theirs_mean, axis=1)
    ours_power = np.sum(weights @ (ours**2) - safe * ours_mean**2, axis=1)
    theirs_power = np.sum(_sums(theirs**2, count) - safe * theirs_mean**2, axis=1)
    powers = np.maximum(ours_power, 1e-3) * np.maximum(theirs_power, 1e-3)
    likeness = np.where(counts >= MIN_ACTIVE_FRAMES, product / np.sqrt(powers), -1.0)
    lag = int(np.argmax(likeness))
    played = far[lags - 1 - lag : lags - 1 - lag + count]
    gains_db = np.median((near - played)[weights[lag] > 0], axis=0).astype(np.float32)
    return EchoMatch(float(likeness[lag]), lag, gains_db, int(counts[lag]))


def _flat(levels: Levels) -> Levels:
    return levels - np.mean(levels, axis=1, keepdims=True)


def _sums(levels: Levels, count: int) -> Levels:
    """The sums over every ``count`` neighbouring frames, the latest first, so by lag."""
    running = np.concatenate([np.zeros((1, levels.shape[1])), np.cumsum(levels, axis=0, dtype=np.float64)])
    return (running[count:] - running[:-count])[::-1].astype(np.float32)


def _diagonal_sums(products: Levels) -> NDArray[np.float32]:
    """What each lag gathers of the products of all frames of ours (rows) with all of theirs."""
    rows, columns = products.shape
    down, right = products.strides
    diagonals = np.lib.stride_tricks.as_strided(products, (columns - rows + 1, rows), (right, down + right))
    return np.sum(diagonals, axis=1)[::-1]
