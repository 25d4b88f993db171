"""Voice activity as sessions use it: the WebRTC gate saves work in silence, Silero decides.

While the gate hears nothing, Silero does not run. When the gate opens, Silero starts from a clean state on the last
fifth of a second, so a soft onset before the gate's own decision is found and backdated; it then runs until both
have been silent for a while. In noise the gate never closes, and Silero alone decides. Results do not depend on
how the stream is cut into chunks. Driven by ``agents.core.hearing``, as a plain call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from audio.formats import HEARING_RATE_HZ, PcmChunk, ms_to_samples
from audio.vad.gate import FRAME_SAMPLES, FrameFeed, WebRtcGate
from audio.vad.port import SpeechEdge, VadOptions, VoiceActivityDetector
from audio.vad.segmenter import SpeechSegmenter
from audio.vad.silero import CONTEXT_SAMPLES, MOST_FRAMES, NEW_SAMPLES, SileroStream

_CATCH_UP_SAMPLES: Final = 6 * NEW_SAMPLES
"""192 ms: from a clean state Silero agrees with its continuous self after 2-4 frames."""
_HANGOVER_SAMPLES: Final = ms_to_samples(480, HEARING_RATE_HZ)
"""How long gate and decision must both be silent before Silero rests; longer than the look-back, so that a
reopened gate never looks into speech already reported."""
_LOOKBACK_SAMPLES: Final = _CATCH_UP_SAMPLES + CONTEXT_SAMPLES + FRAME_SAMPLES

_NO_EDGES: Final[Sequence[SpeechEdge]] = ()


class GatedDetector:
    """Gate and Silero. Idle silence costs about 4 us per 20 ms, speech about 75 us per 32 ms; less in long chunks."""

    def __init__(self, options: VadOptions, silero: SileroStream) -> None:
        self._gate = WebRtcGate(options.gate_mode)
        self._feed = FrameFeed(_LOOKBACK_SAMPLES)
        self._segmenter = SpeechSegmenter(options)
        self._silero = silero
        self._open = False
        self._analysed = 0
        self._foreseen: deque[float] = deque()  # of the frames from `_analysed` on
        self._origin = self._feed.origin
        self._active_at = 0

    @property
    def undecided(self) -> bool:
        """See ``VoiceActivityDetector.undecided``."""
        return self._segmenter.undecided

    def process(self, chunk: PcmChunk) -> Sequence[SpeechEdge]:
        """See ``VoiceActivityDetector.process``."""
        edges: list[SpeechEdge] | None = None
        for frame in self._feed.frames(chunk):
            voiced = self._gate.is_voiced(frame)
            if not voiced and not self._open:
                continue
            found = self._listen(voiced=voiced)
            if found:
                edges = [*edges, *found] if edges else found
        return edges or _NO_EDGES

    def update(self, options: VadOptions) -> None:
        """See ``VoiceActivityDetector.update``."""
        self._gate.update(options.gate_mode)
        self._segmenter.update(options)

    def reset(self) -> None:
        """See ``VoiceActivityDetector.reset``."""
        self._gate.reset()
        self._segmenter.reset()
        self._feed.restart(self._feed.position)
        self._open = False

    def _listen(self, *, voiced: bool) -> list[SpeechEdge]:
        heard = self._feed.position
        if not self._open or not 0 <= heard - self._analysed <= _CATCH_UP_SAMPLES:
            self._reopen(heard)
        edges = self._analyse(heard)
        if voiced or not self._segmenter.idle:
            self._active_at = heard
        elif heard - self._active_at >= _HANGOVER_SAMPLES:
            self._open = False
        return edges

    def _reopen(self, heard: int) -> None:
        """Begin anew: the gate has opened, or the stream has jumped."""
        self._silero.reset()
        self._open = True
        self._active_at = heard
        self._analysed = heard - _CATCH_UP_SAMPLES
        self._foreseen.clear()

    def _analyse(self, heard: int) -> list[SpeechEdge]:
        edges: list[SpeechEdge] = []
        while self._analysed + NEW_SAMPLES <= heard:
            start = self._analysed
            probability = self._probability(start)
            self._analysed = start + NEW_SAMPLES
            span = (max(start, self._feed.origin), max(self._analysed, self._feed.origin))
            edge = self._segmenter.step(probability, span, heard)
            if edge is not None:
                edges.append(edge)
        return edges

    def _probability(self, start: int) -> float:
        """Of the frame that begins there. What the chunk holds beyond it is asked for at once, and used in its time."""
        if self._origin != self._feed.origin:  # the stream has jumped
            self._origin = self._feed.origin
            self._foreseen.clear()
        if not self._foreseen:
            frames = min((self._feed.end - start) // NEW_SAMPLES, MOST_FRAMES)
            samples = self._feed.read(start - CONTEXT_SAMPLES, CONTEXT_SAMPLES + frames * NEW_SAMPLES)
            self._foreseen.extend(self._silero.probabilities(samples))
        return self._foreseen.popleft()


class GateOnlyDetector:
    """The WebRTC detector alone, with the same durations: where Silero is not installed. Poor below 10 dB SNR.

    Its probabilities are 0 or 1, so ``VadOptions.threshold`` has no effect.
    """

    def __init__(self, options: VadOptions) -> None:
        self._gate = WebRtcGate(options.gate_mode)
        self._feed = FrameFeed(FRAME_SAMPLES)
        self._segmenter = SpeechSegmenter(options)

    @property
    def undecided(self) -> bool:
        """See ``VoiceActivityDetector.undecided``."""
        return self._segmenter.undecided

    def process(self, chunk: PcmChunk) -> Sequence[SpeechEdge]:
        """See ``VoiceActivityDetector.process``."""
        edges: list[SpeechEdge] = []
        for frame in self._feed.frames(chunk):
            probability = 1.0 if self._gate.is_voiced(frame) else 0.0
            end = self._feed.position
            edge = self._segmenter.step(probability, (end - FRAME_SAMPLES, end), end)
            if edge is not None:
                edges.append(edge)
        return edges or _NO_EDGES

    def update(self, options: VadOptions) -> None:
        """See ``VoiceActivityDetector.update``."""
        self._gate.update(options.gate_mode)
        self._segmenter.update(options)

    def reset(self) -> None:
        """See ``VoiceActivityDetector.reset``."""
        self._gate.reset()
        self._segmenter.reset()
        self._feed.restart(self._feed.position)


def make_detector(options: VadOptions, silero: Callable[[], SileroStream] | None) -> VoiceActivityDetector:
    """A detector for one session; ``silero`` is ``SileroModel.stream``, or ``None`` where there is no model."""
    return GateOnlyDetector(options) if silero is None else GatedDetector(options, silero())
