"""How good a microphone sounds: level, clipping, DC offset and silence of one stream, cheaply.

Owns the running measures of the last seconds and the rules that turn them into advice. Knows no voice activity: the
driver (``agents.core.hearing``) says which chunks were speech. Levels are in dBFS: 0 is a full-scale square wave, a
full-scale sine is -3.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from audio.formats import HEARING_RATE_HZ, Samples, ms_to_samples, samples_to_ms

QualityKind = Literal["too_quiet", "clipping", "dc_offset", "silence"]

FLOOR_DBFS: Final = -100.0
"""The level given for digital silence."""

_FULL_SCALE: Final = 32_768.0
_CLIP_LEVEL: Final = 32_000
"""Just below the loudest code of A-law (32256) and mu-law (32124): a rail is a rail in every encoding."""

_SILENT_LEVEL: Final = 10
"""A-law has no zero: its silence is +8 or -8, and resampling may ring by a step or two."""

_SILENT_SPAN: Final = 2
"""What a dead line may move within a chunk. An open microphone in a quiet room, behind a browser's noise suppression,
is hardly louder than A-law's silence, but it never stands still: its chunks were measured to span 5 to 16 steps."""

_BUCKET_MS: Final = 1_000


@dataclass(frozen=True, slots=True)
class QualityMeasures:
    """A stream's last seconds in figures.

    ``speech_dbfs`` is the level of what was speech, ``None`` where nothing was. Ratios are 0-1 of all samples;
    ``silence_ratio`` counts chunks without any signal; ``dc_offset`` is the mean, -1 to 1 of full scale.
    """

    duration_ms: int
    speech_ms: int
    rms_dbfs: float
    speech_dbfs: float | None
    peak_dbfs: float
    clipping_ratio: float
    dc_offset: float
    silence_ratio: float

    def as_mapping(self) -> dict[str, float]:
        """The measures that are known, by name, for an event or a metric."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class QualityIssue:
    """Something the user can mend, and a sentence that says how."""

    kind: QualityKind
    message: str


@dataclass(frozen=True, slots=True)
class QualityThresholds:
    """Where a measure becomes an issue. Nothing is judged on less than ``min_ms`` of audio, or of speech."""

    min_ms: int = 2_000
    min_speech_ms: int = 1_000
    quiet_speech_dbfs: float = -45.0
    clipping_ratio: float = 0.001
    dc_offset: float = 0.02
    silence_ratio: float = 1.0


DEFAULT_THRESHOLDS: Final = QualityThresholds()

_MESSAGES: Final[dict[QualityKind, str]] = {
    "silence": "The microphone sends pure silence: it is probably muted, or another program holds it.",
    "clipping": "The microphone is too loud and distorts: lower its gain, or speak from further away.",
    "dc_offset": "The microphone's signal is off centre, which points at a faulty device or cable: try another one.",
    "too_quiet": "Your voice is very quiet: raise the microphone's gain, or speak closer to it.",
}


def issues(measures: QualityMeasures, thresholds: QualityThresholds = DEFAULT_THRESHOLDS) -> tuple[QualityIssue, ...]:
    """What is wrong, most serious first. A silent microphone has no other issue."""
    if measures.duration_ms < thresholds.min_ms:
        return ()
    if measures.silence_ratio >= thresholds.silence_ratio:
        return (_issue("silence"),)
    found: list[QualityIssue] = []
    if measures.clipping_ratio >= thresholds.clipping_ratio:
        found.append(_issue("clipping"))
    if abs(measures.dc_offset) >= thresholds.dc_offset:
        found.append(_issue("dc_offset"))
    if (
        measures.speech_dbfs is not None
        and measures.speech_ms >= thresholds.min_speech_ms
        and measures.speech_dbfs < thresholds.quiet_speech_dbfs
    ):
        found.append(_issue("too_quiet"))
    return tuple(found)


class QualityMeter:
    """Running measures over about the last ``window_ms`` of a stream (to a second), in fixed memory.

    One per session, fed every chunk; a 20 ms chunk costs about 10 us.
    """

    def __init__(self, window_ms: int = 5_000, sample_rate_hz: int = HEARING_RATE_HZ) -> None:
        self._sample_rate_hz = sample_rate_hz
        self._bucket_samples = ms_to_samples(_BUCKET_MS, sample_rate_hz)
        self._buckets: deque[_Tally] = deque([_Tally()], maxlen=max(1, window_ms // _BUCKET_MS))

    def push(self, samples: Samples, *, speech: bool = False) -> None:
        """Count the next samples; ``speech`` if they are mostly voice."""
        if not len(samples):
            return
        if self._buckets[-1].samples >= self._bucket_samples:
            self._buckets.append(_Tally())
        self._buckets[-1].add(samples, speech=speech)

    def snapshot(self) -> QualityMeasures:
        """The measures now. Costs more than ``push``: call it once a second, not once a chunk."""
        total = _Tally()
        for bucket in self._buckets:
            total.merge(bucket)
        samples = max(1, total.samples)
        return QualityMeasures(
            duration_ms=samples_to_ms(total.samples, self._sample_rate_hz),
            speech_ms=samples_to_ms(total.speech_samples, self._sample_rate_hz),
            rms_dbfs=_dbfs(math.sqrt(total.energy / samples)),
            speech_dbfs=_dbfs(math.sqrt(total.speech_energy / total.speech_samples)) if total.speech_samples else None,
            peak_dbfs=_dbfs(total.peak),
            clipping_ratio=total.clipped / samples,
            dc_offset=total.sum / samples / _FULL_SCALE,
            silence_ratio=total.silent / samples,
        )


@dataclass(slots=True)
class _Tally:
    """Sums over one stretch of a stream."""

    samples: int = 0
    sum: float = 0.0
    energy: float = 0.0
    peak: int = 0
    clipped: int = 0
    silent: int = 0
    speech_samples: int = 0
    speech_energy: float = 0.0

    def add(self, samples: Samples, *, speech: bool) -> None:
        # Ufunc reductions rather than array methods: half the call overhead, which is most of the cost here.
        floats = samples.astype(np.float32)
        energy = float(floats.dot(floats))
        low, high = int(np.minimum.reduce(samples)), int(np.maximum.reduce(samples))
        peak = max(high, -low)
        self.samples += len(samples)
        self.sum += float(np.add.reduce(floats))
        self.energy += energy
        self.peak = max(self.peak, peak)
        if peak >= _CLIP_LEVEL:
            self.clipped += int(np.count_nonzero((samples >= _CLIP_LEVEL) | (samples <= -_CLIP_LEVEL)))
        elif peak <= _SILENT_LEVEL and high - low <= _SILENT_SPAN:
            self.silent += len(samples)
        if speech:
            self.speech_samples += len(samples)
            self.speech_energy += energy

    def merge(self, other: _Tally) -> None:
        self.samples += other.samples
        self.sum += other.sum
        self.energy += other.energy
        self.peak = max(self.peak, other.peak)
        self.clipped += other.clipped
        self.silent += other.silent
        self.speech_samples += other.speech_samples
        self.speech_energy += other.speech_energy


def _issue(kind: QualityKind) -> QualityIssue:
    return QualityIssue(kind, _MESSAGES[kind])


def _dbfs(amplitude: float) -> float:
    """``amplitude`` on the int16 scale as dBFS, to a tenth."""
    return max(FLOOR_DBFS, round(20.0 * math.log10(amplitude / _FULL_SCALE), 1)) if amplitude > 0.0 else FLOOR_DBFS
