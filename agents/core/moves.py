"""The moves several phases share: settling, transcribing, answering. Pure, driven by ``agents.core.machine``."""

from __future__ import annotations

from dataclasses import replace

from agents.core.phases import (
    Filling,
    Listening,
    Overlap,
    Phase,
    Replying,
    Settling,
    Speculating,
    State,
    Transcribing,
    Understood,
    UserSpeaking,
)
from agents.core.policy import TurnPolicy, endpoint_wait_ms, words_of
from agents.core.turn_types import (
    AbandonReason,
    AbandonTurn,
    BeginTurn,
    CommitTurn,
    Effect,
    EndUtterance,
    FlushTranscript,
    Purpose,
    ReportUnheard,
    SetTimer,
    Source,
    TakeTurn,
)

Result = tuple[State, tuple[Effect, ...]]

NO_TIMER = -1
"""A timer ordinal that never fires: the phase waits for the client alone."""


def live_turn(phase: Phase) -> int | None:
    """The turn that is being drafted or spoken, if any."""
    match phase:
        case Speculating() | Replying() | Filling():
            return phase.turn
        case Overlap():
            return phase.reply.turn
        case _:
            return None


def open_utterance(phase: Phase) -> int | None:
    """The utterance that is being recorded, if any."""
    match phase:
        case UserSpeaking() | Settling() | Speculating() | Transcribing() | Overlap():
            return phase.utterance
        case _:
            return None


def settle(state: State, utterance: int, stopped_ms: int, partial: str, policy: TurnPolicy) -> Result:
    """The user paused: ask what was said, and wait as long as the policy says while nothing is known."""
    flush = FlushTranscript(utterance, stopped_ms)
    if not policy.auto_end:
        return replace(state, phase=Settling(utterance, stopped_ms, NO_TIMER, partial)), (flush,)
    state, timer = set_timer(state, stopped_ms + endpoint_wait_ms(None, None, policy), "endpoint")
    return replace(state, phase=Settling(utterance, stopped_ms, timer.timer, partial)), (flush, timer)


def settled(state: State, phase: Settling, policy: TurnPolicy, now_ms: int) -> Result:
    """The transcript of the pause is known: answer, draft or wait, as the policy reads it."""
    text = phase.text or ""
    if not words_of(text) or not policy.auto_end:
        return replace(state, phase=phase), ()
    due_ms = phase.stopped_ms + endpoint_wait_ms(text, phase.hint, policy)
    if due_ms <= now_ms:
        return answer_speech(state, phase.utterance, text, phase.stopped_ms, policy, now_ms)
    state, timer = set_timer(state, due_ms, "endpoint")
    if not policy.speculate or not policy.auto_reply:
        return replace(state, phase=replace(phase, timer=timer.timer)), (timer,)
    turn = state.next_turn
    drafting = Speculating(phase.utterance, phase.stopped_ms, timer.timer, text, turn, phase.hint)
    begin = BeginTurn(turn, text, "speech", True, phase.utterance, phase.stopped_ms)
    return replace(state, phase=drafting, next_turn=turn + 1), (begin, timer)


def transcribe(
    state: State, utterance: int, stopped_ms: int, policy: TurnPolicy, now_ms: int, partial: str = ""
) -> Result:
    """The turn is certain before its transcript: wait for it, within its limit."""
    was_settling = isinstance(state.phase, Settling)
    state, timer = set_timer(state, now_ms + policy.transcript_limit_ms, "transcript")
    waiting = Transcribing(utterance, stopped_ms, timer.timer, partial)
    if was_settling:  # the pause was flushed when it began
        return replace(state, phase=waiting), (timer,)
    return replace(state, phase=waiting), (FlushTranscript(utterance, stopped_ms), timer)


def answer_partial(state: State, phase: Transcribing, policy: TurnPolicy, now_ms: int) -> Result:
    """The transcript never came: answer what is known, or say that nothing was understood."""
    if words_of(phase.partial):
        return answer_speech(state, phase.utterance, phase.partial, phase.stopped_ms, policy, now_ms)
    return unheard(state, phase.utterance)


def unheard(state: State, utterance: int) -> Result:
    """Recognition failed and nothing is known of what was said: say so."""
    effects = (EndUtterance(utterance, used=False), ReportUnheard(utterance, failed=True))
    return replace(state, phase=Listening()), effects


def answer_speech(state: State, utterance: int, text: str, stopped_ms: int, policy: TurnPolicy, now_ms: int) -> Result:
    """The user said ``text`` and the turn is certain: answer, or let it go if there are no words."""
    if not words_of(text):
        ended: tuple[Effect, ...] = (EndUtterance(utterance, used=False),)
        report = () if policy.auto_end else (ReportUnheard(utterance, failed=False),)
        return replace(state, phase=Listening()), (*ended, *report)
    understood = Understood(utterance, text, stopped_ms, state.next_turn if policy.auto_reply else None)
    state = replace(state, understood=understood)
    if not policy.auto_reply:
        return replace(state, phase=Listening()), (TakeTurn(utterance, text), EndUtterance(utterance, used=True))
    begin = BeginTurn(state.next_turn, text, "speech", False, utterance, stopped_ms)
    state, effects = answer(state, begin, policy, now_ms)
    return state, (*effects, EndUtterance(utterance, used=True))


def quiet(state: State, policy: TurnPolicy, now_ms: int) -> Result:
    """The reply was heard and nobody speaks: for how long, the policy says."""
    if policy.idle_ms is None:
        return replace(state, phase=Listening()), ()
    state, timer = set_timer(state, now_ms + policy.idle_ms, "idle")
    return replace(state, phase=Listening(timer.timer)), (timer,)


def answer(state: State, begin: BeginTurn, policy: TurnPolicy, now_ms: int) -> Result:
    """Give the agent the floor with a turn that is certain from the start."""
    state, timers = _await_reply(replace(state, next_turn=begin.turn + 1), begin.turn, begin.source, policy, now_ms)
    return state, (begin, *timers)


def certain(state: State, phase: Speculating, policy: TurnPolicy, now_ms: int) -> Result:
    """The turn being drafted is certain: let the draft be heard."""
    understood = Understood(phase.utterance, phase.text, phase.stopped_ms, phase.turn)
    state, timers = _await_reply(replace(state, understood=understood), phase.turn, "speech", policy, now_ms)
    return state, (CommitTurn(phase.turn), EndUtterance(phase.utterance, used=True), *timers)


def _await_reply(state: State, turn: int, source: Source, policy: TurnPolicy, now_ms: int) -> Result:
    if policy.filler_after_ms is None or source == "announcement":
        return replace(state, phase=Replying(turn, source)), ()
    state, timer = set_timer(state, now_ms + policy.filler_after_ms, "filler")
    return replace(state, phase=Replying(turn, source, filler_timer=timer.timer)), (timer,)


def set_timer(state: State, due_ms: int, purpose: Purpose) -> tuple[State, SetTimer]:
    """A new timer, and the state that has issued it."""
    timer = state.next_timer
    return replace(state, next_timer=timer + 1), SetTimer(timer, due_ms, purpose)


def clear(phase: Phase, reason: AbandonReason) -> tuple[Effect, ...]:
    """What ends whatever is under way, whoever has the floor."""
    turn, utterance = live_turn(phase), open_utterance(phase)
    abandoned = () if turn is None else (AbandonTurn(turn, reason),)
    ended = () if utterance is None else (EndUtterance(utterance, used=False),)
    return (*abandoned, *ended)
