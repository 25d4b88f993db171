"""The voice-activity port: chunks in, speech edges out, as a plain call.

Driven by ``agents.core.hearing`` once per inbound chunk, on the event loop, so an implementation must be cheap
(well below 1 ms per 20 ms chunk) and must never block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from audio.formats import PcmChunk


class EdgeKind(Enum):
    """Which way the edge goes."""

    STARTED = "started"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class SpeechEdge:
    """Speech began or paused.

    ``sample`` is where it happened (the first sample of speech, or the one after the last); ``decided_at_sample``
    is how much audio the decision needed. Both count at 16 kHz from the start of the stream. Edges alternate,
    starting with ``STARTED``.
    """

    kind: EdgeKind
    sample: int
    decided_at_sample: int


@dataclass(frozen=True, slots=True)
class VadOptions:
    """How a session hears speech. Changeable at any time.

    ``threshold`` is the speech probability that starts speech (it ends below ``threshold - 0.15``);
    ``min_speech_ms`` of speech start an utterance; ``min_silence_ms`` of silence make a pause (not a turn end: the
    turn machine waits on from there); ``prefix_padding_ms`` of audio before the first speech sample are kept, so no
    first syllable is lost; ``gate_mode`` is the aggressiveness of the webrtcvad gate, 0-3.
    """

    threshold: float = 0.5
    min_speech_ms: int = 96
    min_silence_ms: int = 96
    prefix_padding_ms: int = 300
    gate_mode: int = 2


class VoiceActivityDetector(Protocol):
    """Finds speech in one stream. One instance per session; not thread-safe."""

    @property
    def undecided(self) -> bool:
        """Whether the last audio speaks for an edge that is not certain yet: a sound that may be speech, or a silence
        that may be a pause. Resolved within ``min_speech_ms`` or ``min_silence_ms``."""
        ...

    def process(self, chunk: PcmChunk) -> Sequence[SpeechEdge]:
        """The edges this 16 kHz chunk reveals, oldest first; usually none. Chunks may have any length."""
        ...

    def update(self, options: VadOptions) -> None:
        """Take new options from the next chunk on, keeping what has been heard."""
        ...

    def reset(self) -> None:
        """Forget the signal's past (after a gap in the stream); a running speech ends without an edge."""
        ...
