"""A voice activity detector without a model, for scripted engines: loud is speech, and a mark ends a phrase at once.

The mark lets a benchmark say exactly where a phrase ends, so that it measures the wire and not the silence in which an
end is found: these four samples, which no recording has, anywhere in the audio.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from audio.formats import PcmChunk, Samples
from audio.vad.port import EdgeKind, SpeechEdge, VadOptions
from audio.vad.segmenter import SpeechSegmenter

PHRASE_END: Final[tuple[int, ...]] = (32_767, -32_768, 32_767, -32_768)
"""int16 at 16 kHz."""
LOUD: Final = 500
_FRAME: Final = 160
_MARK: Final = np.array(PHRASE_END, np.int16).tobytes()


class LoudnessDetector:
    """See ``VoiceActivityDetector``. Frames are 10 ms; what does not fill one waits for the next chunk."""

    def __init__(self, options: VadOptions) -> None:
        self._segmenter = SpeechSegmenter(options)
        self._held: Samples = np.empty(0, np.int16)
        self._speaking = False

    @property
    def undecided(self) -> bool:
        """See the port."""
        return self._segmenter.undecided

    def process(self, chunk: PcmChunk) -> Sequence[SpeechEdge]:
        """See the port. A mark that is cut by the end of a chunk is found in the next."""
        data = np.concatenate([self._held, chunk.samples])
        start, at = chunk.end_sample - len(data), 0
        edges: list[SpeechEdge] = []
        while (marked := _find_mark(data, at)) is not None:
            self._listen(data[at:marked], start + at, chunk.end_sample, edges)
            if self._speaking:
                edges.append(SpeechEdge(EdgeKind.STOPPED, start + marked, chunk.end_sample))
            self._speaking = False
            self._segmenter.reset()
            at = marked + len(PHRASE_END)
        certain = max(at, len(data) - len(PHRASE_END) + 1)  # behind it a mark may have begun
        at += self._listen(data[at:certain], start + at, chunk.end_sample, edges)
        self._held = data[at:]
        return edges

    def update(self, options: VadOptions) -> None:
        """See the port."""
        self._segmenter.update(options)

    def reset(self) -> None:
        """See the port."""
        self._segmenter.reset()
        self._held = np.empty(0, np.int16)
        self._speaking = False

    def _listen(self, data: Samples, start: int, heard: int, edges: list[SpeechEdge]) -> int:
        """Decide on the whole frames of ``data``; how many samples they are."""
        whole = len(data) - len(data) % _FRAME
        for at in range(0, whole, _FRAME):
            loud = int(np.abs(data[at : at + _FRAME].astype(np.int32)).max()) >= LOUD
            edge = self._segmenter.step(float(loud), (start + at, start + at + _FRAME), heard)
            if edge is not None:
                self._speaking = edge.kind is EdgeKind.STARTED
                edges.append(edge)
        return whole


def _find_mark(data: Samples, at: int) -> int | None:
    tail = data[at:]
    peaks = np.flatnonzero(tail[: max(0, len(tail) - 3)] == PHRASE_END[0])
    return next((at + int(peak) for peak in peaks if tail[peak : peak + 4].tobytes() == _MARK), None)
