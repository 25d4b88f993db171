"""Cuts a reply into pieces for a voice that speaks while the text is still being written: as early as is safe.

Pure and incremental. A piece ends between two plain words, or where a phrase ends (``agents.loop.phrases``). What is
read otherwise than it is written (numbers with their units, abbreviations, markup, addresses) is never cut in two, so
the pieces, each made ``speakable`` by itself, say what the whole phrase would say. For a voice that keeps words back
until it has a sentence, the first phrase is left whole: that it begins at once. Driven by the turn.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from agents.loop.phrases import Phrase, PhraseSplitter

_LAST_GAP: Final = re.compile(r"(\S+)( +)(\S+)\s*$")
_PLAIN: Final = re.compile(r"[\"'“‘«(]*[^\W\d_]+(?:['’-][^\W\d_]+)*[,;:!?]*[\"'”’»)]*")
_OPENING: Final = "\"'“‘«("


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the reply, raw, with the spaces that follow it. ``ends_phrase``: a readable line ends with it."""

    text: str
    ends_phrase: bool


class PieceCutter:
    """Cuts one reply. ``feed`` its deltas, then ``flush``; the pieces put together are the text."""

    def __init__(self, locale: str = "en-US", *, first_whole: bool = False) -> None:
        self._phrases = PhraseSplitter(locale)
        self._cuts = not first_whole
        """Whether pieces may be given out yet."""
        self._given = 0
        """Characters of the phrase in the making that have been given out."""
        self._line = ""
        """The first character of the line in which the phrase in the making begins."""

    def feed(self, delta: str) -> list[Phrase | Piece]:
        """What is certain now that ``delta`` was added: the first phrase, then pieces."""
        pieces = [self._end_of(phrase) for phrase in self._phrases.feed(delta)]
        if not self._cuts:
            return []
        pending = self._phrases.pending
        cut = self._cut(pending)
        if cut is not None and cut > self._given:
            pieces.append(Piece(pending[self._given : cut], ends_phrase=False))
            self._given = cut
        return [piece for piece in pieces if piece.text]

    def flush(self) -> list[Phrase | Piece]:
        """The reply is over: what remains of it."""
        pieces = [self._end_of(phrase) for phrase in self._phrases.flush()]
        self._line = ""
        return [piece for piece in pieces if piece.text]

    def _end_of(self, phrase: Phrase) -> Phrase | Piece:
        piece = Piece(phrase.text[self._given :], ends_phrase=True) if self._cuts else phrase
        self._line = self._first_of_line(phrase.text)
        self._given = 0
        self._cuts = True
        return piece

    def _first_of_line(self, text: str) -> str:
        """The first character of the line in which ``text`` ends."""
        _, newline, last = text.rpartition("\n")
        return last.lstrip()[:1] if newline else self._line or text.lstrip()[:1]

    def _cut(self, text: str) -> int | None:
        """Where the last word of the phrase begins, if what stands before it can be spoken without it."""
        gap = _LAST_GAP.search(text)
        if gap is None or self._phrases.is_inside or text.rfind("<") > text.rfind(">"):
            return None
        line = self._first_of_line(text)
        if not (line.isalnum() or line in _OPENING):
            return None  # a list, a table, a heading: read as a whole
        return gap.start(3) if _PLAIN.fullmatch(gap[1]) and _begins_plainly(gap[3]) else None


def _begins_plainly(word: str) -> bool:
    """Whether the beginning of a word shows that nothing before it belongs to it: it is none of a name's initials."""
    if not word[0].isalpha():
        return False
    return not word[0].isupper() or (len(word) > 1 and word[1].isalpha())
