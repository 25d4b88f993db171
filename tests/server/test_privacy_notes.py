"""What was said, from a conversation's events: as heard, corrected, taken back, filtered, shortened; and WebVTT."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from agents.core.item_ids import reply_item_id, spoken_item_id
from agents.events import (
    AudioOut,
    Caption,
    ContentFiltered,
    Interrupted,
    RecordingTranscribed,
    ReplyText,
    Resumed,
    ServerEvent,
    TranscriptUpdated,
    TurnCompleted,
    TurnStarted,
)
from server.conversations.captions import webvtt
from server.conversations.notes import MOST_ENTRIES, MOST_TEXT, Notes
from server.conversations.tables import Cue, Entry

SESSION = "ses_1"


@dataclass
class Paper:
    """A desk that keeps everything."""

    kept: dict[str, Entry] = field(default_factory=dict[str, Entry])
    lost: int = 0
    ended_at_ms: int | None = None

    def write(self, entry: Entry) -> None:
        self.kept[entry.item_id] = entry

    def strike(self, item_id: str) -> None:
        self.kept.pop(item_id, None)

    def lose(self) -> None:
        self.lost += 1

    def end(self, at_ms: int) -> None:
        self.ended_at_ms = at_ms

    @property
    def said(self) -> list[tuple[str, str, bool]]:
        return [(e.speaker, e.text, e.interrupted) for e in sorted(self.kept.values(), key=lambda e: e.number)]


@dataclass
class Talk:
    """A conversation's events, and what is noted of them."""

    paper: Paper = field(default_factory=Paper)
    now_ms: int = 1_000_000

    def __post_init__(self) -> None:
        self.notes = Notes(SESSION, self.paper, lambda: self.now_ms)

    def tell(self, *events: ServerEvent) -> None:
        for event in events:
            self.notes.observe(event)

    def ask(self, text: str, turn: str = "turn_a", utterance: int = 1, at_ms: int = 0) -> None:
        self.tell(
            TranscriptUpdated(utterance, text[:3], False, at_ms, at_ms + 100),
            TranscriptUpdated(utterance, text, True, at_ms, at_ms + 900, turn),
            TurnStarted(turn, text, "speech"),
        )

    def speak(self, *phrases: str, turn: str = "turn_a") -> None:
        """A second of audio for each."""
        for number, phrase in enumerate(phrases):
            start_ms = number * 1_000
            self.tell(
                ReplyText(turn, f"{phrase} "),
                Caption("agent", phrase, start_ms, start_ms + 1_000, True, turn),
                AudioOut(turn, np.zeros(24_000, np.int16), 24_000, start_ms),
            )


@pytest.fixture
def talk() -> Talk:
    return Talk()


def test_a_turn_is_what_both_said(talk: Talk) -> None:
    talk.ask("What is the time?")
    talk.now_ms += 2_000
    talk.speak("It is noon.", "Have lunch.")
    talk.tell(TurnCompleted("turn_a", "It is noon. Have lunch.", interrupted=False))
    assert talk.paper.said == [
        ("user", "What is the time?", False),
        ("agent", "It is noon. Have lunch.", False),
    ]
    reply = talk.paper.kept[reply_item_id("turn_a")]
    assert reply.cues == (Cue(2_000, 3_000, "It is noon."), Cue(3_000, 4_000, "Have lunch."))


def test_of_an_interrupted_reply_only_what_was_heard_is_kept(talk: Talk) -> None:
    talk.ask("Tell me a story.")
    talk.speak("Once upon a time", "there was a secret ending", "nobody heard of.")
    talk.tell(
        Interrupted("turn_a", 1_300, "Once upon a time there was", resumable=True),
        Interrupted("turn_a", 1_300, "Once upon a time there was", resumable=False),
        TurnCompleted("turn_a", "Once upon a time there was a secret ending nobody heard of.", interrupted=True),
    )
    assert talk.paper.said[1] == ("agent", "Once upon a time there was", True)
    captions = webvtt(talk.paper.kept.values())
    assert "<v agent>there was —\n" in captions + "\n"
    assert "secret" not in captions


def test_an_interruption_that_was_none_changes_nothing(talk: Talk) -> None:
    talk.ask("Tell me a story.")
    talk.speak("Once upon a time", "there was a king.")
    talk.tell(Interrupted("turn_a", 300, "Once", resumable=True), Resumed("turn_a", 300))
    talk.tell(TurnCompleted("turn_a", "Once upon a time there was a king.", interrupted=False))
    assert talk.paper.said[1] == ("agent", "Once upon a time there was a king.", False)


def test_a_reply_of_which_nothing_was_heard_was_not_said(talk: Talk) -> None:
    talk.ask("Tell me")
    talk.speak("Tell you what?")
    talk.tell(
        Interrupted("turn_a", 0, "", resumable=False), TurnCompleted("turn_a", "Tell you what?", interrupted=True)
    )
    assert talk.paper.said == [("user", "Tell me", False)]
    talk.ask("Tell me a story.", "turn_b", 2, 1_000)
    assert talk.paper.said == [("user", "Tell me a story.", False)], "who goes on says it as a whole"


def test_what_begins_alike_after_an_answer_was_heard_is_said_again(talk: Talk) -> None:
    talk.ask("Yes")
    talk.speak("Really?")
    talk.tell(
        Interrupted("turn_a", 800, "Really?", resumable=False), TurnCompleted("turn_a", "Really?", interrupted=True)
    )
    talk.ask("Yes, really.", "turn_b", 2, 1_000)
    assert [text for _, text, _ in talk.paper.said] == ["Yes", "Really?", "Yes, really."]


