"""Whisper's token stream cut at its timestamps, and how much of the audio the kept text accounts for.

Pure. With timestamps the model says where its text ends: text it places behind the end of the audio is an echo of
what went before, and speech it left unread is found and decoded again. Without them, short windows repeat
themselves and long ones lose sentences (137 s of joined clips: 17 % of words wrong without, 6 % with).
Driven by ``audio.stt.whisper_model``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from audio.formats import HEARING_RATE_HZ, Samples, ms_to_samples
from audio.stt.window import POWER_FRAME_SAMPLES, frame_powers

_SAMPLES_PER_TICK: Final = ms_to_samples(20, HEARING_RATE_HZ)
_EDGE_SAMPLES: Final = ms_to_samples(60, HEARING_RATE_HZ)
_UNREAD_SAMPLES: Final = 2 * HEARING_RATE_HZ
_UNREAD_LOUD_SAMPLES: Final = ms_to_samples(400, HEARING_RATE_HZ)
_LOUD_SHARE: Final = 0.01


@dataclass(frozen=True, slots=True)
class Read:
    """The tokens worth keeping, without timestamps, and the samples they account for."""

    tokens: tuple[int, ...]
    samples: int


def read(tokens: Sequence[int], first_timestamp: int, length: int) -> Read:
    """What a decode read of ``length`` samples.

    A timestamp is a token from ``first_timestamp`` on, counting 20 ms. Text opened behind the end of the audio is
    dropped; text whose end is not told is taken to reach the end.
    """
    kept: list[int] = []
    text: list[int] = []
    start = end = 0
    for token in [*tokens, first_timestamp + length // _SAMPLES_PER_TICK]:
        if token < first_timestamp:
            text.append(token)
            continue
        at = (token - first_timestamp) * _SAMPLES_PER_TICK
        if text and start < length - _EDGE_SAMPLES:
            kept += text
            end = at
        text = []
        start = at  # a closing timestamp too: what follows cannot have begun earlier
    return Read(tuple(kept), min(end, length) if kept else length)


def is_worth_reading(samples: Samples, loudest_tenth: float) -> bool:
    """Whether a rest the model did not read holds enough that is not silence.

    ``loudest_tenth`` is the power that the loudest tenth of the whole reaches, see ``loud_power``.
    """
    if len(samples) < _UNREAD_SAMPLES:
        return False
    loud = np.count_nonzero(frame_powers(samples) > _LOUD_SHARE * loudest_tenth)
    return int(loud) * POWER_FRAME_SAMPLES >= _UNREAD_LOUD_SAMPLES


def loud_power(samples: Samples) -> float:
    """Mean square of the 10 ms at the border of the loudest tenth."""
    return float(np.percentile(frame_powers(samples), 90))
