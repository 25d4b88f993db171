"""Cuts a reply into phrases while it is still being written, so that speech can begin with its first clause.

Pure and incremental: what comes out depends on the text alone, never on how it was cut into deltas, and the phrases
put together are the text. A decision about a border waits for the next word's first character, so it is never taken
back. Numbers, abbreviations, addresses, ellipses, quotations, brackets and markup stay whole. Driven by the turn;
language data lives in ``agents.loop.phrase_rules``.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Final, Literal

from agents.loop.phrase_rules import (
    ABBREVIATIONS,
    CLAUSE_ENDS,
    CLINGING,
    CLOSERS,
    CLOSING,
    CLOSING_MARKUP,
    GLUED,
    LADDER,
    LETTER_POINTS,
    LIST_NUMBER,
    NUMBER_END,
    NUMBERED,
    OPENING_MARKUP,
    ORDINAL_POINT_LANGUAGES,
    PAIRS,
    SENTENCE_ENDS,
    TITLES,
    WIDE_ENDS,
    WIDE_SCRIPT,
)

Border = Literal["sentence", "clause", "words", "end"]

MAX_PHRASE_CHARS: Final = 1_000
"""Whatever it is, it is cut here, so that memory is bounded."""
_STRIPPED: Final = "".join(CLOSERS)
_CLOSING_BRACKETS: Final = frozenset(PAIRS.values())
_OPENING: Final = "\"'([{“‘«*_~"
_BEFORE_WIDE_BORDER: Final = WIDE_ENDS | CLOSERS
_PICTORIAL: Final = frozenset({"So", "Sk", "Cf", "Mn"})
"""Unicode categories of emoji and of what modifies and joins them."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """A stretch of the reply, raw, with the spaces that follow it. ``border`` says why it ends where it does."""

    text: str
    border: Border


class PhraseSplitter:
    """Cuts one reply. ``feed`` its deltas, then ``flush``; the splitter is then ready for another."""

    def __init__(self, locale: str = "en-US") -> None:
        self._ordinal_points = locale.split("-", maxsplit=1)[0].lower() in ORDINAL_POINT_LANGUAGES
        self._text = ""
        self._reset()

    def feed(self, delta: str) -> list[Phrase]:
        """The phrases that are certain now that ``delta`` was added."""
        self._text += delta
        phrases: list[Phrase] = []
        while self._position < len(self._text):
            border = self._step(self._text[self._position])
            if border is not None:
                phrases.append(self._cut(border))
            else:
                self._position += 1
        return phrases

    @property
    def pending(self) -> str:
        """The phrase in the making; no border is in it."""
        return self._text

    @property
    def is_inside(self) -> bool:
        """Whether its last whole word leaves a quotation, bracket, emphasis or code open."""
        return self._nest.open

    def flush(self) -> list[Phrase]:
        """The reply is over: what remains of it."""
        rest, self._text = self._text, ""
        self._reset()
        return [Phrase(rest, "end")] if rest else []

    def _reset(self) -> None:
        self._spoken = 0
        self._begin()

    def _begin(self) -> None:
        """At the start of a phrase."""
        self._position = 0
        self._word_start = 0
        self._word_end: int | None = None
        """Where the current word's characters end, once a space or a wide border followed it."""
        self._words = 0
        self._wide = 0
        self._content = ""
        """The last word that is more than decoration."""
        self._nest = _Nest()

    def _cut(self, border: Border) -> Phrase:
        phrase = Phrase(self._text[: self._position], border)
        self._text = self._text[self._position :]
        self._spoken += 1
        self._begin()
        return phrase

    def _step(self, char: str) -> Border | None:
        """Look at the character at ``_position``; a border if the phrase ends before it."""
        if self._position >= MAX_PHRASE_CHARS:
            return "words"
        if char.isspace():
            if self._word_end is None and self._position > self._word_start:
                self._word_end = self._position
            return None
        if self._word_end is None and self._wide_border_before(char):
            self._word_end = self._position
        if self._word_end is None:
            return None
        return self._next_word(char)

    def _next_word(self, char: str) -> Border | None:
        """``char`` begins another word: judge the one before it."""
        word = self._text[self._word_start : self._word_end]
        gap = self._text[self._word_end : self._position]
        line_start = self._starts_line()
        self._count(word)
        self._nest.read(word)
        self._word_start, self._word_end = self._position, None
        if "\n" in gap:
            self._nest.end_of_line()
        if _core(word):
            self._content = word
        if char in GLUED or _is_pictorial(char):
            return None
        return self._judge(gap, char, line_start=line_start)

    def _starts_line(self) -> bool:
        before = self._text[: self._word_start].rstrip(" \t")
        return not before or before.endswith("\n")

    def _count(self, word: str) -> None:
        wide = len(WIDE_SCRIPT.findall(word))
        self._wide += wide
        if not wide and any(char.isalnum() for char in word):
            self._words += 1

    def _judge(self, gap: str, char: str, *, line_start: bool) -> Border | None:
        limits = LADDER[min(self._spoken, len(LADDER) - 1)]
        words = self._words + self._wide // 2
        chars = self._position - len(gap) + self._wide
        overlong = words >= 2 * limits.max_words  # whatever is open was never closed
        if not words or (self._nest.open and not overlong):
            return None
        border = self._border_after(char, line_start=line_start)
        if "\n" in gap and border != "list":
            border = "sentence"
        if border == "sentence" and chars >= limits.sentence_chars:
            return "sentence"
        if border in {"sentence", "clause"} and (words >= limits.clause_words or chars >= limits.clause_chars):
            return "clause"
        clings = words < 3 * limits.max_words and _clings(self._content, char)
        if gap and words >= limits.max_words and not clings:
            return "words"
        return None

    def _border_after(self, char: str, *, line_start: bool) -> Literal["sentence", "clause", "none", "list"]:
        """What the last word that says anything ends, when ``char`` comes next."""
        core = _core(self._content)
        if not core:
            return "none"
        if line_start and (LIST_NUMBER.match(self._content) or core in {"-", "--"}):
            return "list"
        last = core[-1]
        if last in CLAUSE_ENDS or core in {"-", "--"}:
            return "clause"
        if last not in SENTENCE_ENDS:
            return "none"
        if core.endswith(("..", "…")):
            return "sentence" if char.isupper() else "clause"
        if last == ".":
            return self._after_point(core[:-1].lstrip(_OPENING), char)
        return "clause" if char.islower() else "sentence"

    def _after_point(self, stem: str, char: str) -> Literal["sentence", "clause", "none"]:
        """What the single point after ``stem`` ends, if anything."""
        lower = stem.lower()
        if lower in CLOSING:
            return "sentence" if char.isupper() and lower not in {"u.s", "u.k"} else "none"
        if lower in NUMBERED and char.isdigit():
            return "none"
        if lower in TITLES or lower in ABBREVIATIONS or LETTER_POINTS.match(stem):
            return "none"
        if len(stem) == 1 and stem.isalpha() and stem.isupper():
            return "none"
        if stem.isdigit() and len(stem) <= 2 and self._ordinal_points:
            return "none"
        return "clause" if char.islower() else "sentence"

    def _wide_border_before(self, char: str) -> bool:
        """Whether the current word ends right here, without a space, at a wide border such as ``。`` or a dash."""
        if char in WIDE_ENDS or char in CLOSERS:
            return False
        if self._position == self._word_start or self._text[self._position - 1] not in _BEFORE_WIDE_BORDER:
            return False
        written = self._text[self._word_start : self._position].rstrip(_STRIPPED)
        if len(written) < 2 or written[-1] not in WIDE_ENDS or "://" in written:
            return False
        return not char.isdigit() or written[-1] in SENTENCE_ENDS


