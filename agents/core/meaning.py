"""What words say, apart from how they are written: whether a better transcript changes anything for the reply.

Pure. ``Spelling`` is what a language writes in more than one way, as data (``agents.core.language`` has English's);
``meaning_of`` reads a text by it. Knows words only, not grammar: a word more or another word is another meaning. Driven
by the turn machine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_APOSTROPHES: Final = str.maketrans(dict.fromkeys("’‘ʼ`", "'"))
_THOUSANDS: Final = re.compile(r"(?<=\d)[,'](?=\d{3}\b)")
_WORD: Final = re.compile(r"\d+|[^\W\d_]+(?:'[^\W\d_]+)*")
_RANKED: Final = re.compile(r"\b(\d+)(?:st|nd|rd|th)\b")
_RANK: Final = "rank"


@dataclass(frozen=True, slots=True)
class Spelling:
    """What a language writes in more than one way.

    ``hesitations`` say nothing. ``same`` has for a word the words it stands for ("don't": "do not"). ``numbers`` and
    ``ranks`` are numbers as words; ``factors`` those that multiply what stands before them.
    """

    hesitations: frozenset[str] = frozenset()
    same: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    numbers: Mapping[str, int] = field(default_factory=dict[str, int], hash=False)
    ranks: Mapping[str, int] = field(default_factory=dict[str, int], hash=False)
    factors: Mapping[str, int] = field(default_factory=dict[str, int], hash=False)


def means_other(before: str, after: str, spelling: Spelling) -> bool:
    """Whether ``after`` says something else than ``before``."""
    return meaning_of(before, spelling) != meaning_of(after, spelling)


def meaning_of(text: str, spelling: Spelling) -> tuple[str, ...]:
    """The words of a text without case, punctuation and hesitations, numbers as digits.

    Numbers side by side are one ("four thirty" is "4:30", "five five seven" is "557").
    """
    text = _THOUSANDS.sub("", text.translate(_APOSTROPHES).casefold())
    words = _WORD.findall(_RANKED.sub(rf"\1 {_RANK}", text))
    plain = " ".join(spelling.same.get(word, word) for word in words if word not in spelling.hesitations).split()
    meant: list[str] = []
    at = 0
    while at < len(plain):
        at, word = _number(plain, at, spelling) or (at + 1, plain[at].replace("'", ""))
        if meant and meant[-1].isdigit() and word.isdigit():
            meant[-1] += word
        else:
            meant.append(word)
    return tuple(meant)


def _number(words: list[str], at: int, spelling: Spelling) -> tuple[int, str] | None:
    """The number that begins at ``at``, as digits, and where it ends; with a ``#`` if it is a rank."""
    total = part = 0
    begun = at
    while at < len(words):
        word = words[at]
        value = spelling.numbers.get(word, spelling.ranks.get(word))
        factor = spelling.factors.get(word)
        if factor is not None and (part or at == begun):
            part = (part or 1) * factor
            if factor >= 1_000:
                total, part = total + part, 0
        elif value is not None and _joins(value, part, first=at == begun):
            part += value
            if word in spelling.ranks:
                return at + 1, f"{total + part}#"
        elif at > begun and word == "and" and at + 1 < len(words) and _follows(words[at + 1], part or total, spelling):
            pass
        else:
            break
        at += 1
    if at > begun:
        return at, str(total + part)
    if words[at].isdigit():
        ranked = at + 1 < len(words) and words[at + 1] == _RANK
        return (at + 2, f"{int(words[at])}#") if ranked else (at + 1, words[at])
    return None


def _joins(value: int, part: int, *, first: bool) -> bool:
    """Whether a number goes on with ``value``: "twenty five" does, "four thirty" are two."""
    if first:
        return True
    place = 10 if 0 < value < 10 else 100
    return value > 0 and part % place == 0 and part % 100 != 10


def _follows(word: str, before: int, spelling: Spelling) -> bool:
    """Whether "and" stands inside a number: "two hundred and five"."""
    return before >= 100 and before % 100 == 0 and (word in spelling.numbers or word in spelling.ranks)
