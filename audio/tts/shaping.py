"""What is done to a voice's waveform before anyone hears it: loudness, and the silence around it.

Owns the conversion to int16 with a gain that cannot clip, and ``PauseShaper``, which trims the silence a voice puts
before a sentence (it would count as latency) and sets the pause after it. Pure. Driven by ``audio.tts.piper``.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from audio.formats import Samples

_KNEE: Final = 0.8


def to_samples(waveform: npt.NDArray[np.float32], gain: float) -> Samples:
    """``waveform`` times ``gain`` as int16. Above 80 % of full scale it bends smoothly and never reaches the end."""
    scaled = waveform * np.float32(gain)
    loud = np.abs(scaled) > _KNEE
    if loud.any():
        over = (np.abs(scaled[loud]) - _KNEE) / (1.0 - _KNEE)
        scaled[loud] = np.sign(scaled[loud]) * (_KNEE + (1.0 - _KNEE) * np.tanh(over))
    return np.rint(scaled * 32_767.0).astype(np.int16)


class PauseShaper:
    """One sentence's samples in, the same samples out with other silence at both ends.

    Of the silence before the first sound ``lead_samples`` are kept; all inside is kept; the silence after the last
    sound is cut or lengthened to the pause asked for. Silence is what stays at or below ``threshold`` (int16).
    """

    def __init__(self, *, threshold: int, lead_samples: int) -> None:
        self._threshold = threshold
        self._lead_samples = lead_samples
        self._started = False
        self._held: Samples = np.zeros(0, dtype=np.int16)

    def feed(self, samples: Samples) -> Samples:
        """What can be heard now: everything up to the last sound so far. Silence after it is held back."""
        joined = np.concatenate((self._held, samples))
        sounds = np.flatnonzero((joined > self._threshold) | (joined < -self._threshold))
        if len(sounds) == 0:
            self._held = joined
            return joined[:0]
        start = 0 if self._started else max(0, int(sounds[0]) - self._lead_samples)
        end = int(sounds[-1]) + 1
        self._started = True
        self._held = joined[end:]
        return joined[start:end]

    def finish(self, pause_samples: int) -> Samples:
        """The pause after the last sound: ``pause_samples`` of the voice's own silence, then zeros. Empty where
        nothing was heard."""
        if not self._started:
            return self._held[:0]
        pause = np.zeros(pause_samples, dtype=np.int16)
        kept = self._held[:pause_samples]
        pause[: len(kept)] = kept
        return pause
