"""The user makes a sound while the agent has the floor: interruption, or not?

Pure, driven by ``agents.core.machine``.
"""

from __future__ import annotations

from dataclasses import replace

from agents.core.moves import NO_TIMER, Result, set_timer, settle, settled
from agents.core.phases import Filling, Overlap, Replying, Settling, State, Understood, UserSpeaking
from agents.core.policy import TurnPolicy, endpoint_wait_ms, is_backchannel, words_of
from agents.core.taking_back import LASTS_MS, is_early, taken_back, whole_text
from agents.core.turn_types import (
    AbandonReason,
    AbandonTurn,
    ClauseFinished,
    EndUtterance,
    FinishClause,
    FlushTranscript,
    HoldSpeech,
    ReplyEnded,
    ReplyStarted,
    ResumeSpeech,
    SpeechStarted,
    SpeechStopped,
    TakeTurn,
    TimerFired,
    TranscriptArrived,
    TranscriptFailed,
    TurnEvent,
)


def begin_overlap(state: State, reply: Replying | Filling, event: SpeechStarted, policy: TurnPolicy) -> Result:
    """The user makes a sound: nothing is known of it, but whether the reply has hardly begun."""
    utterance, at_ms = event.utterance, event.at_ms
    if not policy.interruptible and not policy.keep_overlap:
        return state, (EndUtterance(utterance, used=False),)
    if not policy.interruptible:
        return replace(state, phase=Overlap(reply, utterance, at_ms, NO_TIMER)), ()
    early = is_early(state, reply, at_ms, policy)
    state, timer = set_timer(state, at_ms + _lasts_ms(policy, early=early), "interrupt")
    overlap = Overlap(reply, utterance, at_ms, timer.timer, early=early)
    state, held = _held_early(replace(state, phase=overlap), overlap)
    return state, (*held, timer)


def _lasts_ms(policy: TurnPolicy, *, early: bool) -> int:
    """How long a sound must last to be more than one."""
    return max(LASTS_MS, policy.interrupt_after_ms) if early else policy.interrupt_after_ms


def _held_early(state: State, phase: Overlap) -> Result:
    """Where the reply has hardly begun its voice is held at the first sound: little is lost if it was none."""
    sounds = isinstance(phase.reply, Replying) and phase.reply.started
    if not (phase.early and sounds) or phase.held or phase.stopped_ms is not None:
        return replace(state, phase=phase), ()
    return replace(state, phase=replace(phase, held=True)), (HoldSpeech(phase.reply.turn),)


def in_overlap(state: State, phase: Overlap, event: TurnEvent, policy: TurnPolicy) -> Result:
    """One event while the user and the agent overlap."""
    if not policy.interruptible:
        return _in_waiting(state, phase, event, policy)
    match event:
        case SpeechStarted(utterance=phase.utterance):
            return _overlap_goes_on(state, phase, event.at_ms, policy)
        case SpeechStopped(utterance=phase.utterance, at_ms=at_ms):
            state, timer = set_timer(state, at_ms + policy.verdict_ms, "verdict")
            paused = replace(phase, stopped_ms=at_ms, timer=timer.timer)
            return replace(state, phase=paused), (FlushTranscript(phase.utterance, at_ms), timer)
        case TimerFired():
            return _on_overlap_timer(state, phase, event, policy)
        case TranscriptArrived(utterance=phase.utterance):
            return _on_overlap_words(state, phase, event, policy)
        case TranscriptFailed(utterance=phase.utterance) if phase.stopped_ms is not None:
            return drop_sound(state, phase)
        case ClauseFinished(turn=turn) if turn == phase.reply.turn and phase.yielding is not None:
            return _clause_is_over(state, phase, policy)
        case ReplyStarted(turn=turn) if turn == phase.reply.turn:
            return _held_early(state, replace(phase, reply=started(phase.reply, event.now_ms)))
        case ReplyEnded(turn=turn) if turn == phase.reply.turn:
            return _take_words(state, phase, phase.said, policy)
        case _:
            return state, ()


