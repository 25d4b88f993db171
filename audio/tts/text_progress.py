"""The text of one stream of speech: how far it has been spoken, and whether audio is due for it.

Owns the text as it was written to an engine and the position up to which its words have sounded, found by the words
the engine tells. Pure. Driven by text streams, by who takes over from one, and by ``agents.core.streamed_reply``.
"""

from __future__ import annotations

import re
from typing import Final

_SENTENCE: Final = re.compile(r"[.!?…।؟۔][)\]\"'”’»]*\s+\S|[。！？]")
_WORD_END: Final = re.compile(r"[\s.!?…;:,)\]\"'”’»।؟۔،。！？；，、]*")
"""What follows a word and is not spoken: its point, a space."""
_MOST_HELD: Final = 240
"""Characters an engine may keep to itself, waiting for the end of a sentence."""
_REACH: Final = 48
"""How far ahead of what was said the next word is looked for: engines say "twenty" where the text has "20"."""


class TextProgress:
    """Positions are characters of everything written."""

    def __init__(self, text: str = "") -> None:
        self.text = text
        self.at = 0
        """Up to here it has been said."""
        self.finished = False
        self._reach = _REACH

    @property
    def rest(self) -> str:
        """What has not been said."""
        return self.text[self.at :]

    @property
    def next_at(self) -> int:
        """Where what is to be said next begins: behind the point and the space that end what was said."""
        match = _WORD_END.match(self.text, self.at)
        return self.at if match is None else match.end()

    @property
    def owes_audio(self) -> bool:
        """Whether an engine should be speaking: it has a whole sentence to say, a lot of text, or all of it.

        While text is still being written, an engine may wait for the rest of a sentence.
        """
        if self.finished:
            return True
        begins = self.next_at
        return len(self.text) - begins > _MOST_HELD or _SENTENCE.search(self.text, begins) is not None

    def wrote(self, text: str) -> None:
        """More text follows."""
        self.text += text

    def said(self, word: str) -> int | None:
        """The next word has sounded. Returns where it ends; ``None`` where the text has no such word nearby."""
        word = word.strip()
        found = self._find(word) if word else None
        if found is None:
            self._reach += len(word) + 1
            return None
        self._reach = _REACH
        self.at = found + len(word)
        return self.at

    def skip_to(self, at: int) -> None:
        """All before this position has been said."""
        self.at = max(self.at, at)

    def _find(self, word: str) -> int | None:
        last = self.at + self._reach + len(word)
        anywhere = self.text.find(word, self.at, last)
        found = anywhere
        while found >= 0 and not self._is_whole(found, found + len(word)):
            found = self.text.find(word, found + 1, last)
        found = anywhere if found < 0 else found  # scripts without spaces
        return None if found < 0 else found

    def _is_whole(self, start: int, end: int) -> bool:
        before = start > 0 and self.text[start - 1].isalnum() and self.text[start].isalnum()
        after = end < len(self.text) and self.text[end].isalnum() and self.text[end - 1].isalnum()
        return not before and not after


def whole(text: str) -> TextProgress:
    """Text to which nothing is added."""
    progress = TextProgress(text)
    progress.finished = True
    return progress
