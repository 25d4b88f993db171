"""Dialogues, move by move, through the pure turn machine."""

from __future__ import annotations

from dataclasses import replace

import pytest
from turn_dialogue import POLICY, Dialogue

from agents.core.phases import (
    Filling,
    Listening,
    Overlap,
    Replying,
    Settling,
    Speculating,
    Transcribing,
    UserSpeaking,
)
from agents.core.policy import TurnPolicy, endpoint_wait_ms, is_backchannel
from agents.core.turn_types import (
    AbandonTurn,
    AwaitReply,
    BeginTurn,
    CancelRequested,
    CommitRequested,
    CommitTurn,
    EndUtterance,
    FlushTranscript,
    HintArrived,
    HoldSpeech,
    PromptReceived,
    ReplyEnded,
    ReplyReady,
    ReplyStarted,
    ReportUnheard,
    ResumeSpeech,
    SpeakFiller,
    SpeechStarted,
    SpeechStopped,
    TimerFired,
    TranscriptArrived,
)


def test_a_plain_turn_is_drafted_during_the_pause_and_heard_once_it_is_certain() -> None:
    talk = Dialogue()
    assert talk.on(SpeechStarted(1, 100)) == []
    assert talk.on(SpeechStopped(1, 1_000)) == [FlushTranscript(1, 1_000)]
    assert talk.timers["endpoint"].due_ms == 1_500
    drafted = talk.on(TranscriptArrived(1, "What time is it?", True, 1_100, 1_200))
    assert drafted == [BeginTurn(1, "What time is it?", "speech", True, 1, 1_000)]
    assert talk.timers["endpoint"].due_ms == 1_367
    assert talk.on(HintArrived(1, 1_000, 0.97, 1_210)) == []
    assert talk.timers["endpoint"].due_ms == 1_000 + POLICY.min_wait_ms
    assert talk.on(ReplyReady(1, 1_220)) == []
    assert talk.fire("endpoint") == [CommitTurn(1), EndUtterance(1, used=True)]
    assert talk.on(ReplyStarted(1)) == []
    assert talk.on(ReplyEnded(1)) == []
    assert talk.state.phase == Listening()


def test_a_speaker_who_goes_on_costs_only_the_draft() -> None:
    talk = Dialogue()
    talk.says("I would like to go.")
    assert talk.on(SpeechStarted(1, 1_250)) == [AbandonTurn(1, "went_on")]
    assert talk.state.phase == UserSpeaking(1, "I would like to go.")
    talk.on(SpeechStopped(1, 2_000))
    again = talk.on(TranscriptArrived(1, "I would like to go home.", True, 2_100, 2_200))
    assert again == [BeginTurn(2, "I would like to go home.", "speech", True, 1, 2_000)]


def test_unfinished_words_are_waited_for() -> None:
    talk = Dialogue()
    talk.says("I would like to")
    talk.fire("endpoint")
    assert talk.timers["endpoint"].due_ms == 1_000 + POLICY.max_wait_ms
    talk.on(HintArrived(1, 1_000, 0.97, 1_250))
    assert 1_000 + POLICY.wait_ms < talk.timers["endpoint"].due_ms < 1_000 + POLICY.max_wait_ms


def test_while_the_wait_is_long_nothing_is_drafted() -> None:
    talk = Dialogue()
    assert talk.says("I would like to") == []
    assert talk.timers["endpoint"].due_ms == 1_000 + POLICY.max_wait_ms - POLICY.draft_lead_ms
    assert talk.on(SpeechStarted(1, 1_500)) == []
    assert talk.state.phase == UserSpeaking(1, "I would like to")


def test_a_draft_begins_soon_enough_to_be_there_when_the_wait_is_over() -> None:
    talk = Dialogue()
    talk.says("I would like to")
    assert talk.fire("endpoint") == [BeginTurn(1, "I would like to", "speech", True, 1, 1_000)]
    assert talk.timers["endpoint"].due_ms == 1_000 + POLICY.max_wait_ms


def test_words_are_waited_for_as_long_as_the_budget_leaves_time_to_say_that_there_were_none() -> None:
    talk = Dialogue(replace(POLICY, transcript_limit_ms=2_000, transcript_by_ms=1_800))
    talk.on(SpeechStarted(1, 100))
    talk.on(SpeechStopped(1, 1_000))
    talk.fire("endpoint")
    assert isinstance(talk.state.phase, Transcribing)
    assert talk.timers["transcript"].due_ms == 1_000 + 1_800
    assert talk.fire("transcript") == [EndUtterance(1, used=False), ReportUnheard(1, failed=True)]