def test_a_correction_takes_the_place_of_what_was_noted(talk: Talk) -> None:
    talk.ask("Play jazz.")
    talk.tell(TranscriptUpdated(1, "Play chess.", True, 0, 900, "turn_a", corrected=True))
    assert talk.paper.said == [("user", "Play chess.", False)]
    talk.tell(TranscriptUpdated(1, "", True, 0, 900, "turn_a", corrected=True))
    assert talk.paper.said == []


def test_what_a_filter_refused_is_not_kept(talk: Talk) -> None:
    talk.tell(TurnStarted("turn_a", "something bad", "text"), ReplyText("turn_a", "Well, "))
    talk.tell(ContentFiltered("turn_a", "completion"), ReplyText("turn_a", "I cannot."))
    talk.tell(TurnCompleted("turn_a", "I cannot.", interrupted=False))
    assert talk.paper.said == [("user", "something bad", False), ("agent", "I cannot.", False)]


def test_a_reply_that_ends_with_the_conversation_is_what_had_time_to_sound(talk: Talk) -> None:
    talk.ask("Tell me a story.")
    talk.speak("Once upon a time", "there was a secret ending.")
    talk.now_ms += 1_000
    talk.tell(TurnCompleted("turn_a", "Once upon a time there was a secret ending.", interrupted=True))
    assert talk.paper.said[1] == ("agent", "Once upon a time", True)


def test_what_was_written_when_the_client_went_away_is_kept(talk: Talk) -> None:
    talk.tell(TurnStarted("turn_a", "Hello?", "text"), ReplyText("turn_a", "I am "))
    talk.notes.end()
    assert talk.paper.said == [("user", "Hello?", False), ("agent", "I am", True)]
    assert talk.paper.ended_at_ms == talk.now_ms


def test_an_apology_that_is_only_spoken_is_part_of_what_was_heard(talk: Talk) -> None:
    talk.ask("Hello?")
    talk.tell(Caption("agent", "I am sorry.", 0, 0, True, "turn_a", only=True))
    talk.tell(TurnCompleted("turn_a", "", interrupted=False, error_code="provider.unavailable", end="failed"))
    assert talk.paper.said[1] == ("agent", "I am sorry.", False)


def test_a_client_that_directs_adds_removes_and_shortens(talk: Talk) -> None:
    talk.notes.added("item_1", "user", "typed")
    talk.notes.added("item_2", "agent", "as if the agent had said it")
    talk.tell(RecordingTranscribed("item_3", "a recording", 900), RecordingTranscribed("item_4", None, 900))
    talk.notes.removed("item_2")
    talk.notes.removed("never there")
    talk.speak("nothing begun")
    talk.tell(TurnStarted("turn_b", "", "request"))
    talk.speak("One two three", "four five.", turn="turn_b")
    talk.tell(TurnCompleted("turn_b", "One two three four five.", interrupted=False))
    talk.notes.shortened(reply_item_id("turn_b"), "One two", 500)
    assert [text for _, text, _ in talk.paper.said] == ["typed", "a recording", "One two"]
    assert [cue.text for cue in talk.paper.kept[reply_item_id("turn_b")].cues] == ["One two"]
    talk.notes.shortened(reply_item_id("turn_b"), "", 0)
    assert len(talk.paper.said) == 2


def test_a_conversation_has_a_bound_and_what_is_beyond_it_is_counted(talk: Talk) -> None:
    for number in range(MOST_ENTRIES + 3):
        talk.notes.added(f"item_{number}", "user", "x" * (MOST_TEXT + 9 if number == 0 else 1))
    assert (len(talk.paper.kept), talk.paper.lost) == (MOST_ENTRIES, 3)
    assert len(talk.paper.kept["item_0"].text) == MOST_TEXT + 1
    talk.notes.added("item_0", "user", "half a \ud83d pair, a \x00")
    assert talk.paper.kept["item_0"].text == "half a ? pair, a"


def test_captions_are_in_order_of_time_with_who_speaks_and_nothing_in_them_is_markup() -> None:
    entries = [
        Entry("b", 2, "agent", "x", 0, cues=(Cue(3_600_500, 3_602_000, "Yes & <b>no</b> -->"),)),
        Entry("a", 1, "user", "y", 0, cues=(Cue(10, 900, "One\nline\n\nonly"), Cue(900, 900, "and more"))),
        Entry("c", 3, "agent", "z", 0, interrupted=True, cues=(Cue(500, 800, "I was"),)),
    ]
    assert webvtt(entries) == (
        "WEBVTT\n\n"
        "a.0\n00:00:00.010 --> 00:00:00.900\n<v user>One line only\n\n"
        "c.0\n00:00:00.500 --> 00:00:00.800\n<v agent>I was —\n\n"
        "a.1\n00:00:00.900 --> 00:00:00.901\n<v user>and more\n\n"
        "b.0\n01:00:00.500 --> 01:00:02.000\n<v agent>Yes &amp; &lt;b&gt;no&lt;/b&gt; --&gt;\n"
    )


def test_entries_are_named_as_the_conversation_names_them(talk: Talk) -> None:
    talk.ask("Hello.", utterance=7)
    assert list(talk.paper.kept) == [spoken_item_id(SESSION, 7)]
