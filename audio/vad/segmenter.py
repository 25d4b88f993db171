"""Frame-wise speech probabilities to speech edges: hysteresis over two thresholds and two durations.

Pure: positions in, edges out, no clock and no audio. Shared by every detector of this room.
"""

from __future__ import annotations

from typing import Final

from audio.formats import HEARING_RATE_HZ, ms_to_samples
from audio.vad.port import EdgeKind, SpeechEdge, VadOptions

_HYSTERESIS: Final = 0.15
_LOWEST_EXIT: Final = 0.01


class SpeechSegmenter:
    """Decides when a stream of probabilities has become speech, and when it has paused.

    Speech starts once frames from one at or above ``threshold``, with none below the exit threshold since, span
    ``min_speech_ms``; it pauses once frames from one below the exit threshold, with none at or above
    ``threshold`` since, span ``min_silence_ms``. Probabilities between the two change nothing.
    """

    def __init__(self, options: VadOptions) -> None:
        self._speaking = False
        self._turning_at: int | None = None
        self.update(options)

    @property
    def idle(self) -> bool:
        """No speech, and none beginning."""
        return not self._speaking and self._turning_at is None

    @property
    def undecided(self) -> bool:
        """The last frames speak for an edge that is not certain yet."""
        return self._turning_at is not None

    def update(self, options: VadOptions) -> None:
        """Take new options; speech that runs goes on."""
        self._enter = options.threshold
        self._exit = max(options.threshold - _HYSTERESIS, _LOWEST_EXIT)
        self._min_speech = ms_to_samples(options.min_speech_ms, HEARING_RATE_HZ)
        self._min_silence = ms_to_samples(options.min_silence_ms, HEARING_RATE_HZ)

    def reset(self) -> None:
        """Back to silence, without an edge."""
        self._speaking = False
        self._turning_at = None

    def step(self, probability: float, span: tuple[int, int], heard: int) -> SpeechEdge | None:
        """The edge revealed by one frame, if any.

        ``span`` is the frame's first sample and the one after its last; ``heard`` how far the stream has come.
        """
        start, end = span
        agrees, differs = probability >= self._enter, probability < self._exit
        if self._speaking:
            agrees, differs = differs, agrees
        if differs:
            self._turning_at = None
            return None
        if self._turning_at is None:
            if not agrees:
                return None
            self._turning_at = start
        needed = self._min_silence if self._speaking else self._min_speech
        if end - self._turning_at < needed:
            return None
        return self._turn(heard)

    def _turn(self, heard: int) -> SpeechEdge:
        assert self._turning_at is not None
        kind = EdgeKind.STOPPED if self._speaking else EdgeKind.STARTED
        edge = SpeechEdge(kind, self._turning_at, heard)
        self._speaking = not self._speaking
        self._turning_at = None
        return edge
