"""Text cut to what an engine takes in one go: at sentences, else clauses, else words, else anywhere.

Pure. Driven by the engines of this package, which bound their work with it; the caller's own phrases pass unchanged.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

_UNSPEAKABLE: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff\ufeff\u200b\u200e\u200f\u2028-\u202e]+")
_BORDERS: Final = (re.compile(r"(?<=[.!?…。！？])\s"), re.compile(r"(?<=[,;:—–])\s"), re.compile(r"\s"))
_CLAUSE_ENDS: Final = frozenset(",;:")


def speakable_parts(text: str, max_characters: int) -> Iterator[str]:
    """``text`` in parts of at most ``max_characters``, whitespace collapsed, control characters gone.

    Parts of punctuation alone are left out: there is nothing to say.
    """
    return filter(has_something_to_say, _parts(text, max_characters))


def has_something_to_say(text: str) -> bool:
    """Whether there is a letter, a digit or a symbol (an emoji, a currency sign) beside punctuation and space."""
    return any(unicodedata.category(character)[0] in "LNSM" for character in text)


def _parts(text: str, max_characters: int) -> Iterator[str]:
    rest = _UNSPEAKABLE.sub(" ", text).strip()
    while len(rest) > max_characters:
        cut = _border(rest[: max_characters + 1])
        yield rest[:cut].rstrip()
        rest = rest[cut:].lstrip()
    if rest:
        yield rest


def _border(window: str) -> int:
    """The last good place to cut, not so early that a tiny part comes first."""
    for border in _BORDERS:
        places = [match.start() for match in border.finditer(window) if match.start() >= len(window) // 4]
        if places:
            return places[-1]
    return len(window) - 1


def phoneme_parts(phonemes: Sequence[str], max_phonemes: int) -> Iterator[Sequence[str]]:
    """One sentence's phonemes in parts of at most ``max_phonemes``, cut after a clause, else between words."""
    rest = phonemes
    while len(rest) > max_phonemes:
        window = range(max_phonemes - 1, max_phonemes // 4, -1)
        spaces = [at for at in window if rest[at] == " "]
        clauses = [at for at in spaces if rest[at - 1] in _CLAUSE_ENDS]
        cut = (clauses or spaces or [max_phonemes - 1])[0] + 1
        yield rest[:cut]
        rest = rest[cut:]
    if rest:
        yield rest
