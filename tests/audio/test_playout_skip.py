"""The playout ledger where late phrases are left out."""

from __future__ import annotations

from audio.playout import PlayoutLedger

RATE = 1_000


def ledger(*phrases: tuple[str, int], sent: int, complete: bool = True) -> PlayoutLedger:
    made = PlayoutLedger(RATE)
    for text, samples in phrases:
        made.add_segment(text)
        made.extend(samples)
    if complete:
        made.complete_segment()
    made.sent(sent, 0)
    return made


def test_whole_phrases_within_the_delay_go_and_the_rest_moves_up() -> None:
    late = ledger(("one ", 100), ("two ", 100), ("three ", 300), ("four", 100), sent=150)
    assert late.skip(400) == 350
    assert (late.synthesized_samples, late.full_text) == (250, "one four")
    late.sent(100, 900)
    assert late.heard_text(250) == "one four"


def test_nothing_goes_where_no_phrase_ends_in_time() -> None:
    late = ledger(("one ", 500), ("two", 500), sent=100)
    assert late.skip(399) == 0
    assert late.full_text == "one two"


def test_the_last_phrase_stays() -> None:
    late = ledger(("one ", 100), ("two", 100), sent=50)
    assert late.skip(10_000) == 50
    assert late.full_text == "two"
    assert late.skip(10_000) == 0


def test_a_phrase_that_is_still_made_stays() -> None:
    late = ledger(("one ", 100), ("two ", 100), sent=50, complete=False)
    late.add_segment("three")
    assert late.skip(10_000) == 50, "the third has no audio to go on with"
    assert late.full_text == "two three"


def test_what_was_heard_of_a_phrase_left_out_stands() -> None:
    late = ledger(("one two three four ", 400), ("five", 100), sent=200)
    assert late.skip(200) == 200
    assert late.full_text == "one twofive"
    assert late.heard_text(200).strip() == "one two"
