"""Spoken arithmetic as an expression: "twelve times seven" -> ``12 * 7``.

Pure, English. All or nothing: a single word that is not arithmetic and it is no arithmetic. Driven by
``agents.loop.router``; the expression is for ``agents.tools.calculator``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_SMALL: Final[Mapping[str, int]] = {
    word: value
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen".split()
    )
} | {
    word: value * 10
    for value, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), start=2)
}
_LARGE: Final[Mapping[str, int]] = {"thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
_PHRASES: Final = (
    ("multiplied by", "*"),
    ("divided by", "/"),
    ("to the power of", "^"),
    ("raised to the power of", "^"),
    ("to the power", "^"),
    ("percent of", "% of"),
    ("per cent of", "% of"),
    ("the square root of", "sqrt"),
    ("square root of", "sqrt"),
    ("a half of", "0.5 *"),
    ("half of", "0.5 *"),
)
_WORDS: Final[Mapping[str, str]] = {
    "plus": "+",
    "and": "and",
    "minus": "-",
    "less": "-",
    "times": "*",
    "x": "*",
    "over": "/",
    "squared": "^ 2",
    "cubed": "^ 3",
    "percent": "%",
    "negative": "-",
    "point": ".",
    "of": "of",
    "sqrt": "sqrt",
    "mod": "%",
    "modulo": "%",
}
_PIECE: Final = re.compile(r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|[a-z]+|\*\*|[-+*/^%().×÷−]")
_OPERATOR: Final = re.compile(r"\d\S*\s*(?:[-+*/^×÷−]|% of|%\s+\d)|^sqrt")


def to_expression(words: str) -> str | None:
    """The expression that ``words`` speak, or ``None`` where they are not arithmetic with at least one operation."""
    text = re.sub(r"(?<=[a-z])-(?=[a-z])", " ", words.lower())
    for phrase, symbol in _PHRASES:
        text = re.sub(rf"\b{phrase}\b", f" {symbol} ", text)
    pieces = _PIECE.findall(text)
    if "".join(pieces) != re.sub(r"\s+", "", text):
        return None
    parts: list[str] = []
    number = _SpokenNumber()
    for piece in pieces:
        if number.take(piece):
            continue
        if number.started:
            parts.append(number.finish())
        symbol = _WORDS.get(piece, "" if piece.isalpha() else piece)
        if not symbol or symbol in {"and", "."}:
            return None
        parts.append(symbol)
    if number.started:
        parts.append(number.finish())
    expression = " ".join(parts)
    return expression if _OPERATOR.search(expression) else None


class _SpokenNumber:
    """Adds up the words of one number: "two hundred and five", "three point one four"."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.started = False
        self._written: str | None = None
        self._whole = 0
        self._group = 0
        self._last = ""
        self._decimals: str | None = None

    def take(self, piece: str) -> bool:
        """Add a word; False where it does not belong to this number."""
        taken = self._take_digits(piece) if piece[0].isdigit() else self._take_word(piece)
        if taken:
            self.started = True
            self._last = piece
        return taken

    def _take_digits(self, piece: str) -> bool:
        if self.started:
            return False
        self._written = piece.replace(",", "")
        return True

    def _take_word(self, word: str) -> bool:
        if word == "point" and self.started and self._decimals is None and self._written is None:
            self._decimals = ""
            return True
        if self._decimals is not None:
            digit = _SMALL.get(word, 10)
            self._decimals += str(digit) if digit < 10 else ""
            return digit < 10
        if self._written is not None:
            return self._scale_written(word)
        if word in _SMALL:
            return self._add_small(_SMALL[word])
        if word == "hundred" and 0 < self._group < 100:
            self._group *= 100
            return True
        if word in _LARGE and self._group:
            self._whole += self._group * _LARGE[word]
            self._group = 0
            return True
        return word == "and" and self._last in {"hundred", *_LARGE}

    def _scale_written(self, word: str) -> bool:
        """ "5 million"."""
        if word not in _LARGE or self._last in _LARGE:
            return False
        self._written = f"({self._written} * {_LARGE[word]})"
        return True

    def _add_small(self, value: int) -> bool:
        if self.started and not self._room_for(value):
            return False
        self._group += value
        return True

    def _room_for(self, value: int) -> bool:
        """Whether a number may go on with ``value``: "twenty one", but not "one twenty"."""
        if self._last in {"hundred", "and", *_LARGE}:
            return True
        return self._group % 100 >= 20 and self._group % 10 == 0 and 0 < value < 10

    def finish(self) -> str:
        """The number's digits; then it starts over."""
        if self._written is not None:
            digits = self._written
        else:
            digits = str(self._whole + self._group) + (f".{self._decimals}" if self._decimals else "")
        self._clear()
        return digits
