"""Where a clause ends in the audio of a turn."""

from __future__ import annotations

import pytest

from audio.playout import PlayoutLedger
from audio.stt.port import WordTiming


def timed(*phrases: str, complete: bool = True) -> PlayoutLedger:
    """Phrases whose words last 100 samples each."""
    ledger = PlayoutLedger(1_000)
    for text in phrases:
        ledger.add_segment(text)
        for number, word in enumerate(text.split()):
            ledger.extend(100, [WordTiming(word, 100 * number, 100 * number + 100)])
    if complete:
        ledger.complete_segment()
    return ledger


@pytest.mark.parametrize(("position", "end"), [(0, 200), (150, 200), (250, 600), (599, 600), (650, 700)])
def test_a_clause_ends_with_the_mark_behind_its_word(position: int, end: int) -> None:
    ledger = timed("Well yes, it costs 3.5 euros. ", "Fine.")
    assert ledger.clause_end(position) == pytest.approx(end, abs=5)


def test_a_phrase_without_a_mark_goes_on_in_the_next() -> None:
    assert timed("one two three ", "four, five").clause_end(50) == pytest.approx(400, abs=5)


def test_quotes_and_brackets_close_behind_the_mark() -> None:
    assert timed("He said \u201cgo.\u201d And then?").clause_end(0) == pytest.approx(300, abs=5)


def test_other_scripts_have_marks_of_their_own() -> None:
    ledger = PlayoutLedger(1_000)
    ledger.add_segment("今は、四時です。")
    ledger.extend(800)
    ledger.complete_segment()
    assert ledger.clause_end(0) == pytest.approx(300, abs=40)


def test_what_is_not_made_yet_has_no_end() -> None:
    assert timed("one two", complete=False).clause_end(50) is None
    assert timed("one two.").clause_end(500) is None
    assert PlayoutLedger(1_000).clause_end(0) is None
