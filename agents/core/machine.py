"""The turn machine: who has the floor, decided by a pure function.

``step(state, event, policy) -> (state, effects)``. No clock, no I/O, no concurrency: time arrives inside events, in
milliseconds of the session's audio, and whatever must happen is returned as effects for the session to carry out.

=============  ==========================================================================================
phase          leaves on
=============  ==========================================================================================
Listening      speech starts -> UserSpeaking; commit -> Transcribing; prompt, request, long silence -> Replying
UserSpeaking   speech pauses -> Settling; commit -> Transcribing
Settling       speech goes on -> UserSpeaking; transcript and the time for a draft -> Speculating (Replying, where
               nothing is drafted); endpoint timer -> Replying, Transcribing (no transcript yet) or Listening
               (nothing said)
Speculating    speech goes on -> UserSpeaking (draft dropped); endpoint timer with the draft ready, its limit without,
               or commit -> Replying
Transcribing   transcript or its time limit -> Speculating, Replying, or Listening if there are no words
Replying       first output -> started; late -> Filling; speech -> Overlap; over -> Listening
Filling        as Replying, once, until the answer starts
Overlap        enough speech -> held; more speech or real words -> UserSpeaking, Settling or Speculating;
               the same, while the reply has hardly begun -> the turn is taken back (``agents.core.taking_back``);
               a cough, "mhm" or our own echo -> back to the reply, resumed if it was held; the reply over ->
               UserSpeaking, Settling
Closed         nothing
=============  ==========================================================================================

A transcript that is corrected when its utterance is over changes the conversation's memory, and the turn where nothing
was heard of it: ``agents.core.correcting``.

Kept true by property tests: at most one live turn; every ``BeginTurn`` is followed by exactly one ``AbandonTurn`` or
``ReplyEnded``; only a live speculative turn is committed, once; stale timers change nothing; nothing after close.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from agents.core.correcting import corrected
from agents.core.drafting import in_speculating
from agents.core.moves import (
    Result,
    answer,
    answer_partial,
    answer_speech,
    certain,
    clear,
    is_reached,
    learn_pause,
    learn_reach,
    live_turn,
    open_utterance,
    quiet,
    settle,
    settled,
    transcribe,
    transcript_late,
    undrafted,
    unread,
    unrecognised,
    waited,
)
from agents.core.overlap import begin_overlap, drop_sound, in_overlap, started, take_floor
from agents.core.phases import (
    Closed,
    Filling,
    Listening,
    Overlap,
    Phase,
    Replying,
    Settling,
    Speculating,
    State,
    Transcribing,
    UserSpeaking,
)
from agents.core.policy import TurnPolicy, words_of
from agents.core.taking_back import whole
from agents.core.turn_types import (
    AbandonTurn,
    BeginTurn,
    CancelRequested,
    CloseRequested,
    CommitRequested,
    EchoHeard,
    Effect,
    EndUtterance,
    HintArrived,
    InputCleared,
    PromptReceived,
    ReplyBound,
    ReplyEnded,
    ReplyRequested,
    ReplyStarted,
    ReportUnheard,
    SpeakFiller,
    SpeechStarted,
    SpeechStopped,
    TimerFired,
    TranscriptArrived,
    TranscriptCorrected,
    TranscriptFailed,
    TurnEvent,
)


def step(state: State, event: TurnEvent, policy: TurnPolicy) -> Result:
    """What ``event`` does to ``state``. Total: an event that means nothing here returns the state unchanged."""
    phase = state.phase
    if isinstance(phase, Closed):
        return state, ()
    state, event = learn_reach(learn_pause(state, event), event), whole(state, event)
    if (
        isinstance(event, PromptReceived | CancelRequested)
        and isinstance(phase, Speculating)
        and phase.over_ms is not None
    ):
        state, first = certain(state, phase, policy, phase.over_ms)  # nobody goes on now: what was said is said
        state, then = step(state, event, policy)
        return state, (*first, *then)
    match event:
        case CloseRequested():
            return replace(state, phase=Closed()), clear(phase, "closed")
        case PromptReceived() | CancelRequested():
            return _on_client(state, event, policy)
        case CommitRequested():
            return _on_commit(state, event, policy)
        case InputCleared():
            return _on_cleared(state, event)
        case EchoHeard(utterance=utterance):
            return _on_cleared(state, InputCleared(utterance))
        case TranscriptCorrected():
            return corrected(state, event, policy)
        case ReplyBound(turn=turn):
            return (replace(state, bound=turn) if turn == live_turn(phase) else state), ()
        case _:
            return _by_phase(state, phase, event, policy)


def _by_phase(state: State, phase: Phase, event: TurnEvent, policy: TurnPolicy) -> Result:
    match phase:
        case Listening():
            return _in_listening(state, phase, event, policy)
        case UserSpeaking():
            return _in_user_speaking(state, phase, event, policy)
        case Settling():
            return _in_settling(state, phase, event, policy)
        case Speculating():
            return in_speculating(state, phase, event, policy)
        case Transcribing():
            return _in_transcribing(state, phase, event, policy)
        case Replying() | Filling():
            return _in_reply(state, phase, event, policy)
        case Overlap():
            return in_overlap(state, phase, event, policy)
        case Closed():
            return state, ()
    assert_never(phase)


# --- events that mean the same everywhere ----------------------------------------------------------------------------


def _on_client(state: State, event: PromptReceived | CancelRequested, policy: TurnPolicy) -> Result:
    """The client stops the agent, or types. Nobody goes on then: a turn that waits for its draft only is a turn."""
    said: tuple[Effect, ...] = ()
    if isinstance(state.phase, Speculating) and state.phase.over_ms is not None:
        state, said = certain(state, state.phase, policy, state.phase.over_ms)
    state, effects = (
        _on_cancel(state, policy) if isinstance(event, CancelRequested) else _on_prompt(state, event, policy)
    )
    return state, (*said, *effects)


def _on_prompt(state: State, event: PromptReceived, policy: TurnPolicy) -> Result:
    if event.source == "announcement" and not isinstance(state.phase, Listening):
        return state, ()  # an announcement never takes the floor from anybody
    cleared = clear(state.phase, "superseded")
    begin = BeginTurn(state.next_turn, event.text, event.source, speculative=False)
    state, effects = answer(state, begin, policy, event.now_ms)
    return state, (*cleared, *effects)


def _on_cancel(state: State, policy: TurnPolicy) -> Result:
    match state.phase:
        case Replying(turn=turn) | Filling(turn=turn):
            return replace(state, phase=Listening()), (AbandonTurn(turn, "cancelled"),)
        case Overlap() as phase:
            return take_floor(state, phase, policy, "cancelled")
        case _:
            return state, ()


def _on_cleared(state: State, event: InputCleared) -> Result:
    phase = state.phase
    if open_utterance(phase) != event.utterance:
        return state, ()
    ended: tuple[Effect, ...] = () if event.kept else (EndUtterance(event.utterance, used=False),)
    match phase:
        case Overlap():
            state, effects = drop_sound(state, phase)
            return state, tuple(effect for effect in effects if not (event.kept and isinstance(effect, EndUtterance)))
        case Speculating(turn=turn):
            return replace(state, phase=Listening()), (AbandonTurn(turn, "cancelled"), *ended)
        case _:
            return replace(state, phase=Listening()), ended


def _on_commit(state: State, event: CommitRequested, policy: TurnPolicy) -> Result:
    phase = state.phase
    match phase:
        case Speculating():
            return certain(state, phase, policy, event.now_ms)
        case Settling(text=str(text)):
            return answer_speech(state, phase.utterance, text, event.now_ms, policy, event.now_ms)
        case Transcribing():
            return state, ()
        case _:
            pass
    recording = open_utterance(phase)
    utterance = event.utterance if recording is None else recording
    if utterance is None:
        return state, (ReportUnheard(None, failed=False),)
    turn = live_turn(phase)
    dropped: tuple[Effect, ...] = () if turn is None else (AbandonTurn(turn, "interrupted"),)
    # Whoever holds the button after the last word is not waiting yet: time counts from the commit.
    state, effects = transcribe(state, utterance, event.now_ms, policy, event.now_ms)
    return state, (*dropped, *effects)


# --- one function per phase ------------------------------------------------------------------------------------------


def _in_listening(state: State, phase: Listening, event: TurnEvent, policy: TurnPolicy) -> Result:
    match event:
        case SpeechStarted():
            return replace(state, phase=UserSpeaking(event.utterance)), ()
        case ReplyRequested():
            return answer(state, BeginTurn(state.next_turn, "", "request", False), policy, event.now_ms)
        case TimerFired() if event.timer == phase.idle_timer:
            return answer(state, BeginTurn(state.next_turn, "", "idle", False), policy, event.now_ms)
        case _:
            return state, ()


def _in_user_speaking(state: State, phase: UserSpeaking, event: TurnEvent, policy: TurnPolicy) -> Result:
    match event:
        case SpeechStopped(utterance=phase.utterance, at_ms=at_ms):
            return settle(state, phase.utterance, at_ms, phase.text, policy)
        case TranscriptArrived(utterance=phase.utterance, text=text):
            return replace(state, phase=replace(phase, text=text)), ()
        case _:
            return state, ()


def _in_settling(state: State, phase: Settling, event: TurnEvent, policy: TurnPolicy) -> Result:
    match event:
        case SpeechStarted(utterance=phase.utterance):
            return replace(state, phase=UserSpeaking(phase.utterance, phase.text or phase.partial)), ()
        case TranscriptArrived(utterance=phase.utterance):
            if not event.flushed or event.through_ms < phase.stopped_ms:
                return replace(state, phase=replace(phase, partial=event.text)), ()
            return settled(state, replace(phase, text=event.text), policy, event.now_ms)
        case TranscriptFailed(utterance=phase.utterance):
            if not words_of(phase.partial):
                return unrecognised(state, phase, policy)
            return settled(state, replace(phase, text=phase.partial), policy, phase.stopped_ms)
        case HintArrived(utterance=phase.utterance, stopped_ms=phase.stopped_ms):
            phase = replace(phase, hint=event.probability)
            if phase.text is None:
                return unread(state, phase, policy, event.now_ms)
            return settled(state, phase, policy, event.now_ms)
        case TimerFired(timer=phase.timer):
            return waited(state, phase, policy, event.now_ms)
        case _:
            return state, ()


def _in_transcribing(state: State, phase: Transcribing, event: TurnEvent, policy: TurnPolicy) -> Result:
    match event:
        case SpeechStarted(utterance=phase.utterance) if policy.auto_end:
            return replace(state, phase=UserSpeaking(phase.utterance, phase.partial)), ()
        case TranscriptArrived(utterance=phase.utterance, flushed=False):
            phase = replace(phase, partial=event.text)
            if phase.late and is_reached(state, phase) and words_of(phase.partial):
                return answer_partial(state, phase, policy, event.now_ms)
            return replace(state, phase=phase), ()
        case TranscriptArrived(utterance=phase.utterance):
            return undrafted(state, replace(phase, partial=event.text), policy, event.now_ms)
        case TranscriptFailed(utterance=phase.utterance):
            return answer_partial(state, phase, policy, phase.stopped_ms)
        case TimerFired(timer=phase.timer):
            return transcript_late(state, phase, policy, event.now_ms)
        case _:
            return state, ()


def _in_reply(state: State, phase: Replying | Filling, event: TurnEvent, policy: TurnPolicy) -> Result:
    match event:
        case ReplyStarted(turn=phase.turn):
            return replace(state, phase=started(phase, event.now_ms)), ()
        case ReplyEnded(turn=phase.turn) if phase.owed:
            return answer(state, BeginTurn(state.next_turn, "", "request", False), policy, event.now_ms)
        case ReplyEnded(turn=phase.turn):
            return quiet(state, policy, event.now_ms)
        case TimerFired() if isinstance(phase, Replying) and event.timer == phase.filler_timer and not phase.started:
            filling = Filling(phase.turn, phase.source, phase.owed)
            return replace(state, phase=filling), (SpeakFiller(phase.turn),)
        case SpeechStarted():
            return begin_overlap(state, phase, event, policy)
        case _:
            return state, ()
