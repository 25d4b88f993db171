"""A better transcript that comes late: the draft reworded, the turn planned anew, or only what was said put right.

Pure, driven by ``agents.core.machine``. A streaming service is answered by its stable interim words; its final follows.

==============================  ===================================================================================
the corrected words             what happens
==============================  ===================================================================================
mean the same                   what is shown and remembered is written better; the reply goes on
mean something else             nothing of the reply was heard, and it did nothing that lasts: the turn is planned
                                anew; else they are shown and remembered, for the next turn to know
come later than the limit, of   nothing
another utterance, or empty
==============================  ===================================================================================
"""

from __future__ import annotations

from dataclasses import replace

from agents.core.meaning import means_other
from agents.core.moves import Result, answer, certain, set_timer
from agents.core.phases import Filling, Overlap, Phase, Replying, Speculating, State, Understood
from agents.core.policy import TurnPolicy, endpoint_wait_ms, words_of
from agents.core.turn_types import (
    AbandonTurn,
    BeginTurn,
    CorrectText,
    RewordTurn,
    TranscriptArrived,
    TranscriptCorrected,
)


def corrected(state: State, event: TranscriptCorrected, policy: TurnPolicy) -> Result:
    """An utterance that is over was misheard."""
    understood = state.understood
    if understood is None or not _concerns(event, understood, policy):
        return state, ()
    other = means_other(understood.text, event.text, policy.rules.spelling)
    reply = _unheard_reply(state.phase, understood.turn)
    if not other or reply is None or state.bound == understood.turn:
        state = replace(state, understood=replace(understood, text=event.text))
        return state, (CorrectText(event.utterance, event.text),)
    return _planned_anew(state, event, replace(understood, text=event.text, turn=state.next_turn), policy)


def reworded(state: State, phase: Speculating, event: TranscriptArrived, policy: TurnPolicy) -> Result:
    """The words being drafted for are the same, written better: which may tell more of where the turn ends."""
    if event.text == phase.text:
        return state, ()
    phase = replace(phase, text=event.text)
    reword = RewordTurn(phase.turn, event.text)
    due_ms = phase.stopped_ms + endpoint_wait_ms(phase.text, phase.hint, policy)
    if due_ms <= event.now_ms:
        state, effects = certain(state, phase, policy, event.now_ms)
        return state, (reword, *effects)
    state, timer = set_timer(state, due_ms, "endpoint")
    return replace(state, phase=replace(phase, timer=timer.timer)), (reword, timer)


def _concerns(event: TranscriptCorrected, understood: Understood, policy: TurnPolicy) -> bool:
    in_time = event.now_ms <= understood.stopped_ms + policy.correction_ms
    news = event.text != understood.text and bool(words_of(event.text))
    return event.utterance == understood.utterance and in_time and news


def _unheard_reply(phase: Phase, turn: int | None) -> Replying | Filling | None:
    """The reply of this turn, where nothing of it has reached the user."""
    reply = phase.reply if isinstance(phase, Overlap) else phase
    if not isinstance(reply, Replying | Filling) or reply.turn != turn:
        return None
    was_heard = reply.started if isinstance(reply, Replying) else False
    return None if was_heard or (isinstance(phase, Overlap) and phase.held) else reply


def _planned_anew(state: State, event: TranscriptCorrected, understood: Understood, policy: TurnPolicy) -> Result:
    phase = state.phase
    reply = phase.reply if isinstance(phase, Overlap) else phase
    assert isinstance(reply, Replying | Filling)
    begin = BeginTurn(
        state.next_turn,
        event.text,
        "speech",
        speculative=False,
        utterance=event.utterance,
        stopped_ms=understood.stopped_ms,
        instead_of=reply.turn,
    )
    state, effects = answer(replace(state, understood=understood), begin, policy, event.now_ms)
    answering = state.phase
    assert isinstance(answering, Replying)
    answering = replace(answering, owed=reply.owed)
    state = replace(state, phase=replace(phase, reply=answering) if isinstance(phase, Overlap) else answering)
    return state, (AbandonTurn(reply.turn, "corrected"), *effects)