def test_a_voice_that_goes_on_holds_the_turn_before_its_words_are_known() -> None:
    talk = Dialogue()
    talk.on(SpeechStarted(1, 100))
    talk.on(SpeechStopped(1, 1_000))
    first = talk.timers["endpoint"]
    assert talk.on(HintArrived(1, 1_000, 0.02, 1_160)) == []
    assert talk.timers["endpoint"].due_ms == 1_850
    assert talk.on(TimerFired(first.timer, 1_500)) == []
    assert isinstance(talk.state.phase, Settling)


def test_a_voice_that_has_finished_ends_nothing_before_its_words_are_known() -> None:
    talk = Dialogue()
    talk.on(SpeechStarted(1, 100))
    talk.on(SpeechStopped(1, 1_000))
    talk.on(HintArrived(1, 1_000, 0.99, 1_160))
    assert talk.timers["endpoint"].due_ms == 1_000 + POLICY.wait_ms


def test_a_speaker_who_pauses_long_is_given_more_time() -> None:
    talk = Dialogue()
    talk.on(SpeechStarted(1, 0))
    for start_ms in (1_000, 2_600, 4_200):
        talk.on(SpeechStopped(1, start_ms))
        talk.on(SpeechStarted(1, start_ms + 600))
    talk.on(SpeechStopped(1, 6_000))
    assert talk.timers["endpoint"].due_ms == 6_000 + 300 + round(200 * 600 / 450)


def test_a_turn_that_was_cut_off_teaches_the_pause_too() -> None:
    talk = Dialogue().replying()
    pauses = talk.state.habit.pauses_ms
    talk.on(SpeechStopped(2, 3_000))
    talk.on(SpeechStarted(2, 3_700))
    assert talk.state.habit.pauses_ms == (*pauses, 700)


def test_a_transcript_later_than_the_wait_is_answered_at_once() -> None:
    talk = Dialogue()
    talk.on(SpeechStarted(1, 100))
    talk.on(SpeechStopped(1, 1_000))
    assert talk.fire("endpoint") == []
    assert isinstance(talk.state.phase, Transcribing)
    answered = talk.on(TranscriptArrived(1, "Hello there.", True, 1_100, 1_700))
    assert answered == [BeginTurn(1, "Hello there.", "speech", True, 1, 1_000), AwaitReply(1)]
    talk.on(ReplyReady(1, 1_750))
    assert talk.timers["endpoint"].due_ms == 1_750
    assert talk.fire("endpoint") == [CommitTurn(1), EndUtterance(1, used=True)]


def test_where_nothing_is_drafted_a_late_transcript_is_a_certain_turn() -> None:
    talk = Dialogue(replace(POLICY, speculate=False))
    talk.on(SpeechStarted(1, 100))
    talk.on(SpeechStopped(1, 1_000))
    talk.fire("endpoint")
    answered = talk.on(TranscriptArrived(1, "Hello there.", True, 1_100, 1_700))
    assert answered == [BeginTurn(1, "Hello there.", "speech", False, 1, 1_000), EndUtterance(1, used=True)]


def test_recognition_that_never_answers_falls_back_to_the_best_partial() -> None:
    talk = Dialogue()
    talk.on(SpeechStarted(1, 100))
    talk.on(TranscriptArrived(1, "Hello there", False, 900, 950))
    talk.on(SpeechStopped(1, 1_000))
    talk.fire("endpoint")
    assert talk.fire("transcript")[0] == BeginTurn(1, "Hello there", "speech", False, 1, 1_000, late=True)


def test_recognition_that_never_says_anything_is_reported() -> None:
    talk = Dialogue()
    talk.on(SpeechStarted(1, 100))
    talk.on(SpeechStopped(1, 1_000))
    talk.fire("endpoint")
    assert talk.fire("transcript") == [EndUtterance(1, used=False), ReportUnheard(1, failed=True)]
    assert talk.state.phase == Listening()


def test_a_noise_without_words_is_no_turn() -> None:
    talk = Dialogue()
    assert talk.says("") == []
    assert talk.fire("endpoint") == [EndUtterance(1, used=False)]
    assert talk.state.phase == Listening()


