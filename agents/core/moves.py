"""The moves several phases share: settling, transcribing, answering. Pure, driven by ``agents.core.machine``."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

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
    AwaitReply,
    BeginTurn,
    CommitTurn,
    Effect,
    EndUtterance,
    FlushTranscript,
    Purpose,
    ReportUnheard,
    SetTimer,
    Source,
    SpeechStarted,
    SpeechStopped,
    TakeTurn,
    TranscriptArrived,
    TurnEvent,
)

Result = tuple[State, tuple[Effect, ...]]

_UNREACHED_MS: Final = 400
"""What partial words may leave out at the end and be answered all the same: recognition runs a little behind."""

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
    state, timer = set_timer(state, stopped_ms + endpoint_wait_ms(None, None, policy, state.habit), "endpoint")
    return replace(state, phase=Settling(utterance, stopped_ms, timer.timer, partial)), (flush, timer)


def learn_pause(state: State, event: TurnEvent) -> State:
    """What an edge of speech says of the speaker's pauses."""
    match event:
        case SpeechStopped(at_ms=at_ms):
            return replace(state, habit=state.habit.stopped(at_ms))
        case SpeechStarted(at_ms=at_ms):
            return replace(state, habit=state.habit.resumed(at_ms))
        case _:
            return state


def settled(state: State, phase: Settling, policy: TurnPolicy, now_ms: int) -> Result:
    """The transcript of the pause is known: answer, draft or wait, as the policy reads it."""
    text = phase.text or ""
    if not words_of(text) or not policy.auto_end:
        return replace(state, phase=phase), ()
    due_ms = phase.stopped_ms + endpoint_wait_ms(text, phase.hint, policy, state.habit)
    if due_ms <= now_ms:
        return undrafted(state, phase, policy, now_ms)
    drafts = policy.speculate and policy.auto_reply
    drafts_ms = due_ms - policy.draft_lead_ms
    if not drafts or drafts_ms > now_ms:
        state, timer = set_timer(state, drafts_ms if drafts else due_ms, "endpoint")
        return replace(state, phase=replace(phase, timer=timer.timer)), (timer,)
    state, timer = set_timer(state, due_ms, "endpoint")
    turn = state.next_turn
    drafting = Speculating(phase.utterance, phase.stopped_ms, timer.timer, text, turn, phase.hint)
    begin = BeginTurn(turn, text, "speech", True, phase.utterance, phase.stopped_ms)
    return replace(state, phase=drafting, next_turn=turn + 1), (begin, timer)


def waited(state: State, phase: Settling, policy: TurnPolicy, now_ms: int) -> Result:
    """The endpoint timer has fired: the turn is over, with or without its words, or it is time for its draft."""
    if phase.failed:
        return unheard(state, phase.utterance)
    if phase.text is None:
        return transcribe(state, phase.utterance, phase.stopped_ms, policy, now_ms, phase.partial)
    due_ms = phase.stopped_ms + endpoint_wait_ms(phase.text, phase.hint, policy, state.habit)
    if words_of(phase.text) and due_ms > now_ms:
        return settled(state, phase, policy, now_ms)
    return answer_speech(state, phase.utterance, phase.text, phase.stopped_ms, policy, now_ms)


def unread(state: State, phase: Settling, policy: TurnPolicy, now_ms: int) -> Result:
    """The voice sounds unfinished, or not, before the words are known: it may only make the wait longer."""
    due_ms = phase.stopped_ms + endpoint_wait_ms(None, phase.hint, policy, state.habit)
    if not policy.auto_end or due_ms <= now_ms:
        return replace(state, phase=phase), ()
    state, timer = set_timer(state, due_ms, "endpoint")
    return replace(state, phase=replace(phase, timer=timer.timer)), (timer,)


def over(state: State, phase: Speculating, policy: TurnPolicy, now_ms: int) -> Result:
    """Silence says that the turn is over. It is committed once there is something to be heard of the reply: until then
    nothing has happened that anybody could notice, and who goes on is still in the same turn.

    The longest silence of any turn (``max_wait_ms``) ends that, and so does the time for a filler.
    """
    since_ms = now_ms if phase.over_ms is None else phase.over_ms
    latest_ms = phase.stopped_ms + policy.max_wait_ms
    if policy.filler_after_ms is not None:
        latest_ms = min(latest_ms, since_ms + policy.filler_after_ms)
    if policy.filler_by_ms is not None:
        latest_ms = min(latest_ms, max(now_ms, phase.stopped_ms + policy.filler_by_ms))
    phase = replace(phase, over_ms=since_ms)
    if phase.ready or latest_ms <= now_ms:
        return certain(state, phase, policy, now_ms)
    state, timer = set_timer(state, latest_ms, "endpoint")
    return replace(state, phase=replace(phase, timer=timer.timer)), (AwaitReply(phase.turn), timer)


