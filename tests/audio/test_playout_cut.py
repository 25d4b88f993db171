"""The playout ledger of speech that is cut off where sending has come to."""

from __future__ import annotations

from audio.playout import PlayoutLedger
from audio.stt.port import WordTiming

RATE = 1_000


def spoken(ledger: PlayoutLedger, text: str, samples: int) -> None:
    ledger.add_segment(text)
    words, at = text.split(), 0
    for number, word in enumerate(words, 1):
        end = samples * number // len(words)
        ledger.extend(end - at, [WordTiming(word, at, end)])
        at = end


def test_words_that_were_not_sent_are_no_part_of_it() -> None:
    ledger = PlayoutLedger(RATE)
    spoken(ledger, "one two three four ", 400)
    spoken(ledger, "five six.", 200)
    ledger.sent(250, 0)
    ledger.cut()
    assert (ledger.synthesized_samples, ledger.full_text) == (250, "one two")
    ledger.add_segment(" Sorry.")
    ledger.extend(100)
    ledger.complete_segment()
    ledger.sent(100, 250)
    assert ledger.heard_text(ledger.heard_samples(1_000)) == "one two Sorry."


def test_a_phrase_that_was_sent_to_its_end_stays_whole() -> None:
    ledger = PlayoutLedger(RATE)
    spoken(ledger, "one two. ", 200)
    spoken(ledger, "three", 100)
    ledger.sent(200, 0)
    ledger.cut()
    assert ledger.full_text == "one two. "
    assert ledger.heard_text(200) == "one two. "


def test_nothing_sent_leaves_nothing() -> None:
    ledger = PlayoutLedger(RATE)
    spoken(ledger, "one two", 200)
    ledger.cut()
    assert (ledger.full_text, ledger.synthesized_samples) == ("", 0)