def test_push_to_talk_waits_for_the_client_alone() -> None:
    talk = Dialogue(TurnPolicy(auto_end=False))
    talk.says("Good morning.")
    assert isinstance(talk.state.phase, Settling)
    assert "endpoint" not in talk.timers
    committed = talk.on(CommitRequested(1, 3_000))
    # Whoever holds the button after the last word is not waiting yet.
    assert committed == [BeginTurn(1, "Good morning.", "speech", False, 1, 3_000), EndUtterance(1, used=True)]


def test_push_to_talk_with_nothing_recorded_says_so() -> None:
    assert Dialogue(TurnPolicy(auto_end=False)).on(CommitRequested(None, 50)) == [ReportUnheard(None, failed=False)]


def test_push_to_talk_works_where_voice_activity_heard_nothing() -> None:
    talk = Dialogue(TurnPolicy(auto_end=False))
    assert talk.on(CommitRequested(4, 900)) == [FlushTranscript(4, 900)]
    assert talk.on(TranscriptArrived(4, "Hi.", True, 900, 1_000))[0] == BeginTurn(1, "Hi.", "speech", False, 4, 900)


def test_a_cough_over_the_reply_does_not_stop_it() -> None:
    talk = Dialogue().replying()
    talk.on(SpeechStarted(2, 5_000))
    assert talk.on(SpeechStopped(2, 5_120)) == [FlushTranscript(2, 5_120)]
    assert talk.on(TranscriptArrived(2, "", True, 5_200, 5_300)) == [EndUtterance(2, used=False)]
    assert talk.state.phase == Replying(1, "speech", started=True, since_ms=1_400)


def test_a_short_mhm_over_the_reply_does_not_stop_it() -> None:
    talk = Dialogue().replying()
    talk.on(SpeechStarted(2, 5_000))
    talk.on(SpeechStopped(2, 5_190))
    assert talk.on(TranscriptArrived(2, "Mhm.", True, 5_300, 5_350)) == [EndUtterance(2, used=False)]


def test_speech_over_the_reply_holds_it_and_more_speech_ends_it() -> None:
    talk = Dialogue().replying()
    talk.on(SpeechStarted(2, 5_000))
    assert talk.timers["interrupt"].due_ms == 5_200
    assert talk.fire("interrupt") == [HoldSpeech(1)]
    assert talk.timers["confirm"].due_ms == 5_800
    assert talk.fire("confirm") == [AbandonTurn(1, "interrupted")]
    assert talk.state.phase == UserSpeaking(2)


def test_a_held_reply_resumes_when_it_was_only_a_backchannel() -> None:
    talk = Dialogue().replying()
    talk.on(SpeechStarted(2, 5_000))
    talk.fire("interrupt")
    talk.on(SpeechStopped(2, 5_400))
    verdict = talk.on(TranscriptArrived(2, "Okay, yeah.", True, 5_500, 5_550))
    assert verdict == [EndUtterance(2, used=False), ResumeSpeech(1)]


def test_a_held_reply_resumes_when_nobody_can_say_what_it_was() -> None:
    talk = Dialogue().replying()
    talk.on(SpeechStarted(2, 5_000))
    talk.fire("interrupt")
    talk.on(SpeechStopped(2, 5_400))
    assert talk.fire("verdict") == [EndUtterance(2, used=False), ResumeSpeech(1)]


def test_a_short_word_that_means_something_interrupts_and_is_answered() -> None:
    talk = Dialogue().replying()
    talk.on(SpeechStarted(2, 5_000))
    talk.on(SpeechStopped(2, 5_180))
    effects = talk.on(TranscriptArrived(2, "Stop.", True, 5_280, 5_300))
    assert effects == [AbandonTurn(1, "interrupted"), BeginTurn(2, "Stop.", "speech", True, 2, 5_180)]
    assert isinstance(talk.state.phase, Speculating)


@pytest.mark.parametrize(("text", "confidence"), [("And I...", 0.25), ("I make him...", 0.4)])
def test_words_a_recogniser_makes_of_a_hum_are_no_interruption(text: str, confidence: float) -> None:
    talk = Dialogue().replying()
    talk.on(SpeechStarted(2, 5_000))
    talk.fire("interrupt")
    assert talk.on(TranscriptArrived(2, text, False, 5_300, 5_340, confidence)) == []
    talk.on(SpeechStopped(2, 5_450))
    verdict = talk.on(TranscriptArrived(2, text, True, 5_450, 5_560, confidence))
    assert verdict == [EndUtterance(2, used=False), ResumeSpeech(1)]


