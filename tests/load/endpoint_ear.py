"""Turns through the real ear: what voice activity, the recogniser and smart-turn make of them, and how soon.

``Ear`` runs the session's own voice-activity chain over 20 ms frames and asks the embedded recogniser and smart-turn at
every pause what a session asks them, and times them. Driven by ``bench_endpoint``; what came of it is played by
``endpoint_outcome``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from endpoint_corpus import MS, Turn

from agents.core.hearing import RECENT_MS
from audio.endpoint.smart_turn import SmartTurn
from audio.formats import PcmChunk, Samples
from audio.stt.whisper_model import WhisperModel
from audio.vad.chain import make_detector
from audio.vad.port import EdgeKind, VadOptions
from audio.vad.silero import SileroModel

FRAME_MS: Final = 20
_FRAME: Final = FRAME_MS * MS


@dataclass(frozen=True, slots=True)
class Edge:
    """Speech began or paused at ``at_ms``; known at ``known_ms``. A pause carries what the engines say of it."""

    started: bool
    at_ms: int
    known_ms: int
    text: str = ""
    hint: float = 0.0
    stt_ms: int = 0
    hint_ms: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """One turn as the ear heard it."""

    name: str
    speaker: str
    held_out: bool
    pause_ms: int
    end_ms: int
    length_ms: int
    edges: tuple[Edge, ...] = ()
    undecided: frozenset[int] = field(default_factory=frozenset[int])
    """Frames after which voice activity was about to change, perhaps."""

    @property
    def longest_pause_ms(self) -> int:
        """Of those inside the turn, the spliced ones and the speaker's own; 0 where there is none."""
        stopped = [edge.at_ms for edge in self.edges if not edge.started]
        resumed = [edge.at_ms for edge in self.edges if edge.started][1:]
        return max((after - before for before, after in zip(stopped, resumed, strict=False)), default=0)

    def as_json(self) -> dict[str, Any]:
        """Plain values, for a file."""
        return asdict(self) | {"undecided": sorted(self.undecided)}

    @staticmethod
    def from_json(values: dict[str, Any]) -> Heard:
        """The inverse of ``as_json``."""
        edges = tuple(Edge(**edge) for edge in values["edges"])
        return Heard(**values | {"edges": edges, "undecided": frozenset(values["undecided"])})


class Ear:
    """The embedded engines of one session, asked as a session asks them."""

    def __init__(self, whisper: WhisperModel, smart_turn: Callable[[Samples], float]) -> None:
        self._silero = SileroModel()
        self._whisper, self._smart_turn = whisper, smart_turn
        self._prompt = whisper.prompt("en")

    def hear(self, turn: Turn) -> Heard:
        """The edges of one turn, and what the engines say at each pause."""
        options = VadOptions()
        detector = make_detector(options, self._silero.stream)
        edges: list[Edge] = []
        undecided: set[int] = set()
        begin: int | None = None
        for at in range(0, len(turn.samples) - _FRAME + 1, _FRAME):
            for edge in detector.process(PcmChunk(turn.samples[at : at + _FRAME], at)):
                now = at + _FRAME
                if edge.kind is EdgeKind.STARTED:
                    begin = max(0, edge.sample - options.prefix_padding_ms * MS) if begin is None else begin
                    edges.append(Edge(True, edge.sample // MS, now // MS))
                else:
                    edges.append(self._ask(edge.sample, turn.samples[begin or 0 : now], turn.samples[:now]))
            if detector.undecided:
                undecided.add(at // _FRAME)
        recording = turn.recording
        length_ms = len(turn.samples) // MS
        return Heard(
            turn.name,
            recording.speaker,
            recording.held_out,
            turn.pause_ms,
            turn.end_ms,
            length_ms,
            tuple(edges),
            frozenset(undecided),
        )

    def _ask(self, stopped: int, utterance: Samples, heard: Samples) -> Edge:
        began_s = time.perf_counter()
        text = self._whisper.decode(utterance, self._prompt).text
        decoded_s = time.perf_counter()
        hint = self._smart_turn(heard[-RECENT_MS * MS :])
        stt_ms = round((decoded_s - began_s) * 1_000)
        hint_ms = round((time.perf_counter() - decoded_s) * 1_000)
        return Edge(
            False, stopped // MS, len(heard) // MS, text[:1].upper() + text[1:], round(hint, 4), stt_ms, hint_ms
        )


def blocking(smart_turn: SmartTurn) -> Callable[[Samples], float]:
    """Smart-turn as a plain function: the benchmark has no event loop."""
    session = smart_turn._load()
    return lambda samples: smart_turn._infer(session, samples)
