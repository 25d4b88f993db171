"""Turns as the ear heard them, through the turn machine as often as there are policies, on the audio's clock.

``Replay`` is one session: it plays the edges of speech with engines' delays or with none, lets a reply begin to sound
so long after it was begun, and keeps account of the agent's voice. Driven by ``bench_endpoint``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from endpoint_ear import FRAME_MS, Edge, Heard

from agents.core.endpoint_pauses import PauseHabit
from agents.core.machine import step
from agents.core.phases import State
from agents.core.policy import TurnPolicy
from agents.core.timers import MAX_HOLD_MS
from agents.core.turn_types import (
    AbandonTurn,
    BeginTurn,
    CommitTurn,
    Effect,
    EndUtterance,
    HintArrived,
    HoldSpeech,
    ReplyReady,
    ReplyStarted,
    ResumeSpeech,
    SetTimer,
    SpeechStarted,
    SpeechStopped,
    TimerFired,
    TranscriptArrived,
    TurnEvent,
)

NOTICED_MS: Final = 200
"""Less of the agent's voice, before it gives way, is hardly heard as words."""


@dataclass(frozen=True, slots=True)
class Delays:
    """How late engines are, in ms: the words of a pause and smart-turn's answer after the last sample, but never before
    the pause is known; the reply's first audio after the reply was begun."""

    words_ms: int = 0
    hint_ms: int = 0
    reply_ms: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one turn: when it was first taken to be over and when its last reply began to sound (``None``:
    never), how much of the agent's voice the user heard before their own last word, and into how many turns it fell."""

    heard: Heard
    committed_ms: int | None
    sounded_ms: int | None
    voice_before_end_ms: int
    turns: int

    @property
    def cut(self) -> bool:
        """Whether it was taken to be over too early, noticed or not."""
        return self.committed_ms is not None and self.committed_ms < self.heard.end_ms

    @property
    def noticed(self) -> bool:
        """Whether the agent was heard to speak too early, or what was said fell into pieces."""
        return self.voice_before_end_ms > NOTICED_MS or self.turns > 1

    @property
    def gap_ms(self) -> int | None:
        """From the last sample to the turn certain."""
        return None if self.committed_ms is None or self.cut else self.committed_ms - self.heard.end_ms

    @property
    def answer_ms(self) -> int | None:
        """From the last sample to the answer's first audio."""
        early = self.sounded_ms is None or self.sounded_ms < self.heard.end_ms
        return None if self.sounded_ms is None or early else self.sounded_ms - self.heard.end_ms


@dataclass(slots=True)
class _Run:
    """One turn under way."""

    due: list[tuple[int, int, TurnEvent]] = field(default_factory=list[tuple[int, int, TurnEvent]])
    timers: dict[int, int] = field(default_factory=dict[int, int])
    utterance: int = 1
    replying: int | None = None
    committed_ms: int | None = None
    sounded_ms: int | None = None
    voice_since_ms: int | None = None
    voice: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    turns: int = 1
    posted: int = 0

    def post(self, at_ms: int, event: TurnEvent) -> None:
        self.posted += 1
        self.due.append((at_ms, self.posted, event))
        self.due.sort(key=lambda item: item[:2])

    def silence(self, now_ms: int) -> None:
        if self.voice_since_ms is not None:
            self.voice.append((self.voice_since_ms, now_ms))
            self.voice_since_ms = None