def test_stop_is_heard_however_unsure_the_recogniser_is() -> None:
    talk = Dialogue().replying()
    talk.on(SpeechStarted(2, 5_000))
    talk.on(SpeechStopped(2, 5_180))
    effects = talk.on(TranscriptArrived(2, "Stop.", True, 5_280, 5_300, 0.2))
    assert AbandonTurn(1, "interrupted") in effects


def test_words_recognised_while_still_speaking_interrupt_early() -> None:
    talk = Dialogue().replying()
    talk.on(SpeechStarted(2, 5_000))
    talk.fire("interrupt")
    assert talk.on(TranscriptArrived(2, "No, wait", False, 5_500, 5_550)) == [AbandonTurn(1, "interrupted")]


def test_a_reply_that_may_not_be_interrupted_is_not() -> None:
    talk = Dialogue(TurnPolicy(interruptible=False)).replying()
    assert talk.on(SpeechStarted(2, 5_000)) == [EndUtterance(2, used=False)]


def test_a_reply_that_ends_under_the_user_leaves_them_the_floor() -> None:
    talk = Dialogue().replying()
    talk.on(SpeechStarted(2, 5_000))
    assert talk.on(ReplyEnded(1)) == []
    assert talk.state.phase == UserSpeaking(2)


def test_a_late_answer_is_bridged_once() -> None:
    talk = Dialogue(TurnPolicy(filler_after_ms=400))
    talk.says("What time is it?")
    talk.fire("endpoint")
    over_ms = talk.timers["endpoint"].due_ms - 400
    assert talk.fire("endpoint") == [CommitTurn(1), EndUtterance(1, used=True)]
    assert talk.timers["filler"].due_ms == over_ms + 400
    assert talk.fire("filler") == [SpeakFiller(1)]
    assert talk.state.phase == Filling(1, "speech")
    assert talk.fire("filler") == []
    talk.on(ReplyStarted(1))
    assert talk.state.phase == Replying(1, "speech", started=True)


def test_an_announcement_never_takes_the_floor() -> None:
    talk = Dialogue()
    talk.on(SpeechStarted(1, 100))
    assert talk.on(PromptReceived("Two minutes left.", 200, "announcement")) == []
    fresh = Dialogue().on(PromptReceived("Welcome.", 0, "announcement"))
    assert fresh == [BeginTurn(1, "Welcome.", "announcement", speculative=False)]


def test_typed_text_takes_the_floor_from_everybody() -> None:
    talk = Dialogue().replying()
    effects = talk.on(PromptReceived("Never mind.", 9_000))
    assert effects == [AbandonTurn(1, "superseded"), BeginTurn(2, "Never mind.", "text", speculative=False)]


def test_cancel_silences_the_agent_and_leaves_the_user_speaking() -> None:
    assert Dialogue().replying().on(CancelRequested()) == [AbandonTurn(1, "cancelled")]
    talk = Dialogue().replying()
    talk.on(SpeechStarted(2, 5_000))
    assert isinstance(talk.state.phase, Overlap)
    assert talk.on(CancelRequested()) == [AbandonTurn(1, "cancelled")]
    assert talk.state.phase == UserSpeaking(2)


@pytest.mark.parametrize(
    ("text", "hint", "wait_ms"),
    [
        (None, None, 500),
        (None, 0.99, 500),
        (None, 0.01, 850),
        ("What time is it?", None, 367),
        ("What time is it?", 0.9, 300),
        ("What time is it?", 0.1, 675),
        ("I would like to", None, 1_200),
        ("I would like to", 0.1, 1_200),
        ("I would like to", 0.9, 1_078),
        ("Because,", None, 1_200),
        ("My number is 5 5", None, 762),
        ("It is a b", None, 762),
        ("I would like to.", 0.9, 728),
        ("Go forward ten meters", None, 535),
        ("Go forward ten meters", 0.95, 384),
        ("Yes.", None, 300),
    ],
)
def test_the_wait_follows_what_was_said(text: str | None, hint: float | None, wait_ms: int) -> None:
    assert endpoint_wait_ms(text, hint, POLICY) == wait_ms


@pytest.mark.parametrize("text", ["", "mhm", "Uh-huh.", "Okay, yeah.", "I see."])
def test_listening_noises_are_backchannels(text: str) -> None:
    assert is_backchannel(text, POLICY.rules)


@pytest.mark.parametrize("text", ["stop", "No.", "what", "yes but no", "okay tell me more about it"])
def test_words_with_meaning_are_not(text: str) -> None:
    assert not is_backchannel(text, POLICY.rules)