def undrafted(state: State, phase: Settling | Transcribing, policy: TurnPolicy, now_ms: int) -> Result:
    """The turn was over when its words came: the reply begins as a draft all the same, where drafts are made."""
    text = (phase.text if isinstance(phase, Settling) else phase.partial) or ""
    by_hand = not policy.auto_end or (isinstance(phase, Transcribing) and phase.by_hand)
    if by_hand or not (policy.speculate and policy.auto_reply and words_of(text)):
        return answer_speech(state, phase.utterance, text, phase.stopped_ms, policy, now_ms)
    turn, hint = state.next_turn, phase.hint if isinstance(phase, Settling) else None
    drafting = Speculating(phase.utterance, phase.stopped_ms, NO_TIMER, text, turn, hint)
    begin = BeginTurn(turn, text, "speech", True, phase.utterance, phase.stopped_ms)
    state, effects = over(replace(state, next_turn=turn + 1), drafting, policy, now_ms)
    return state, (begin, *effects)


def transcribe(
    state: State, utterance: int, stopped_ms: int, policy: TurnPolicy, now_ms: int, partial: str | None = None
) -> Result:
    """The turn is over before its transcript: wait for it, within its limit. Without a ``partial`` the client ended
    it."""
    was_settling = isinstance(state.phase, Settling)
    limit_ms = policy.transcript_limit_ms
    if policy.transcript_by_ms is not None:
        limit_ms = min(limit_ms, max(0, stopped_ms + policy.transcript_by_ms - now_ms))
    first_ms = limit_ms if policy.partial_after_ms is None else min(limit_ms, policy.partial_after_ms)
    state, timer = set_timer(state, now_ms + first_ms, "transcript")
    waiting = Transcribing(
        utterance, stopped_ms, timer.timer, partial or "", limit_ms - first_ms, by_hand=partial is None
    )
    if was_settling:  # the pause was flushed when it began
        return replace(state, phase=waiting), (timer,)
    return replace(state, phase=waiting), (FlushTranscript(utterance, stopped_ms), timer)


def learn_reach(state: State, event: TurnEvent) -> State:
    """Where the speech of the open utterance ends, and how far its words go that are known."""
    utterance = open_utterance(state.phase)
    match event:
        case SpeechStarted():
            return replace(state, spoken_ms=0, reach_ms=state.reach_ms if event.utterance == utterance else 0)
        case SpeechStopped() if event.utterance == utterance:
            return replace(state, spoken_ms=event.at_ms)
        case TranscriptArrived() if event.utterance == utterance:
            return replace(state, reach_ms=event.through_ms)
        case _:
            return state


def is_reached(state: State, phase: Transcribing) -> bool:
    """Whether the words so far go about as far as the speech: a first word is no answer to a sentence."""
    end_ms = min(phase.stopped_ms, state.spoken_ms) if state.spoken_ms else phase.stopped_ms
    return state.reach_ms >= end_ms - _UNREACHED_MS


def transcript_late(state: State, phase: Transcribing, policy: TurnPolicy, now_ms: int) -> Result:
    """A limit has passed: answer the words there are, or wait for some as long as that may take."""
    if (words_of(phase.partial) and is_reached(state, phase)) or not phase.rest_ms:
        return answer_partial(state, phase, policy, now_ms)
    state, timer = set_timer(state, now_ms + phase.rest_ms, "transcript")
    return replace(state, phase=replace(phase, timer=timer.timer, rest_ms=0, late=True)), (timer,)


def answer_partial(state: State, phase: Transcribing, policy: TurnPolicy, now_ms: int) -> Result:
    """The transcript never came: answer what is known, or say that nothing was understood."""
    if words_of(phase.partial):
        answered = answer_speech(state, phase.utterance, phase.partial, phase.stopped_ms, policy, now_ms)
        effects = (replace(each, late=True) if isinstance(each, BeginTurn) else each for each in answered[1])
        return answered[0], tuple(effects)
    return unheard(state, phase.utterance)


def unrecognised(state: State, phase: Settling, policy: TurnPolicy) -> Result:
    """Recognition failed at a pause and nothing is known of what was said: say so, but only once the turn is over,
    since who goes on is heard again."""
    if not policy.auto_end:
        return unheard(state, phase.utterance)
    return replace(state, phase=replace(phase, failed=True)), ()


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
    state = replace(state, next_turn=begin.turn + 1)
    state, timers = _await_reply(state, begin.turn, begin.source, begin.stopped_ms, policy, now_ms)
    return state, (begin, *timers)


def certain(state: State, phase: Speculating, policy: TurnPolicy, now_ms: int) -> Result:
    """The turn being drafted is certain: let the draft be heard."""
    understood = Understood(phase.utterance, phase.text, phase.stopped_ms, phase.turn)
    since_ms = now_ms if phase.over_ms is None else phase.over_ms
    state = replace(state, understood=understood)
    state, timers = _await_reply(state, phase.turn, "speech", phase.stopped_ms, policy, since_ms)
    return state, (CommitTurn(phase.turn), EndUtterance(phase.utterance, used=True), *timers)


def _await_reply(
    state: State, turn: int, source: Source, stopped_ms: int | None, policy: TurnPolicy, now_ms: int
) -> Result:
    limits = [now_ms + policy.filler_after_ms] if policy.filler_after_ms is not None else []
    if policy.filler_by_ms is not None:
        limits.append(max(now_ms, (now_ms if stopped_ms is None else stopped_ms) + policy.filler_by_ms))
    if not limits or source == "announcement":
        return replace(state, phase=Replying(turn, source)), ()
    state, timer = set_timer(state, min(limits), "filler")
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