class Replay:
    """One session's turn machine; turns of one speaker may follow each other in it."""

    def __init__(self, policy: TurnPolicy, delays: Delays) -> None:
        self._policy, self._delays = policy, delays
        self._state = State()

    def play(self, heard: Heard) -> Outcome:
        """The turn, to the end of its recording."""
        habit = PauseHabit(self._state.habit.pauses_ms)  # every recording has a clock of its own
        self._state = State(next_turn=self._state.next_turn, next_timer=self._state.next_timer, habit=habit)
        run = _Run()
        for at_ms, edge in self._edges(heard):
            run.post(at_ms, edge)
        for frame in range(heard.length_ms // FRAME_MS):
            now_ms = (frame + 1) * FRAME_MS
            while run.due and run.due[0][0] <= now_ms:
                at_ms, _, event = run.due.pop(0)
                self._step(run, event, at_ms)
                if frame - 1 not in heard.undecided:
                    self._fire(run, at_ms, at_ms)
            self._fire(run, now_ms - (MAX_HOLD_MS if frame in heard.undecided else 0), now_ms)
        run.silence(heard.length_ms)
        before = sum(max(0, min(end, heard.end_ms) - start) for start, end in run.voice)
        return Outcome(heard, run.committed_ms, run.sounded_ms, before, run.turns)

    def _edges(self, heard: Heard) -> Iterator[tuple[int, TurnEvent]]:
        for edge in heard.edges:
            if edge.started:
                yield edge.known_ms, SpeechStarted(0, edge.at_ms)
                continue
            yield edge.known_ms, SpeechStopped(0, edge.at_ms)
            yield from self._engines(edge)

    def _engines(self, edge: Edge) -> Iterator[tuple[int, TurnEvent]]:
        said_ms = max(edge.known_ms, edge.at_ms + self._delays.words_ms)
        hinted_ms = max(edge.known_ms, edge.at_ms + self._delays.hint_ms)
        yield hinted_ms, HintArrived(0, edge.at_ms, edge.hint, hinted_ms)
        yield said_ms, TranscriptArrived(0, edge.text, True, edge.at_ms, said_ms)

    def _fire(self, run: _Run, through_ms: int, now_ms: int) -> None:
        for timer, due_ms in sorted(run.timers.items(), key=lambda item: item[1]):
            if due_ms <= through_ms:
                del run.timers[timer]
                self._step(run, TimerFired(timer, now_ms), now_ms)

    def _step(self, run: _Run, event: TurnEvent, now_ms: int) -> None:
        match event:
            case SpeechStarted() | SpeechStopped() | HintArrived() | TranscriptArrived():
                event = _of_utterance(event, run.utterance)
            case ReplyStarted(turn=turn) if turn == run.replying:
                run.sounded_ms = run.voice_since_ms = now_ms
            case ReplyStarted():
                return
            case _:
                pass
        self._state, effects = step(self._state, event, self._policy)
        for effect in effects:
            self._carry_out(run, effect, now_ms)

    def _carry_out(self, run: _Run, effect: Effect, now_ms: int) -> None:
        match effect:
            case SetTimer():
                run.timers[effect.timer] = effect.due_ms
            case BeginTurn():
                ready_ms = now_ms + self._delays.reply_ms
                run.post(ready_ms, ReplyReady(effect.turn, ready_ms))
                if not effect.speculative:
                    self._committed(run, effect.turn, now_ms)
                    run.post(ready_ms, ReplyStarted(effect.turn, ready_ms))
            case CommitTurn(turn=turn):
                self._committed(run, turn, now_ms)
                pending = [at for at, _, event in run.due if isinstance(event, ReplyReady) and event.turn == turn]
                sounds_ms = pending[0] if pending else now_ms
                run.post(sounds_ms, ReplyStarted(turn, sounds_ms))
            case EndUtterance():
                run.utterance += 1
            case HoldSpeech():
                run.silence(now_ms)
            case ResumeSpeech():
                run.voice_since_ms = now_ms
            case AbandonTurn(turn=turn, reason=reason) if turn == run.replying:
                run.silence(now_ms)
                run.replying = None
                run.turns += reason == "interrupted"
            case _:
                pass

    @staticmethod
    def _committed(run: _Run, turn: int, now_ms: int) -> None:
        run.replying = turn
        run.committed_ms = now_ms if run.committed_ms is None else run.committed_ms


def _of_utterance(event: SpeechStarted | SpeechStopped | HintArrived | TranscriptArrived, utterance: int) -> TurnEvent:
    return replace(event, utterance=utterance)
