"""Properties of the turn machine that hold for any order of events."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.core.machine import step
from agents.core.moves import live_turn, open_utterance
from agents.core.phases import Closed, State
from agents.core.policy import TurnPolicy
from agents.core.turn_types import (
    AbandonTurn,
    BeginTurn,
    CancelRequested,
    ClauseFinished,
    CloseRequested,
    CommitRequested,
    CommitTurn,
    EchoHeard,
    Effect,
    EndUtterance,
    HintArrived,
    HoldSpeech,
    PromptReceived,
    ReplyBound,
    ReplyEnded,
    ReplyReady,
    ReplyStarted,
    ResumeSpeech,
    SetTimer,
    SpeechStarted,
    SpeechStopped,
    TimerFired,
    TranscriptArrived,
    TranscriptCorrected,
    TranscriptFailed,
    TurnEvent,
)

small = st.integers(0, 6)
ms = st.integers(0, 5_000)
texts = st.sampled_from(["", "mhm", "Stop that.", "What time is it?", "I would like to", "My number is 5 5"])

events = st.one_of(
    st.builds(SpeechStarted, small, ms),
    st.builds(SpeechStopped, small, ms),
    st.builds(TranscriptArrived, small, texts, st.booleans(), ms, ms),
    st.builds(TranscriptCorrected, small, texts, ms),
    st.builds(TranscriptFailed, small),
    st.builds(HintArrived, small, ms, st.floats(0, 1), ms),
    st.builds(TimerFired, st.integers(0, 30), ms),
    st.builds(CommitRequested, st.one_of(st.none(), small), ms),
    st.just(CancelRequested()),
    st.builds(PromptReceived, texts, ms, st.sampled_from(["text", "announcement"])),
    st.builds(ReplyReady, st.integers(1, 12), ms),
    st.builds(ReplyStarted, st.integers(1, 12), st.one_of(st.none(), ms)),
    st.builds(ReplyBound, st.integers(1, 12)),
    st.builds(ClauseFinished, st.integers(1, 12)),
    st.builds(EchoHeard, small),
    st.builds(ReplyEnded, st.integers(1, 12)),
)
policies = st.builds(
    TurnPolicy,
    auto_end=st.booleans(),
    speculate=st.booleans(),
    auto_reply=st.booleans(),
    interruptible=st.booleans(),
    finish_clause_ms=st.sampled_from([0, 1_000]),
    filler_after_ms=st.one_of(st.none(), ms),
    filler_by_ms=st.one_of(st.none(), ms),
    partial_after_ms=st.one_of(st.none(), ms),
    eagerness=st.sampled_from(["low", "auto", "high"]),
    expected=st.sampled_from([None, "number", "email", "name", "list"]),
)


def play(script: Sequence[TurnEvent], policy: TurnPolicy) -> list[tuple[State, TurnEvent, State, tuple[Effect, ...]]]:
    state, history = State(), []
    for event in script:
        after, effects = step(state, event, policy)
        history.append((state, event, after, effects))
        state = after
    return history


class _Book:
    """Keeps the accounts a session would keep, and complains where one could not."""

    def __init__(self) -> None:
        self.live: dict[int, bool] = {}
        self.held: set[int] = set()
        self.begun: set[int] = set()

    def enter(self, event: TurnEvent, before: State, effects: tuple[Effect, ...]) -> None:
        if isinstance(event, ReplyEnded) and live_turn(before.phase) == event.turn:
            self._end(event.turn)
        for effect in effects:
            match effect:
                case BeginTurn():
                    assert effect.turn not in self.begun, "a turn begins once"
                    assert not self.live, "at most one live turn"
                    self.begun.add(effect.turn)
                    self.live[effect.turn] = not effect.speculative
                case CommitTurn():
                    assert self.live[effect.turn] is False, "only a live draft is committed, once"
                    self.live[effect.turn] = True
                case AbandonTurn():
                    self._end(effect.turn)
                case HoldSpeech():
                    assert self.live[effect.turn], "only a certain turn has a voice to hold"
                    assert effect.turn not in self.held
                    self.held.add(effect.turn)
                case ResumeSpeech():
                    self.held.remove(effect.turn)
                case _:
                    pass

    def _end(self, turn: int) -> None:
        assert turn in self.live, "a turn ends once"
        del self.live[turn]
        self.held.discard(turn)


@settings(max_examples=400)
@given(st.lists(events, max_size=40), policies)
def test_every_turn_has_one_life_whatever_happens(script: list[TurnEvent], policy: TurnPolicy) -> None:
    book = _Book()
    for before, event, after, effects in play(script, policy):
        book.enter(event, before, effects)
        assert live_turn(after.phase) == next(iter(book.live), None)
    close = step(play(script, policy)[-1][2] if script else State(), CloseRequested(), policy)
    book.enter(CloseRequested(), State(), close[1])
    assert not book.live, "nothing outlives the session"


@settings(max_examples=300)
@given(st.lists(events, max_size=30), st.lists(events, max_size=10), policies)
def test_nothing_happens_after_close(script: list[TurnEvent], later: list[TurnEvent], policy: TurnPolicy) -> None:
    history = play([*script, CloseRequested(), *later], policy)
    for _, _, state, effects in history[len(script) + 1 :]:
        assert isinstance(state.phase, Closed)
        assert effects == ()


@settings(max_examples=300)
@given(st.lists(events, max_size=30), policies)
def test_a_timer_that_no_longer_counts_changes_nothing(script: list[TurnEvent], policy: TurnPolicy) -> None:
    state, issued = State(), [0]
    for event in script:
        state, effects = step(state, event, policy)
        issued += [effect.timer for effect in effects if isinstance(effect, SetTimer)]
    current = {getattr(state.phase, name, None) for name in ("timer", "filler_timer")}
    for timer in issued:
        if timer not in current or timer == 0:
            assert step(state, TimerFired(timer, 60_000), policy) == (state, ())


@settings(max_examples=300)
@given(st.lists(events, max_size=40), policies)
def test_an_open_utterance_is_kept_or_ended_never_forgotten(script: list[TurnEvent], policy: TurnPolicy) -> None:
    for before, event, after, effects in play(script, policy):
        was, now = open_utterance(before.phase), open_utterance(after.phase)
        if was is not None and was != now:
            assert any(isinstance(effect, EndUtterance) and effect.utterance == was for effect in effects), event


@settings(max_examples=200)
@given(st.lists(events, max_size=40))
def test_without_speculation_nothing_is_ever_drafted(script: list[TurnEvent]) -> None:
    for _, _, _, effects in play(script, TurnPolicy(speculate=False)):
        assert not any(isinstance(effect, BeginTurn) and effect.speculative for effect in effects)
