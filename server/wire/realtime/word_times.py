"""When the words of a spoken phrase are heard. Pure.

A phrase's place in the audio is exact; between its words time is shared out by their length, spaces and punctuation
counted, as nothing better is known of voices that give no word times.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_UNSPACED: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Kana and ideographs, written without spaces: each counts as a word."""
_WORD: Final = re.compile(rf"[{_UNSPACED}][^\w\s]*|[^\s{_UNSPACED}]+")


@dataclass(frozen=True, slots=True)
class TimedWord:
    """One word, its punctuation with it. Times in ms of the turn's audio."""

    text: str
    start_ms: int
    end_ms: int


def timed_words(text: str, start_ms: int, end_ms: int) -> list[TimedWord]:
    """The words of a phrase that sounds from ``start_ms`` to ``end_ms``: in order, within it, without gaps inside."""
    spans = [match.span() for match in _WORD.finditer(text)]
    if not spans:
        return []
    first, last = spans[0][0], spans[-1][1]
    starts = [start_ms + (end_ms - start_ms) * (start - first) // (last - first) for start, _ in spans]
    ends = [*starts[1:], end_ms]
    return [
        TimedWord(text[slice(*span)], *times) for span, times in zip(spans, zip(starts, ends, strict=True), strict=True)
    ]
