"""Who goes on: in the same turn before anything of the reply was heard, taking it back when it has hardly begun."""

from __future__ import annotations

from dataclasses import replace

import pytest
from turn_dialogue import POLICY, Dialogue

from agents.core.phases import UserSpeaking
from agents.core.turn_types import (
    AbandonTurn,
    AwaitReply,
    BeginTurn,
    CancelRequested,
    CommitRequested,
    CommitTurn,
    Effect,
    EndUtterance,
    FlushTranscript,
    HintArrived,
    HoldSpeech,
    PromptReceived,
    ReplyBound,
    ReplyEnded,
    ReplyReady,
    ReplyStarted,
    ResumeSpeech,
    SpeechStarted,
    SpeechStopped,
    TranscriptArrived,
    TurnEvent,
)


def test_a_user_who_goes_on_before_the_reply_is_heard_is_still_in_the_same_turn() -> None:
    talk = Dialogue()
    talk.says("What time is it?")
    assert talk.fire("endpoint") == [AwaitReply(1)]
    assert talk.on(SpeechStarted(1, 1_500)) == [AbandonTurn(1, "went_on")]
    assert talk.on(ReplyReady(1, 1_520)) == []
    assert talk.state.phase == UserSpeaking(1, "What time is it?")


def test_a_reply_that_is_late_is_waited_for_no_longer_than_the_longest_silence() -> None:
    talk = Dialogue()
    talk.says("What time is it?")
    talk.fire("endpoint")
    assert talk.timers["endpoint"].due_ms == 1_000 + POLICY.max_wait_ms
    assert talk.fire("endpoint") == [CommitTurn(1), EndUtterance(1, used=True)]


def test_a_voice_that_sounds_unfinished_gives_a_turn_that_waits_for_its_reply_more_time() -> None:
    talk = Dialogue()
    talk.says("What time is it?")
    talk.fire("endpoint")
    assert talk.on(HintArrived(1, 1_000, 0.1, 1_400)) == []
    assert talk.timers["endpoint"].due_ms == 1_675
    assert talk.on(ReplyReady(1, 1_450)) == []
    assert talk.fire("endpoint") == [CommitTurn(1), EndUtterance(1, used=True)]


def test_a_draft_that_fails_when_the_turn_is_over_is_answered_anew_and_certainly() -> None:
    talk = Dialogue()
    talk.says("What time is it?")
    talk.fire("endpoint")
    again = talk.on(ReplyEnded(1, 1_450))
    assert again == [BeginTurn(2, "What time is it?", "speech", False, 1, 1_000), EndUtterance(1, used=True)]


@pytest.mark.parametrize(
    ("event", "then"),
    [
        (CancelRequested(), [AbandonTurn(1, "cancelled")]),
        (
            PromptReceived("Never mind.", 1_500),
            [AbandonTurn(1, "superseded"), BeginTurn(2, "Never mind.", "text", speculative=False)],
        ),
    ],
)
def test_what_was_said_is_said_when_the_client_acts_while_the_reply_is_waited_for(
    event: TurnEvent, then: list[Effect]
) -> None:
    talk = Dialogue()
    talk.says("What time is it?")
    talk.fire("endpoint")
    assert talk.on(event) == [CommitTurn(1), EndUtterance(1, used=True), *then]


def test_who_commits_by_hand_goes_on_with_nothing() -> None:
    talk = Dialogue()
    talk.on(SpeechStarted(1, 100))
    assert talk.on(CommitRequested(1, 900)) == [FlushTranscript(1, 900)]
    answered = talk.on(TranscriptArrived(1, "Hello there.", True, 900, 1_000))
    assert answered == [BeginTurn(1, "Hello there.", "speech", False, 1, 900), EndUtterance(1, used=True)]
    waiting = Dialogue()
    waiting.says("What time is it?")
    waiting.fire("endpoint")
    assert waiting.on(CommitRequested(1, 1_400)) == [CommitTurn(1), EndUtterance(1, used=True)]


def test_who_goes_on_when_the_reply_has_hardly_begun_takes_the_turn_back() -> None:
    talk = Dialogue().replying()
    assert talk.on(SpeechStarted(2, 1_550)) == [HoldSpeech(1)]
    assert talk.fire("interrupt") == [AbandonTurn(1, "went_on")]
    assert talk.state.phase == UserSpeaking(2, "What time is it?")
    talk.on(SpeechStopped(2, 2_500))
    again = talk.on(TranscriptArrived(2, "in Rome?", True, 2_500, 2_600))
    assert again == [BeginTurn(2, "What time is it? in Rome?", "speech", True, 2, 2_500)]


def test_a_turn_is_taken_back_by_words_and_with_all_that_was_said() -> None:
    talk = Dialogue().replying()
    talk.on(SpeechStarted(2, 1_550))
    talk.on(SpeechStopped(2, 1_700))
    effects = talk.on(TranscriptArrived(2, "In Rome?", True, 1_700, 1_800))
    whole = BeginTurn(2, "What time is it? In Rome?", "speech", True, 2, 1_700)
    assert effects == [AbandonTurn(1, "went_on"), whole]


def test_a_sound_when_the_reply_has_hardly_begun_costs_a_moment() -> None:
    talk = Dialogue().replying()
    assert talk.on(SpeechStarted(2, 1_550)) == [HoldSpeech(1)]
    talk.on(SpeechStopped(2, 1_650))
    verdict = talk.on(TranscriptArrived(2, "", True, 1_700, 1_750))
    assert verdict == [EndUtterance(2, used=False), ResumeSpeech(1)]


def test_a_turn_that_was_taken_back_is_answered_even_if_nothing_more_was_said() -> None:
    talk = Dialogue().replying()
    talk.on(SpeechStarted(2, 1_550))
    talk.fire("interrupt")
    talk.on(SpeechStopped(2, 2_000))
    again = talk.on(TranscriptArrived(2, "", True, 2_000, 2_100))
    assert again == [BeginTurn(2, "What time is it?", "speech", True, 2, 2_000)]


def test_a_reply_that_began_under_the_users_voice_is_taken_back_too() -> None:
    talk = Dialogue(replace(POLICY, speculate=False))
    talk.says("What time is it?")
    talk.fire("endpoint")
    assert talk.on(SpeechStarted(2, 1_700)) == []
    assert talk.on(ReplyStarted(1, 1_800)) == [HoldSpeech(1)]
    assert talk.fire("interrupt") == [AbandonTurn(1, "went_on")]


@pytest.mark.parametrize("onset_ms", [1_601, 5_000])
def test_who_speaks_later_interrupts(onset_ms: int) -> None:
    talk = Dialogue().replying()
    assert talk.on(SpeechStarted(2, onset_ms)) == []
    assert talk.fire("interrupt") == [HoldSpeech(1)]
    assert talk.fire("confirm") == [AbandonTurn(1, "interrupted")]
    assert talk.state.phase == UserSpeaking(2)


def test_what_did_something_that_lasts_is_not_taken_back() -> None:
    talk = Dialogue().replying()
    talk.on(ReplyBound(1))
    assert talk.on(SpeechStarted(2, 1_550)) == []
