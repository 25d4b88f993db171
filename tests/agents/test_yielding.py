"""The turn machine where the agent finishes its clause before it yields, and where what is heard is its own echo."""

from __future__ import annotations

from dataclasses import replace

from turn_dialogue import POLICY, Dialogue

from agents.core.phases import Listening, Settling, Speculating, UserSpeaking
from agents.core.turn_types import (
    AbandonTurn,
    ClauseFinished,
    EchoHeard,
    EndUtterance,
    FinishClause,
    HoldSpeech,
    ReplyEnded,
    ResumeSpeech,
    SpeechStarted,
    SpeechStopped,
    TranscriptArrived,
)

POLITE = replace(POLICY, finish_clause_ms=1_000)


def test_a_polite_agent_finishes_its_clause_before_it_holds() -> None:
    talk = Dialogue(POLITE).replying()
    talk.on(SpeechStarted(2, 5_000))
    assert talk.fire("interrupt") == [FinishClause(1)]
    assert talk.on(ClauseFinished(1)) == [HoldSpeech(1)]
    assert talk.fire("confirm") == [AbandonTurn(1, "interrupted")]
    assert talk.state.phase == UserSpeaking(2)


def test_a_clause_that_is_too_long_is_not_finished() -> None:
    talk = Dialogue(POLITE).replying()
    talk.on(SpeechStarted(2, 5_000))
    talk.fire("interrupt")
    assert talk.timers["clause"].due_ms == talk.timers["interrupt"].due_ms + 1_000
    assert talk.fire("clause") == [HoldSpeech(1)]


def test_what_was_said_over_the_clause_is_answered_when_it_is_finished() -> None:
    talk = Dialogue(POLITE).replying()
    talk.on(SpeechStarted(2, 5_000))
    talk.fire("interrupt")
    talk.on(SpeechStopped(2, 5_600))
    assert talk.on(TranscriptArrived(2, "What about tomorrow?", True, 5_600, 5_700)) == []
    assert talk.fire("verdict") == []
    assert talk.on(ClauseFinished(1))[0] == AbandonTurn(1, "interrupted")
    assert isinstance(talk.state.phase, Speculating | Settling)
    assert talk.state.phase.text == "What about tomorrow?"


def test_words_alone_make_a_polite_agent_yield() -> None:
    talk = Dialogue(POLITE).replying()
    talk.on(SpeechStarted(2, 5_000))
    assert talk.on(TranscriptArrived(2, "No, wait", False, 5_100, 5_150)) == [FinishClause(1)]
    assert talk.on(TranscriptArrived(2, "No, wait a moment", False, 5_300, 5_350)) == []
    assert talk.fire("clause") == [AbandonTurn(1, "interrupted")]
    assert talk.state.phase == UserSpeaking(2, "No, wait a moment")


def test_a_cough_during_the_clause_lets_the_reply_go_on() -> None:
    talk = Dialogue(POLITE).replying()
    talk.on(SpeechStarted(2, 5_000))
    talk.fire("interrupt")
    talk.on(SpeechStopped(2, 5_300))
    assert talk.fire("verdict") == [EndUtterance(2, used=False), ResumeSpeech(1)]
    assert talk.on(ClauseFinished(1)) == []
    assert talk.fire("clause") == []


def test_a_reply_that_ends_with_its_clause_leaves_the_floor_with_what_was_said() -> None:
    talk = Dialogue(POLITE).replying()
    talk.on(SpeechStarted(2, 5_000))
    talk.on(TranscriptArrived(2, "No, wait", False, 5_100, 5_150))
    assert talk.on(ReplyEnded(1, 6_000)) == []
    assert talk.state.phase == UserSpeaking(2, "No, wait")


def test_an_echo_over_a_reply_lets_it_go_on() -> None:
    talk = Dialogue().replying()
    talk.on(SpeechStarted(2, 5_000))
    talk.fire("interrupt")
    assert talk.on(EchoHeard(2)) == [EndUtterance(2, used=False), ResumeSpeech(1)]
    assert talk.fire("confirm") == []


def test_an_echo_that_outlives_the_reply_is_no_turn() -> None:
    talk = Dialogue().replying()
    talk.on(SpeechStarted(2, 5_000))
    talk.on(ReplyEnded(1))
    talk.on(SpeechStopped(2, 5_900))
    talk.on(TranscriptArrived(2, "in the afternoon.", True, 5_900, 5_950))
    assert AbandonTurn(2, "cancelled") in talk.on(EchoHeard(2))
    assert talk.state.phase == Listening()
    assert talk.on(EchoHeard(7)) == []


def test_its_own_echo_is_too_short_to_take_a_turn_back() -> None:
    talk = Dialogue().replying()
    assert talk.on(SpeechStarted(2, 1_500)) == [HoldSpeech(1)], "it has hardly begun: the voice is held at once"
    assert talk.timers["interrupt"].due_ms == 1_950, "an echo has ended by then"
    talk.on(SpeechStopped(2, 1_800))
    assert ResumeSpeech(1) in talk.on(EchoHeard(2))