def _in_waiting(state: State, phase: Overlap, event: TurnEvent, policy: TurnPolicy) -> Result:
    """The agent finishes first, whatever the user says: their turn ends as any does, and waits to be answered."""
    match event:
        case SpeechStarted(utterance=phase.utterance):
            return replace(state, phase=replace(phase, stopped_ms=None, text=None, timer=NO_TIMER)), ()
        case SpeechStopped(utterance=phase.utterance, at_ms=at_ms):
            state, timer = set_timer(state, at_ms + endpoint_wait_ms(None, None, policy, state.habit), "endpoint")
            paused = replace(phase, stopped_ms=at_ms, timer=timer.timer)
            return replace(state, phase=paused), (FlushTranscript(phase.utterance, at_ms), timer)
        case TranscriptArrived(utterance=phase.utterance, flushed=True) if phase.stopped_ms is not None:
            return _waiting_words(state, phase, event, policy)
        case TranscriptFailed(utterance=phase.utterance) if phase.stopped_ms is not None:
            return drop_sound(state, phase)
        case TimerFired(timer=phase.timer):
            if phase.text is None:  # the turn is over; its words are not there yet
                return replace(state, phase=replace(phase, timer=NO_TIMER)), ()
            return _wait_for_answer(state, phase, phase.text, policy)
        case ReplyStarted(turn=turn) if turn == phase.reply.turn:
            return replace(state, phase=replace(phase, reply=started(phase.reply, event.now_ms))), ()
        case ReplyEnded(turn=turn) if turn == phase.reply.turn:
            return _floor_is_free(state, phase, "", policy)
        case _:
            return state, ()


def _waiting_words(state: State, phase: Overlap, event: TranscriptArrived, policy: TurnPolicy) -> Result:
    assert phase.stopped_ms is not None
    due_ms = phase.stopped_ms + endpoint_wait_ms(event.text, None, policy, state.habit)
    if phase.timer == NO_TIMER or due_ms <= event.now_ms or not words_of(event.text):
        return _wait_for_answer(state, phase, event.text, policy)
    state, timer = set_timer(state, due_ms, "endpoint")
    return replace(state, phase=replace(phase, text=event.text, timer=timer.timer)), (timer,)


def _wait_for_answer(state: State, phase: Overlap, text: str, policy: TurnPolicy) -> Result:
    """What the user said is part of the conversation; the agent goes on with what it is saying."""
    if not words_of(text):
        return drop_sound(state, phase)
    assert phase.stopped_ms is not None
    reply = replace(phase.reply, owed=policy.auto_reply)
    understood = Understood(phase.utterance, text, phase.stopped_ms, None)
    taken = (TakeTurn(phase.utterance, text), EndUtterance(phase.utterance, used=True))
    return replace(state, phase=reply, understood=understood), taken


def started(reply: Replying | Filling, now_ms: int | None) -> Replying:
    """The reply, now that its first audio is out."""
    return Replying(reply.turn, reply.source, started=True, owed=reply.owed, since_ms=now_ms)


def _overlap_goes_on(state: State, phase: Overlap, at_ms: int, policy: TurnPolicy) -> Result:
    if phase.stopped_ms is None:
        return state, ()
    if phase.yielding is not None:
        return replace(state, phase=replace(phase, stopped_ms=None, timer=NO_TIMER)), ()
    if phase.held and not phase.early:
        due_ms, purpose = at_ms + policy.confirm_after_ms - policy.interrupt_after_ms, "confirm"
    else:
        due_ms, purpose = at_ms + _lasts_ms(policy, early=phase.early), "interrupt"
    state, timer = set_timer(state, due_ms, purpose)
    return replace(state, phase=replace(phase, stopped_ms=None, since_ms=at_ms, timer=timer.timer)), (timer,)


def _on_overlap_timer(state: State, phase: Overlap, event: TimerFired, policy: TurnPolicy) -> Result:
    if event.timer == phase.yielding:
        return _clause_is_over(state, phase, policy)
    if event.timer != phase.timer:
        return state, ()
    if phase.stopped_ms is not None:
        return drop_sound(state, phase)
    if phase.early:
        return take_floor(taken_back(state, phase), phase, policy, "went_on")
    unheard = isinstance(phase.reply, Replying) and not phase.reply.started
    if phase.held or unheard:
        return take_floor(state, phase, policy, "interrupted")
    if policy.finish_clause_ms:
        return _finish_clause(state, phase, event.now_ms, policy)
    return _hold(state, phase, policy)


def _hold(state: State, phase: Overlap, policy: TurnPolicy) -> Result:
    state, timer = set_timer(state, phase.since_ms + policy.confirm_after_ms, "confirm")
    held = replace(phase, held=True, timer=timer.timer)
    return replace(state, phase=held), (HoldSpeech(phase.reply.turn), timer)


