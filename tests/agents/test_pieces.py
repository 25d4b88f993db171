"""Pieces of a reply for a voice that streams: early, safe to speak one by one, and together the text."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.loop.phrases import Phrase, PhraseSplitter
from agents.loop.pieces import Piece, PieceCutter
from agents.loop.speakable import speakable

TOKENS = (
    "I the Paris walk you're well-known Yes, No. 5 5 3.5 $5 $5.50 million km km/h 10 a.m. pm 10:30 5% - – & + = x 2 J. "
    "R. F. Kennedy Dr. Smith e.g. etc. U.S. 555-123-4567 2024-05-01 1st **bold** **two words** `code here` "
    '[a link](http://x.y) http://a.b/c me@x.org (in brackets) "quoted words" _it is_ <b>tag</b> <a < > ~5 1/2 and/or '
    "日本語。 naïve … ... ? ! \n \n\n - * # | ``` 1. 90s # ° m² 5°C 5 ° §5 10–12 a.m p.m. AM A.M. 3rd McDonald O'Neil "
    "ft min h L"
).split(" ")
REPLY = "I can tell you about the weather in Paris, which is lovely this time of the year, and about the trains."


def pieces_of(text: str, cuts: list[int] | None = None, *, first_whole: bool = False) -> list[tuple[str, bool]]:
    cutter = PieceCutter(first_whole=first_whole)
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts or range(len(text)))})
    found = [cutter.feed(text[start:end]) for start, end in pairwise(places)]
    return [(part.text, getattr(part, "ends_phrase", True)) for each in [*found, cutter.flush()] for part in each]


def phrases_of(pieces: list[tuple[str, bool]]) -> list[list[str]]:
    phrases: list[list[str]] = [[]]
    for text, ends in pieces:
        phrases[-1].append(text)
        if ends:
            phrases.append([])
    return [phrase for phrase in phrases if phrase]


def test_plain_words_are_given_out_as_soon_as_the_next_one_begins() -> None:
    cutter = PieceCutter()
    assert [piece.text for piece in cutter.feed("I can tell yo")] == ["I can tell "]
    assert cutter.feed("u") == []
    assert [piece.text for piece in cutter.feed(" a")] == ["you "]


def test_it_does_not_matter_on_which_side_of_a_word_its_space_comes() -> None:
    cutter = PieceCutter()
    pieces = [piece.text for word in ("I ", "can ", "tell ", "you ") for piece in cutter.feed(word)]
    assert pieces == ["I ", "can ", "tell "]


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("it is 5 km from here", "5 km "),
        ("it costs $5.50 million today", "$5.50 million "),
        ("meet at 10 a.m. in Rome", "10 a.m. "),
        ("it was John F. Kennedy who said", "John F. Kennedy "),
        ("call 555 123 4567 right now", "555 123 4567 "),
        ("say **two words** to me", "**two words** "),
        ("see [the whole page](http://x.y) over there", "[the whole page](http://x.y) "),
        ("run `ls -l here` and see", "`ls -l here` "),
    ],
)
def test_what_belongs_together_is_one_piece(text: str, whole: str) -> None:
    assert any(whole in piece for piece, _ in pieces_of(text)), pieces_of(text)


@pytest.mark.parametrize("text", ["| a b c | d e f |\n", "- milk and eggs for you", "# a heading of words"])
def test_a_line_of_markup_is_cut_where_its_phrases_end(text: str) -> None:
    phrases = [phrase.text for splitter in [PhraseSplitter()] for phrase in (*splitter.feed(text), *splitter.flush())]
    assert [piece for piece, _ in pieces_of(text)] == phrases


def test_a_long_sentence_begins_long_before_it_ends() -> None:
    pieces = pieces_of(REPLY)
    assert len(pieces[0][0]) < 12
    assert len(pieces) > 15


@given(st.lists(st.sampled_from(TOKENS), max_size=14), st.lists(st.integers(0, 200), max_size=8))
def test_pieces_say_what_their_phrases_say(tokens: list[str], cuts: list[int]) -> None:
    text = " ".join(tokens)
    pieces = pieces_of(text, cuts or None)
    assert "".join(piece for piece, _ in pieces) == text
    for phrase in phrases_of(pieces):
        said = " ".join(part for piece in phrase if (part := speakable(piece)))
        assert said == speakable("".join(phrase)), phrase


@given(st.lists(st.sampled_from(TOKENS), max_size=14), st.lists(st.integers(0, 200), max_size=8))
def test_phrases_of_pieces_are_the_splitters_phrases(tokens: list[str], cuts: list[int]) -> None:
    text = " ".join(tokens)
    splitter = PhraseSplitter()
    wanted = [phrase.text for phrase in (*splitter.feed(text), *splitter.flush())]
    assert ["".join(phrase) for phrase in phrases_of(pieces_of(text, cuts or None))] == wanted


def test_for_a_voice_that_waits_for_sentences_the_first_phrase_is_left_whole() -> None:
    cutter = PieceCutter(first_whole=True)
    parts = [*cutter.feed(REPLY), *cutter.flush()]
    first, *rest = [phrase.text for phrase in PhraseSplitter().feed(REPLY)]
    assert isinstance(parts[0], Phrase)
    assert parts[0].text == first
    assert rest
    assert all(isinstance(part, Piece) for part in parts[1:])
    assert len(pieces_of(REPLY, first_whole=True)) > 10
    assert "".join(part.text for part in parts) == REPLY