def _core(word: str) -> str:
    """A word without what closes or decorates it: quotation marks, brackets, markup, emoji."""
    end = len(word)
    while end and (word[end - 1] in CLOSERS or _is_pictorial(word[end - 1])):
        end -= 1
    return word[:end]


def _is_pictorial(char: str) -> bool:
    return not char.isascii() and unicodedata.category(char) in _PICTORIAL


def _clings(word: str, char: str) -> bool:
    """Whether a cut after ``word`` would sound wrong: after "the" or "Dr.", between a number and what it counts."""
    bare = word.strip(_STRIPPED + _OPENING)
    if bare.lower() in CLINGING or bare.endswith("."):
        return True
    return bool(NUMBER_END.search(bare)) or bare[-1:] in "$€£¥#+" or (char.isdigit() and not bare[-1:].isalpha())


class _Nest:
    """What is open at a word's end: quotation marks, brackets, emphasis, code."""

    def __init__(self) -> None:
        self._stack: list[str] = []
        self._fence = False

    @property
    def open(self) -> bool:
        return self._fence or bool(self._stack)

    def read(self, word: str) -> None:
        """Take the next word."""
        if "```" in word:
            self._fence ^= bool(word.count("```") % 2)
            self._stack.clear()
            return
        if self._fence:
            return
        opening = OPENING_MARKUP.match(word)
        closing = CLOSING_MARKUP.search(word)
        if opening and "`" not in self._stack:
            self._stack.append(opening[1])
        before = ""
        for char in word:
            self._read_char(char, before)
            before = char
        if closing and closing[1] in self._stack:
            del self._stack[self._stack.index(closing[1]) :]

    def end_of_line(self) -> None:
        """Nothing but fenced code goes on over a line's end."""
        self._stack.clear()

    def _read_char(self, char: str, before: str) -> None:
        in_code = self._stack[-1:] == ["`"]
        if char == "`":
            self._toggle("`")
        elif in_code:
            return
        elif char == '"':
            if '"' in self._stack or not before.isdigit():  # else it means inches
                self._toggle('"')
        elif char in PAIRS:
            if before not in {":", ";"}:  # else it is a face
                self._stack.append(PAIRS[char])
        elif char in _CLOSING_BRACKETS and char in self._stack:
            del self._stack[self._stack.index(char) :]

    def _toggle(self, mark: str) -> None:
        if mark in self._stack:
            del self._stack[self._stack.index(mark) :]
        else:
            self._stack.append(mark)
