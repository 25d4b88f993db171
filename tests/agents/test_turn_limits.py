"""The turn machine where a latency budget bounds its waits."""

from __future__ import annotations

from turn_dialogue import Dialogue

from agents.core.policy import TurnPolicy
from agents.core.turn_types import (
    BeginTurn,
    EndUtterance,
    PromptReceived,
    ReportUnheard,
    SpeechStarted,
    SpeechStopped,
    TranscriptArrived,
)


def test_silence_since_the_last_word_is_bounded_too() -> None:
    talk = Dialogue(TurnPolicy(filler_after_ms=900, filler_by_ms=1_200))
    talk.says("What time is it?", stop_ms=1_000)
    talk.fire("endpoint")
    assert talk.timers["endpoint"].due_ms == 2_200, "then the draft is certain, heard or not"
    talk.fire("endpoint")
    assert talk.timers["filler"].due_ms == 2_200
    in_writing = Dialogue(TurnPolicy(filler_after_ms=900, filler_by_ms=1_200))
    in_writing.on(PromptReceived("What time is it?", 5_000))
    assert in_writing.timers["filler"].due_ms == 5_900


def test_late_recognition_is_not_waited_for_where_there_are_words() -> None:
    talk = Dialogue(TurnPolicy(transcript_limit_ms=2_000, partial_after_ms=400))
    talk.on(SpeechStarted(1, 100))
    talk.on(TranscriptArrived(1, "What time is it", False, 900, 950))
    talk.on(SpeechStopped(1, 1_000))
    talk.fire("endpoint")
    assert talk.timers["transcript"].due_ms == talk.timers["endpoint"].due_ms + 400
    assert talk.fire("transcript")[0] == BeginTurn(1, "What time is it", "speech", False, 1, 1_000, late=True)


def test_where_there_are_no_words_late_recognition_has_its_whole_limit() -> None:
    talk = Dialogue(TurnPolicy(transcript_limit_ms=2_000, partial_after_ms=400))
    talk.on(SpeechStarted(1, 100))
    talk.on(SpeechStopped(1, 1_000))
    talk.fire("endpoint")
    certain_ms = talk.timers["endpoint"].due_ms
    assert talk.fire("transcript") == []
    assert talk.timers["transcript"].due_ms == certain_ms + 2_000
    assert talk.fire("transcript") == [EndUtterance(1, used=False), ReportUnheard(1, failed=True)]


def test_the_first_words_of_late_recognition_are_answered_at_once() -> None:
    talk = Dialogue(TurnPolicy(transcript_limit_ms=2_000, partial_after_ms=400))
    talk.on(SpeechStarted(1, 100))
    talk.on(SpeechStopped(1, 1_000))
    talk.fire("endpoint")
    talk.fire("transcript")
    effects = talk.on(TranscriptArrived(1, "What time is it", False, 900, 2_300))
    assert effects[0] == BeginTurn(1, "What time is it", "speech", False, 1, 1_000, late=True)


def test_a_first_word_is_no_answer_to_a_sentence_however_late_it_comes() -> None:
    talk = Dialogue(TurnPolicy(transcript_limit_ms=2_000, partial_after_ms=400))
    talk.on(SpeechStarted(1, 100))
    talk.on(SpeechStopped(1, 2_000))
    talk.fire("endpoint")
    talk.fire("transcript")
    assert talk.on(TranscriptArrived(1, "What", False, 400, 2_900)) == []
    effects = talk.on(TranscriptArrived(1, "What time is it", False, 1_900, 3_000))
    assert effects[0] == BeginTurn(1, "What time is it", "speech", False, 1, 2_000, late=True)


def test_words_that_reach_no_further_are_answered_when_nothing_more_can_come() -> None:
    talk = Dialogue(TurnPolicy(transcript_limit_ms=2_000, partial_after_ms=400))
    talk.on(SpeechStarted(1, 100))
    talk.on(TranscriptArrived(1, "What", False, 400, 900))
    talk.on(SpeechStopped(1, 2_000))
    talk.fire("endpoint")
    assert talk.fire("transcript") == []
    assert talk.fire("transcript")[0] == BeginTurn(1, "What", "speech", False, 1, 2_000, late=True)
