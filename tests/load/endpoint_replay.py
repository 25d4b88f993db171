"""Turns through the real ear, once, and through the turn machine as often as there are policies.

``Ear`` runs the session's own voice-activity chain over 20 ms frames and asks the embedded recogniser and smart-turn at
every pause what a session asks them, and times them. ``replay`` plays what came of it to ``agents.core.machine`` on the
audio's clock, with the engines' measured delays or with none. Driven by ``bench_endpoint``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from endpoint_corpus import MS, Turn

from agents.core.endpoint_pauses import PauseHabit
from agents.core.hearing import RECENT_MS
from agents.core.machine import step
from agents.core.phases import State
from agents.core.policy import TurnPolicy
from agents.core.timers import MAX_HOLD_MS
from agents.core.turn_types import (
    BeginTurn,
    CommitTurn,
    Effect,
    FlushTranscript,
    HintArrived,
    SetTimer,
    SpeechStarted,
    SpeechStopped,
    TimerFired,
    TranscriptArrived,
    TurnEvent,
)
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


@dataclass(frozen=True, slots=True)
class Outcome:
    """When the turn was taken to be over (``None``: never), against when it was."""

    heard: Heard
    committed_ms: int | None

    @property
    def cut(self) -> bool:
        return self.committed_ms is not None and self.committed_ms < self.heard.end_ms

    @property
    def gap_ms(self) -> int | None:
        return None if self.committed_ms is None or self.cut else self.committed_ms - self.heard.end_ms


class Replay:
    """One session's turn machine on the audio's clock; turns of one speaker may follow each other in it."""

    def __init__(self, policy: TurnPolicy, *, delays: bool) -> None:
        self._policy, self._delays = policy, delays
        self._state = State()

    def play(self, heard: Heard) -> Outcome:
        """The turn, up to the moment it is taken to be over."""
        habit = PauseHabit(self._state.habit.pauses_ms)  # every recording has a clock of its own
        self._state = State(next_turn=self._state.next_turn, next_timer=self._state.next_timer, habit=habit)
        waiting = sorted(self._events(heard), key=lambda item: item[0])
        timers: dict[int, int] = {}
        for frame in range(heard.length_ms // FRAME_MS):
            now_ms = (frame + 1) * FRAME_MS
            while waiting and waiting[0][0] <= now_ms:
                known_ms, event = waiting.pop(0)
                if self._step(event, timers):
                    return Outcome(heard, known_ms)
            held = MAX_HOLD_MS if frame in heard.undecided else 0
            for timer, due_ms in sorted(timers.items(), key=lambda item: item[1]):
                if due_ms <= now_ms - held:
                    del timers[timer]
                    if self._step(TimerFired(timer, now_ms), timers):
                        return Outcome(heard, now_ms)
        return Outcome(heard, None)

    def _events(self, heard: Heard) -> Iterator[tuple[int, TurnEvent]]:
        for edge in heard.edges:
            if edge.started:
                yield edge.known_ms, SpeechStarted(1, edge.at_ms)
                continue
            yield edge.known_ms, SpeechStopped(1, edge.at_ms)
            said_ms = edge.known_ms + (edge.stt_ms if self._delays else 0)
            hinted_ms = edge.known_ms + (edge.hint_ms if self._delays else 0)
            yield hinted_ms, HintArrived(1, edge.at_ms, edge.hint, hinted_ms)
            yield said_ms, TranscriptArrived(1, edge.text, True, edge.at_ms, said_ms)

    def _step(self, event: TurnEvent, timers: dict[int, int]) -> bool:
        """Whether the turn is certain now."""
        self._state, effects = step(self._state, event, self._policy)
        certain = [self._carry_out(effect, timers) for effect in effects]  # all of them, whatever the first says
        return any(certain)

    @staticmethod
    def _carry_out(effect: Effect, timers: dict[int, int]) -> bool:
        match effect:
            case SetTimer(timer=timer, due_ms=due_ms, purpose="endpoint" | "transcript"):
                timers[timer] = due_ms
                return False
            case BeginTurn(speculative=False) | CommitTurn():
                return True
            case FlushTranscript():
                return False
            case _:
                return False
