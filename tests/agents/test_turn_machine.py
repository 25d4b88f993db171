"""Dialogues, move by move, through the pure turn machine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.core.machine import step
from agents.core.phases import (
    Filling,
    Listening,
    Overlap,
    Replying,
    Settling,
    Speculating,
    State,
    Transcribing,
    UserSpeaking,
)
from agents.core.policy import TurnPolicy, endpoint_wait_ms, is_backchannel
from agents.core.turn_types import (
    AbandonTurn,
    BeginTurn,
    CancelRequested,
    ClauseFinished,
    CommitRequested,
    CommitTurn,
    EchoHeard,
    Effect,
    EndUtterance,
    FinishClause,
    FlushTranscript,
    HoldSpeech,
    PromptReceived,
    ReplyEnded,
    ReplyStarted,
    ReportUnheard,
    ResumeSpeech,
    SetTimer,
    SpeakFiller,
    SpeechStarted,
    SpeechStopped,
    TimerFired,
    TranscriptArrived,
    TurnEvent,
)

POLICY = TurnPolicy(min_wait_ms=300, wait_ms=500, max_wait_ms=1_200, interrupt_after_ms=200, confirm_after_ms=800)


class Dialogue:
    """Feeds events to the machine and fires its timers when asked."""

    def __init__(self, policy: TurnPolicy = POLICY) -> None:
        self.policy = policy
        self.state = State()
        self.timers: dict[str, SetTimer] = {}

    def on(self, event: TurnEvent) -> list[Effect]:
        self.state, effects = step(self.state, event, self.policy)
        self.timers |= {effect.purpose: effect for effect in effects if isinstance(effect, SetTimer)}
        return [effect for effect in effects if not isinstance(effect, SetTimer)]

    def fire(self, purpose: str) -> list[Effect]:
        timer = self.timers[purpose]
        return self.on(TimerFired(timer.timer, timer.due_ms))

    def says(self, text: str, stop_ms: int = 1_000, utterance: int = 1) -> list[Effect]:
        self.on(SpeechStarted(utterance, 100))
        self.on(SpeechStopped(utterance, stop_ms))
        return self.on(TranscriptArrived(utterance, text, True, stop_ms + 100, stop_ms + 200))

    def replying(self) -> Dialogue:
        self.says("What time is it?")
        self.fire("endpoint")
        self.on(ReplyStarted(1))
        return self


def test_a_plain_turn_is_drafted_during_the_pause_and_heard_once_it_is_certain() -> None:
    talk = Dialogue()
    assert talk.on(SpeechStarted(1, 100)) == []
    assert talk.on(SpeechStopped(1, 1_000)) == [FlushTranscript(1, 1_000)]
    assert talk.timers["endpoint"].due_ms == 1_500
    drafted = talk.on(TranscriptArrived(1, "What time is it?", True, 1_100, 1_200))
    assert drafted == [BeginTurn(1, "What time is it?", "speech", True, 1, 1_000)]
    assert talk.timers["endpoint"].due_ms == 1_300
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
    assert talk.timers["endpoint"].due_ms == 1_000 + POLICY.max_wait_ms


def test_a_transcript_later_than_the_wait_is_answered_at_once() -> None:
    talk = Dialogue()
    talk.on(SpeechStarted(1, 100))
    talk.on(SpeechStopped(1, 1_000))
    assert talk.fire("endpoint") == []
    assert isinstance(talk.state.phase, Transcribing)
    answered = talk.on(TranscriptArrived(1, "Hello there.", True, 1_100, 1_700))
    assert answered == [BeginTurn(1, "Hello there.", "speech", False, 1, 1_000), EndUtterance(1, used=True)]


def test_recognition_that_never_answers_falls_back_to_the_best_partial() -> None:
    talk = Dialogue()
    talk.on(SpeechStarted(1, 100))
    talk.on(TranscriptArrived(1, "Hello there", False, 900, 950))
    talk.on(SpeechStopped(1, 1_000))
    talk.fire("endpoint")
    assert talk.fire("transcript")[0] == BeginTurn(1, "Hello there", "speech", False, 1, 1_000)


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
    assert committed == [BeginTurn(1, "Good morning.", "speech", False, 1, 1_000), EndUtterance(1, used=True)]


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
    assert talk.state.phase == Replying(1, "speech", started=True)


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


def test_a_user_who_goes_on_before_the_reply_is_heard_gets_the_floor_back() -> None:
    talk = Dialogue()
    talk.says("What time is it?")
    talk.fire("endpoint")
    talk.on(SpeechStarted(2, 1_400))
    assert talk.fire("interrupt") == [AbandonTurn(1, "went_on")]


def test_a_reply_that_may_not_be_interrupted_is_not() -> None:
    talk = Dialogue(TurnPolicy(interruptible=False)).replying()
    assert talk.on(SpeechStarted(2, 5_000)) == [EndUtterance(2, used=False)]


def test_a_reply_that_ends_under_the_user_leaves_them_the_floor() -> None:
    talk = Dialogue().replying()
    talk.on(SpeechStarted(2, 5_000))
    assert talk.on(ReplyEnded(1)) == []
    assert talk.state.phase == UserSpeaking(2)


def test_a_late_answer_is_bridged_once() -> None:
    talk = Dialogue(TurnPolicy(filler_after_ms=900))
    talk.says("What time is it?")
    talk.fire("endpoint")
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
        ("What time is it?", None, 300),
        ("What time is it?", 0.1, 500),
        ("I would like to", None, 1_200),
        ("I would like to", 0.9, 500),
        ("Because,", None, 1_200),
        ("My number is 5 5", None, 850),
        ("It is a b", None, 850),
        ("Go forward ten meters", None, 500),
        ("Go forward ten meters", 0.95, 300),
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
