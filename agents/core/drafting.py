"""A reply is drafted while the user may still go on: until it is certain nobody notices it.

Pure, driven by ``agents.core.machine``. Silence says when the turn is over, the draft when it can be heard; both
together make the turn certain (``agents.core.moves.over``). Who goes on before that is in the same turn, and the draft
is dropped with nothing left of it but its cost.
"""

from __future__ import annotations

from dataclasses import replace

from agents.core.correcting import reworded
from agents.core.meaning import means_other
from agents.core.moves import Result, answer_speech, over, set_timer, settled
from agents.core.phases import Settling, Speculating, State, UserSpeaking
from agents.core.policy import TurnPolicy, endpoint_wait_ms
from agents.core.turn_types import (
    AbandonTurn,
    HintArrived,
    ReplyEnded,
    ReplyReady,
    SpeechStarted,
    TimerFired,
    TranscriptArrived,
    TurnEvent,
)


def in_speculating(state: State, phase: Speculating, event: TurnEvent, policy: TurnPolicy) -> Result:
    """One event while a draft is in the making."""
    match event:
        case SpeechStarted(utterance=phase.utterance):
            speaking = UserSpeaking(phase.utterance, phase.text)
            return replace(state, phase=speaking), (AbandonTurn(phase.turn, "went_on"),)
        case TimerFired(timer=phase.timer):
            return over(state, phase, policy, event.now_ms)
        case ReplyReady(turn=phase.turn):
            return _ready(state, phase, event)
        case HintArrived(utterance=phase.utterance, stopped_ms=phase.stopped_ms):
            return _weighed(state, replace(phase, hint=event.probability), policy, event.now_ms)
        case TranscriptArrived(utterance=phase.utterance, flushed=True):
            return _heard_again(state, phase, event, policy)
        case ReplyEnded(turn=phase.turn):
            return _failed(state, phase, event, policy)
        case _:
            return state, ()


def _ready(state: State, phase: Speculating, event: ReplyReady) -> Result:
    phase = replace(phase, ready=True)
    if phase.over_ms is None:
        return replace(state, phase=phase), ()
    # By a timer, due at once: timers are held while voice activity is about to change.
    state, timer = set_timer(state, event.now_ms, "endpoint")
    return replace(state, phase=replace(phase, timer=timer.timer)), (timer,)


def _weighed(state: State, phase: Speculating, policy: TurnPolicy, now_ms: int) -> Result:
    due_ms = phase.stopped_ms + endpoint_wait_ms(phase.text, phase.hint, policy, state.habit)
    if due_ms <= now_ms:
        return over(state, phase, policy, now_ms)
    state, timer = set_timer(state, due_ms, "endpoint")
    return replace(state, phase=replace(phase, timer=timer.timer, over_ms=None)), (timer,)


def _heard_again(state: State, phase: Speculating, event: TranscriptArrived, policy: TurnPolicy) -> Result:
    if not means_other(phase.text, event.text, policy.rules.spelling):
        return reworded(state, phase, event, policy)
    settling = Settling(phase.utterance, phase.stopped_ms, phase.timer, phase.text, event.text, phase.hint)
    state, effects = settled(replace(state, phase=settling), settling, policy, event.now_ms)
    return state, (AbandonTurn(phase.turn, "changed"), *effects)


def _failed(state: State, phase: Speculating, event: ReplyEnded, policy: TurnPolicy) -> Result:
    """The draft came to nothing: the turn is answered anew once it is over, and then a failure is told."""
    if phase.over_ms is not None:
        return answer_speech(state, phase.utterance, phase.text, phase.stopped_ms, policy, event.now_ms)
    settling = Settling(phase.utterance, phase.stopped_ms, phase.timer, phase.text, phase.text, phase.hint)
    return replace(state, phase=settling), ()
