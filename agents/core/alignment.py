"""Which of the reply's own words a streaming voice is saying: the reply raw, what was written to the voice, and how
far it has come in both.

A reply is written to the voice in pieces, each as it should be spoken; the voice tells its words, and they are found
here again. Owns the pieces and the phrases still to be captioned. Pure; positions are characters, times milliseconds.
Driven by ``agents.core.streamed_reply``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from agents.core.speaking import SpokenPhrase
from audio.tts.text_progress import TextProgress


def joined(spoken: str, raw: str) -> str:
    """A piece as it is written behind others: set off like the text it stands for; a line's end is a pause."""
    if not spoken:
        return ""
    space = raw[len(raw.rstrip()) :]
    stop = "." if "\n" in space and spoken[-1].isalnum() else ""
    return f"{spoken}{stop} " if space else spoken


class ReplyAlignment:
    """What one stream says. ``progress`` is the text as it was written to the voice."""

    def __init__(self) -> None:
        self.progress = TextProgress()
        self._raw = ""
        self._ends: list[int] = []
        self._pieces: list[tuple[int, int]] = []
        self._matched = 0

    def add(self, raw: str, spoken: str) -> None:
        """The next piece: ``raw`` of the reply is written as ``spoken``, which is empty where nothing can be said."""
        start = len(self._raw)
        self._raw += raw
        if spoken:
            self.progress.wrote(spoken)
            self._ends.append(len(self.progress.text))
            self._pieces.append((start, start + len(raw.rstrip())))

    def said(self, word: str) -> int | None:
        """The voice has said its next word: how much of the reply that is, in characters; ``None`` where unknown."""
        at = self.progress.said(word)
        if at is None:
            return None
        number = bisect_left(self._ends, at)
        start, end = self._pieces[number]
        if any(char.isalnum() for char in self.progress.text[at : self._ends[number]]):
            word = word.strip()
            found = self._raw.find(word, max(start, self._matched), end)
            if found < 0:
                return None
            end = found + len(word)
        self._matched = end
        return end


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    spoken_end: int


class ReplyCaptions:
    """The phrases of a stream, each told once its last word has been said."""

    def __init__(self, progress: TextProgress) -> None:
        self._progress = progress
        self._lines: deque[_Line] = deque()
        self._open = ""
        self._begun_ms: int | None = None
        self._last_ms = 0

    def add(self, raw: str, *, ends_phrase: bool) -> None:
        """The next piece was written."""
        self._open += raw
        if ends_phrase:
            self._lines.append(_Line(self._open, len(self._progress.text)))
            self._open = ""

    def said(self, start_ms: int, end_ms: int) -> Iterator[SpokenPhrase]:
        """The word at the progress' position sounded from ``start_ms`` to ``end_ms``."""
        at = self._progress.at
        while self._lines and self._lines[0].spoken_end < at:
            yield self._told(start_ms)
        if self._begun_ms is None:
            self._begun_ms = start_ms
        self._last_ms = end_ms
        if self._lines and not _has_words(self._progress.text[at : self._lines[0].spoken_end]):
            yield self._told(end_ms)

    def finish(self, end_ms: int) -> Iterator[SpokenPhrase]:
        """All has been said."""
        if self._open.strip():
            self._lines.append(_Line(self._open, len(self._progress.text)))
        while self._lines:
            yield self._told(end_ms)

    def _told(self, end_ms: int) -> SpokenPhrase:
        line = self._lines.popleft()
        start_ms = self._last_ms if self._begun_ms is None else self._begun_ms
        self._begun_ms, self._last_ms = None, end_ms
        return SpokenPhrase(line.text, min(start_ms, end_ms), end_ms)


def _has_words(text: str) -> bool:
    return any(char.isalnum() for char in text)
