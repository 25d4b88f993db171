"""The playout ledger: examples a writer meets, then properties over everything writers and clients may do."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from audio.playout import PlayoutLedger
from audio.stt.port import WordTiming

RATE_HZ = 16_000
MS = RATE_HZ // 1_000


def speaking(*phrases: tuple[str, int]) -> PlayoutLedger:
    """A ledger whose phrases are synthesized: text and milliseconds each."""
    ledger = PlayoutLedger(RATE_HZ)
    for text, length_ms in phrases:
        ledger.add_segment(text)
        ledger.extend(length_ms * MS)
    ledger.complete_segment()
    return ledger


def sent_whole(ledger: PlayoutLedger, at_ms: int = 0) -> PlayoutLedger:
    ledger.sent(ledger.synthesized_samples - ledger.sent_samples, at_ms)
    return ledger


def timed(*words: tuple[str, int, int]) -> tuple[WordTiming, ...]:
    return tuple(WordTiming(text, start * MS, end * MS) for text, start, end in words)


class TestHearing:
    def test_nothing_is_heard_before_something_is_sent(self):
        ledger = speaking(("Hello.", 500))
        assert ledger.heard_samples(10_000) == 0
        assert ledger.heard_text(ledger.heard_samples(10_000)) == ""

    def test_the_client_plays_in_real_time_from_the_first_sample_sent(self):
        ledger = speaking(("Hello there.", 1_000))
        ledger.sent(400 * MS, at_ms=100)
        ledger.sent(600 * MS, at_ms=110)
        assert [ledger.heard_samples(now) // MS for now in (100, 101, 600, 1_100, 5_000)] == [0, 1, 500, 1_000, 1_000]
        assert ledger.buffered_samples(600) == 500 * MS

    def test_a_starved_client_waits_and_goes_on_when_more_comes(self):
        ledger = speaking(("Hello there.", 1_000))
        ledger.sent(200 * MS, at_ms=0)
        ledger.sent(300 * MS, at_ms=1_000)
        assert [ledger.heard_samples(now) // MS for now in (900, 1_000, 1_100, 1_300, 2_000)] == [
            200,
            200,
            300,
            500,
            500,
        ]

    def test_no_time_is_lost_to_rounding_at_odd_rates(self):
        ledger = PlayoutLedger(22_050)
        ledger.add_segment("A long sentence.")
        ledger.extend(22_050 * 10)
        for step in range(1_000):
            ledger.sent(220, at_ms=step)
        assert ledger.heard_samples(9_000) == 22_050 * 9

    def test_a_clock_that_steps_back_does_not_take_heard_audio_below_where_playing_began(self):
        ledger = sent_whole(speaking(("Hello.", 500)), at_ms=1_000)
        assert ledger.heard_samples(0) == 0

    def test_samples_that_do_not_exist_cannot_be_sent(self):
        ledger = speaking(("Hello.", 500))
        with pytest.raises(ValueError, match="were there to send"):
            ledger.sent(500 * MS + 1, at_ms=0)
        with pytest.raises(ValueError, match="were there to send"):
            ledger.sent(-1, at_ms=0)
        assert ledger.sent_samples == 0

    def test_audio_taken_back_from_a_queue_was_not_sent_and_not_heard(self):
        ledger = sent_whole(speaking(("Hello there.", 1_000)))
        ledger.unsend(700 * MS)
        assert ledger.sent_samples == 300 * MS
        assert ledger.heard_samples(500) == 300 * MS
        ledger.sent(700 * MS, at_ms=500)
        assert ledger.heard_samples(600) == 400 * MS
        with pytest.raises(ValueError, match="taken back"):
            ledger.unsend(1_000 * MS + 1)

    def test_audio_needs_an_open_segment(self):
        ledger = PlayoutLedger(RATE_HZ)
        with pytest.raises(ValueError, match="no open segment"):
            ledger.extend(10)
        ledger.add_segment("Hello.")
        ledger.complete_segment()
        with pytest.raises(ValueError, match="no open segment"):
            ledger.extend(10)


class TestReports:
    def test_a_report_wins_over_the_estimate_in_both_directions(self):
        ledger = sent_whole(speaking(("Hello there.", 1_000)))
        ledger.client_played(150 * MS, at_ms=300)
        assert [ledger.heard_samples(now) // MS for now in (300, 400)] == [150, 250]
        ledger.client_played(500 * MS, at_ms=400)
        assert [ledger.heard_samples(now) // MS for now in (400, 500)] == [500, 600]

    def test_a_client_that_does_not_play_is_believed(self):
        ledger = sent_whole(speaking(("Hello there.", 1_000)))
        for now in range(0, 5_000, 100):
            ledger.client_played(0, at_ms=now)
        assert ledger.heard_samples(4_950) == 50 * MS

    def test_a_lying_report_is_taken_for_the_nearest_that_can_be(self):
        ledger = speaking(("Hello there.", 1_000))
        ledger.sent(400 * MS, at_ms=0)
        ledger.client_played(-5, at_ms=0)
        assert ledger.heard_samples(0) == 0
        ledger.client_played(10**12, at_ms=10)
        assert ledger.heard_samples(10) == 400 * MS
        ledger.client_played(100 * MS, at_ms=20)
        assert ledger.heard_samples(20) == 400 * MS

    def test_a_report_before_anything_was_sent_changes_nothing(self):
        ledger = speaking(("Hello.", 500))
        ledger.client_played(300 * MS, at_ms=0)
        assert ledger.heard_samples(100) == 0
        sent_whole(ledger, at_ms=100)
        assert ledger.heard_samples(200) == 100 * MS


class TestHoldAndResume:
    def test_held_playout_stands_still(self):
        ledger = sent_whole(speaking(("Hello there.", 1_000)))
        ledger.hold(300)
        assert ledger.heard_samples(300) == ledger.heard_samples(9_000) == 300 * MS
        ledger.hold(5_000)
        assert ledger.heard_samples(9_000) == 300 * MS

    def test_it_resumes_where_it_stopped_once_audio_is_sent_again(self):
        ledger = sent_whole(speaking(("Hello there.", 1_000)))
        ledger.hold(300)
        assert ledger.resume(300 * MS) == 300 * MS
        assert ledger.sent_samples == 300 * MS
        assert ledger.heard_samples(2_000) == 300 * MS
        ledger.sent(700 * MS, at_ms=2_000)
        assert [ledger.heard_samples(now) // MS for now in (2_000, 2_100, 9_000)] == [300, 400, 1_000]

    def test_it_may_resume_earlier_but_never_beyond_what_was_heard(self):
        ledger = sent_whole(speaking(("Hello there.", 1_000)))
        ledger.hold(300)
        assert ledger.resume(900 * MS) == 300 * MS
        ledger.hold(400)
        assert ledger.resume(100 * MS) == 100 * MS
        assert ledger.heard_samples(500) == ledger.sent_samples == 100 * MS
        ledger.hold(500)
        assert ledger.resume(-1) == 0

    def test_the_report_that_answers_a_hold_corrects_it(self):
        ledger = sent_whole(speaking(("Hello there.", 1_000)))
        ledger.hold(300)
        ledger.client_played(240 * MS, at_ms=350)
        assert ledger.heard_samples(400) == 240 * MS
        assert ledger.resume(300 * MS) == 240 * MS

    def test_synthesis_goes_on_while_playout_is_held_and_sending_does_not(self):
        ledger = PlayoutLedger(RATE_HZ)
        ledger.add_segment("Hello there.")
        ledger.extend(100)
        ledger.hold(0)
        ledger.extend(100)
        with pytest.raises(ValueError, match="held"):
            ledger.sent(100, at_ms=0)

    def test_only_held_playout_resumes(self):
        with pytest.raises(ValueError, match="held"):
            speaking(("Hello.", 500)).resume(0)


class TestWords:
    TEXT = "Good morning, Ada. It is eight o'clock."

    def test_without_timings_words_are_heard_in_proportion_to_their_characters(self):
        ledger = speaking(("One two three four ", 1_900), ("five six.", 900))
        assert [ledger.heard_text(ms * MS) for ms in (0, 299, 300, 699, 700, 1_800, 1_900, 2_299, 2_300, 2_800)] == [
            "",
            "",
            "One",
            "One",
            "One two",
            "One two three four",
            "One two three four ",
            "One two three four ",
            "One two three four five",
            "One two three four five six.",
        ]

    def test_with_timings_a_word_is_heard_when_it_ends(self):
        ledger = PlayoutLedger(RATE_HZ)
        ledger.add_segment(self.TEXT)
        words = [
            ("Good", 0, 200),
            ("morning", 200, 900),
            ("Ada", 950, 1_200),
            ("It", 1_500, 1_600),
            ("is", 1_600, 1_700),
        ]
        ledger.extend(1_700 * MS, timed(*words))
        ledger.extend(1_300 * MS, timed(("eight", 1_700, 2_000), ("o'clock", 2_000, 2_900)))
        ledger.complete_segment()
        heard = {ms: ledger.heard_text(ms * MS) for ms in (199, 200, 899, 900, 1_200, 1_599, 1_600, 2_899, 2_900)}
        assert heard == {
            199: "",
            200: "Good",
            899: "Good",
            900: "Good morning,",
            1_200: "Good morning, Ada.",
            1_599: "Good morning, Ada.",
            1_600: "Good morning, Ada. It",
            2_899: "Good morning, Ada. It is eight",
            2_900: self.TEXT,
        }

    def test_words_the_engine_says_otherwise_are_estimated_between_those_it_does_not(self):
        ledger = PlayoutLedger(RATE_HZ)
        ledger.add_segment("It costs $20 in all.")
        words = timed(
            ("It", 0, 100), ("costs", 100, 400), ("twenty", 400, 800), ("dollars", 800, 1_400), ("in", 1_400, 1_500)
        )
        ledger.extend(2_000 * MS, words)
        ledger.complete_segment()
        assert ledger.heard_text(400 * MS) == "It costs"
        assert ledger.heard_text(450 * MS) == "It costs"
        assert ledger.heard_text(1_499 * MS) == "It costs $20"
        assert ledger.heard_text(1_500 * MS) == "It costs $20 in"
        assert ledger.heard_text(2_000 * MS) == "It costs $20 in all."

    def test_the_parts_of_a_hyphenated_word_make_it_heard_with_the_last(self):
        ledger = PlayoutLedger(RATE_HZ)
        ledger.add_segment("A well-known fact")
        words = timed(("A", 0, 100), ("well", 100, 300), ("known", 300, 600), ("fact", 600, 1_000))
        ledger.extend(1_000 * MS, words)
        ledger.complete_segment()
        assert ledger.heard_text(599 * MS) == "A"
        assert ledger.heard_text(600 * MS) == "A well-known"

    def test_text_without_spaces_is_heard_by_the_character(self):
        ledger = speaking(("你好,世界", 500))
        assert [ledger.heard_text(ms * MS) for ms in (99, 100, 300, 400, 500)] == [
            "",
            "你",
            "你好,",
            "你好,世",
            "你好,世界",
        ]

    def test_the_last_word_of_a_phrase_still_being_made_is_not_heard(self):
        ledger = PlayoutLedger(RATE_HZ)
        ledger.add_segment("Hello there")
        ledger.extend(2_000 * MS)
        assert ledger.heard_text(2_000 * MS) == "Hello"
        ledger.complete_segment()
        assert ledger.heard_text(2_000 * MS) == "Hello there"

    def test_the_start_of_a_phrase_still_being_made_is_not_taken_for_all_of_it(self):
        ledger = PlayoutLedger(RATE_HZ)
        ledger.add_segment("one two three four five six seven eight nine ten")
        ledger.extend(400 * MS)
        assert ledger.heard_text(400 * MS) == "one"

    def test_phrases_keep_their_spacing_and_the_rest_is_what_was_not_heard(self):
        ledger = speaking(("First.\n\n", 500), ("  Second one. ", 500), ("Third.", 500))
        assert ledger.full_text == "First.\n\n  Second one. Third."
        assert ledger.heard_text(500 * MS) == "First.\n\n"
        assert ledger.remaining_text(500 * MS) == "  Second one. Third."
        assert ledger.remaining_text(0) == ledger.full_text
        assert ledger.remaining_text(10**9) == ""

    def test_a_phrase_without_audio_counts_once_what_came_before_it_was_heard(self):
        ledger = speaking((":-) ", 0), ("Yes. ", 500), ("(*)", 0))
        assert ledger.heard_text(0) == ""
        assert ledger.heard_text(499 * MS) == ":-) Yes."
        assert ledger.heard_text(500 * MS) == ":-) Yes. (*)"

    def test_a_word_begins_where_it_can_be_resumed(self):
        ledger = speaking(("One two three four ", 1_900), ("five six.", 900))
        starts = {
            ms: ledger.word_start(ms * MS) // MS for ms in (0, 150, 399, 450, 1_000, 1_899, 1_900, 2_050, 2_400, 2_800)
        }
        assert starts == {
            0: 0,
            150: 0,
            399: 399,  # in the pause before the next word, which begins at 400
            450: 400,
            1_000: 800,
            1_899: 1_899,
            1_900: 1_900,
            2_050: 1_900,
            2_400: 2_400,
            2_800: 2_800,
        }
        assert PlayoutLedger(RATE_HZ).word_start(0) == 0


TEXTS = st.lists(
    st.sampled_from(["Hello", "there,", "20", "Ada.", "o'clock", "é", "你好", "-", "  ", " ", "\n"]), max_size=8
)


class LedgerMachine(RuleBasedStateMachine):
    """Whatever a writer and a lying client do, in any order."""

    @initialize(rate=st.sampled_from([8_000, 16_000, 22_050, 48_000]))
    def begin(self, rate: int) -> None:
        self.ledger = PlayoutLedger(rate)
        self.now = 0
        self.held = False
        self.confirmed = 0
        self.last_heard = 0

    @rule(words=TEXTS, timings=st.booleans(), samples=st.integers(0, 30_000), complete=st.booleans())
    def synthesize(self, words: list[str], timings: bool, samples: int, complete: bool) -> None:
        text = " ".join(words)
        self.ledger.add_segment(text)
        spoken = re.findall(r"\w+", text)
        step = samples // (len(spoken) + 1)
        timed_words = [WordTiming(word, i * step, (i + 1) * step) for i, word in enumerate(spoken)]
        self.ledger.extend(samples // 2, timed_words[: len(spoken) // 2] if timings else ())
        self.ledger.extend(samples - samples // 2, timed_words[len(spoken) // 2 :] if timings else ())
        if complete:
            self.ledger.complete_segment()

    @precondition(lambda self: not self.held)
    @rule(share=st.integers(0, 100))
    def send(self, share: int) -> None:
        self.ledger.sent((self.ledger.synthesized_samples - self.ledger.sent_samples) * share // 100, self.now)

    @rule(ms=st.integers(0, 1_000))
    def wait(self, ms: int) -> None:
        self.now += ms
        heard = self.ledger.heard_samples(self.now)
        assert heard >= self.last_heard
        assert not self.held or heard == self.last_heard

    @rule(share=st.integers(0, 100))
    def unsend(self, share: int) -> None:
        sent = self.ledger.sent_samples
        self.ledger.unsend(sent * share // 100)
        assert self.ledger.sent_samples == sent - sent * share // 100
        assert self.ledger.heard_samples(self.now) == min(self.last_heard, self.ledger.sent_samples)
        self.confirmed = min(self.confirmed, self.ledger.sent_samples)

    @rule(samples=st.integers(-1_000, 60_000))
    def report(self, samples: int) -> None:
        self.ledger.client_played(samples, self.now)
        self.confirmed = max(self.confirmed, min(samples, self.ledger.sent_samples))
        assert self.ledger.heard_samples(self.now) == self.confirmed

    @rule()
    def hold(self) -> None:
        self.ledger.hold(self.now)
        self.held = True
        assert self.ledger.heard_samples(self.now) == self.last_heard

    @precondition(lambda self: self.held)
    @rule(samples=st.integers(-100, 60_000))
    def resume(self, samples: int) -> None:
        resumed = self.ledger.resume(samples)
        assert resumed == self.ledger.heard_samples(self.now) == self.ledger.sent_samples
        assert resumed == max(0, min(samples, self.last_heard))
        self.confirmed = min(self.confirmed, resumed)
        self.held = False

    @invariant()
    def heard_is_at_most_sent_and_sent_at_most_synthesized(self) -> None:
        heard = self.ledger.heard_samples(self.now)
        assert 0 <= self.confirmed <= heard <= self.ledger.sent_samples <= self.ledger.synthesized_samples
        assert self.ledger.buffered_samples(self.now) == self.ledger.sent_samples - heard
        self.last_heard = heard

    @invariant()
    def heard_text_is_a_prefix_in_whole_words_and_the_rest_is_the_rest(self) -> None:
        heard = self.ledger.heard_samples(self.now)
        text, rest = self.ledger.heard_text(heard), self.ledger.remaining_text(heard)
        assert text + rest == self.ledger.full_text
        assert self.ledger.word_start(heard) <= max(heard, 0)

    @invariant()
    def more_audio_heard_never_means_fewer_words(self) -> None:
        total = self.ledger.synthesized_samples
        lengths = [len(self.ledger.heard_text(total * tenth // 10)) for tenth in range(11)]
        assert lengths == sorted(lengths)

    def teardown(self) -> None:
        if not hasattr(self, "ledger"):
            return
        self.ledger.complete_segment()
        total = self.ledger.synthesized_samples
        assert self.ledger.heard_text(total) == (self.ledger.full_text if total else "")


TestAnythingWritersAndClientsDo = LedgerMachine.TestCase


@given(words=st.lists(st.text("abcé.,'", min_size=1, max_size=9), min_size=1, max_size=12), data=st.data())
def test_heard_text_never_ends_inside_a_word(words, data):
    half = len(words) // 2
    ledger = speaking((" ".join(words[:half]) + " ", 700), (" ".join(words[half:]), 900))
    heard = ledger.heard_text(data.draw(st.integers(0, 1_600 * MS)))
    assert heard.split() == ledger.full_text.split()[: len(heard.split())]
