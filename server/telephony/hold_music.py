"""What a caller hears while they wait for somebody: a short loop, of tones made here or of a WAV the operator names.

Played to the leg itself: no session speaks it, none meters it. Ahead of the line by a fifth of a second only, so that
it ends at once. Driven by ``server.telephony.handover``.
"""

from __future__ import annotations

import time
import wave
from functools import cache
from pathlib import Path
from typing import Final

import anyio
import numpy as np

from audio.codecs.resample import StreamResampler
from audio.formats import Samples
from server.hold_music_choice import OFF, TONES
from server.sessions.media import VoiceSink

CHUNK_S: Final = 0.1
AHEAD_S: Final = 0.2
LEVEL: Final = 1_800.0
"""Of the loudest moment of the tones: 25 dB below full scale."""
_CONTEXT_S: Final = 0.1
_NOTE_S: Final = 2.0
_CHORDS_HZ: Final = (
    (220.00, 277.18, 329.63),
    (246.94, 293.66, 369.99),
    (196.00, 246.94, 293.66),
    (220.00, 277.18, 329.63),
)


@cache
def loop(choice: str, rate_hz: int) -> Samples:
    """The loop at a line's rate; its end leads into its beginning. Raises OSError, wave.Error: it is not there now."""
    if choice == TONES:
        return _tones(rate_hz)
    with wave.open(str(Path(choice)), "rb") as file:
        own_hz, samples = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return _resampled(samples.astype(np.int16), own_hz, rate_hz)


async def play(sink: VoiceSink, choice: str, rate_hz: int) -> None:
    """Play it until cancelled; whoever cancels clears what has not sounded. ``off``: silence."""
    if choice == OFF:
        return
    samples = await anyio.to_thread.run_sync(loop, choice, rate_hz)
    step, at, began_s, played = round(CHUNK_S * rate_hz), 0, time.monotonic(), 0
    while True:
        sink.play(samples.take(np.arange(at, at + step), mode="wrap"), rate_hz)
        at, played = (at + step) % len(samples), played + step
        await anyio.sleep(max(0.0, began_s + played / rate_hz - AHEAD_S - time.monotonic()))


def _tones(rate_hz: int) -> Samples:
    """Soft chords, each of which swells and fades to nothing, so that no seam is heard."""
    count = round(_NOTE_S * rate_hz)
    at_s = np.arange(count) / rate_hz
    swell = np.sin(np.pi * at_s / _NOTE_S) ** 2
    chords = [swell * sum(np.sin(2 * np.pi * hz * at_s) for hz in chord) for chord in _CHORDS_HZ]
    whole = np.concatenate(chords)
    return np.rint(whole * (LEVEL / np.abs(whole).max())).astype(np.int16)


def _resampled(samples: Samples, own_hz: int, rate_hz: int) -> Samples:
    """With its own end before it and its own beginning behind it, so that the filter finds no seam."""
    if own_hz == rate_hz:
        return samples
    context = round(_CONTEXT_S * own_hz)
    resampler = StreamResampler(own_hz, rate_hz)
    padded = np.concatenate([samples[-context:], samples, samples[:context]])
    made = np.concatenate([resampler.process(padded), resampler.flush()])
    begin, count = round(_CONTEXT_S * rate_hz), round(len(samples) * rate_hz / own_hz)
    return made[begin : begin + count]