def _finish_clause(state: State, phase: Overlap, now_ms: int, policy: TurnPolicy) -> Result:
    """The agent will stop, but not in the middle of what it is saying."""
    if phase.yielding is not None:
        return replace(state, phase=phase), ()
    state, timer = set_timer(state, now_ms + policy.finish_clause_ms, "clause")
    return replace(state, phase=replace(phase, yielding=timer.timer)), (FinishClause(phase.reply.turn), timer)


def _clause_is_over(state: State, phase: Overlap, policy: TurnPolicy) -> Result:
    """What the agent was saying is said, or took too long: what the user said meanwhile counts now."""
    phase = replace(phase, yielding=None)
    if phase.said is not None:
        state, effects = _take_words(state, phase, phase.said, policy)
        return state, (AbandonTurn(phase.reply.turn, "interrupted"), *effects)
    if phase.stopped_ms is None:
        return _hold(state, phase, policy)
    return replace(state, phase=replace(phase, held=True)), (HoldSpeech(phase.reply.turn),)  # the verdict is to come


def _on_overlap_words(state: State, phase: Overlap, event: TranscriptArrived, policy: TurnPolicy) -> Result:
    means_something = _means_something(phase, event, policy)
    judged = _is_whole(phase, event)
    if judged and not means_something:
        return drop_sound(state, phase)
    if not judged and (not means_something or len(words_of(event.text)) < 2):
        return state, ()
    if policy.finish_clause_ms and not phase.held and isinstance(phase.reply, Replying) and phase.reply.started:
        return _finish_clause(state, replace(phase, said=event, timer=NO_TIMER), event.now_ms, policy)
    dropped = AbandonTurn(phase.reply.turn, "went_on" if phase.early else "interrupted")
    if phase.early:
        state = taken_back(state, phase)
        event = replace(event, text=whole_text(state, event.utterance, event.text))
    state, effects = _take_words(state, phase, event, policy)
    return state, (dropped, *effects)


def _take_words(state: State, phase: Overlap, said: TranscriptArrived | None, policy: TurnPolicy) -> Result:
    """The reply is over, and the user has the floor with what they have said so far."""
    state, effects = _floor_is_free(state, phase, "" if said is None else said.text, policy)
    if said is not None and _is_whole(phase, said) and isinstance(state.phase, Settling):
        return settled(state, replace(state.phase, text=said.text), policy, said.now_ms)
    return state, effects


def _is_whole(phase: Overlap, said: TranscriptArrived) -> bool:
    """Whether that is all the user said, now that they are silent."""
    return said.flushed and phase.stopped_ms is not None and said.through_ms >= phase.stopped_ms


def _means_something(phase: Overlap, event: TranscriptArrived, policy: TurnPolicy) -> bool:
    if not policy.auto_end:  # who presses a button to speak means it, be it only "yes"
        return bool(words_of(event.text))
    return not is_backchannel(event.text, policy.rules) and not _is_a_guess(phase, event, policy)


def _is_a_guess(phase: Overlap, event: TranscriptArrived, policy: TurnPolicy) -> bool:
    """Whether the words were probably made up: recognisers write some for any hum ("mhm" becomes "And I...")."""
    if event.confidence is None or not set(words_of(event.text)).isdisjoint(policy.rules.interrupters):
        return False
    until_ms = event.now_ms if phase.stopped_ms is None else phase.stopped_ms
    return event.confidence < policy.sure_confidence and until_ms - phase.since_ms < policy.confirm_after_ms


def drop_sound(state: State, phase: Overlap) -> Result:
    """The sound was no interruption: the reply goes on."""
    ended = EndUtterance(phase.utterance, used=False)
    if not phase.held and phase.yielding is None:
        return replace(state, phase=phase.reply), (ended,)
    return replace(state, phase=phase.reply), (ended, ResumeSpeech(phase.reply.turn))


def take_floor(state: State, phase: Overlap, policy: TurnPolicy, reason: AbandonReason) -> Result:
    """The reply ends for ``reason`` and the user has the floor."""
    state, effects = _floor_is_free(state, phase, whole_text(state, phase.utterance, ""), policy)
    return state, (AbandonTurn(phase.reply.turn, reason), *effects)


def _floor_is_free(state: State, phase: Overlap, text: str, policy: TurnPolicy) -> Result:
    """The reply is over while the user makes a sound: from here it is an ordinary user turn."""
    if phase.stopped_ms is None:
        return replace(state, phase=UserSpeaking(phase.utterance, text)), ()
    return settle(state, phase.utterance, phase.stopped_ms, text, policy)
