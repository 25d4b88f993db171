"""What accompanies audio: words, punctuation, sentences and mouth shapes, at their offsets. Pure.

Offsets and durations are in 100 ns units from the start of the utterance's audio. Source of the shapes: the SDK's
metadata; of the viseme numbers: Azure's viseme table (0 silence to 21 "p, b, m"), here by letter, which is near enough
to move a mouth.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from audio.stt.port import WordTiming
from server.azure_emulator.stt_phrases import spread_words
from server.azure_emulator.tts_session import Wanted

_TOKEN: Final = re.compile(r"[\w'\u2019-]+|[^\w\s]+")
_SENTENCE: Final = re.compile(r"[^.!?]+[.!?]*\s*")
_LETTERS: Final = {
    **dict.fromkeys("a", 1),
    **dict.fromkeys("e", 4),
    **dict.fromkeys("i", 6),
    **dict.fromkeys("o", 8),
    **dict.fromkeys("uw", 7),
    **dict.fromkeys("r", 13),
    **dict.fromkeys("l", 14),
    **dict.fromkeys("szx", 15),
    **dict.fromkeys("j", 16),
    **dict.fromkeys("fv", 18),
    **dict.fromkeys("dtn", 19),
    **dict.fromkeys("kgqc", 20),
    **dict.fromkeys("pbm", 21),
    **dict.fromkeys("hy", 12),
}
TICKS_PER_S: Final = 10_000_000

Event = tuple[int, str, dict[str, Any]]
"""Offset in ticks, type, data."""


def phrase_events(
    text: str, words: tuple[WordTiming, ...], begins: int, rate_hz: int, wanted: Wanted
) -> Iterator[Event]:
    """The events of one spoken phrase, by offset. ``words`` are timed from the phrase; ``begins`` is in its samples."""
    events = [*_sentences(text, words, wanted), *_tokens(words, wanted), *_visemes(words, wanted)]
    scaled = [
        (_ticks(begins + start, rate_hz), _ticks(end - start, rate_hz), kind, data) for start, end, kind, data in events
    ]
    for offset, duration, kind, data in sorted(scaled, key=lambda event: (event[0], _RANK[event[2]])):
        if kind == "Viseme":
            yield offset, kind, {"Offset": offset, **data, "IsLastAnimation": True}  # else the SDK waits for more
        else:
            yield offset, kind, {"Offset": offset, "Duration": duration, "text": data}


_RANK: Final = {"SentenceBoundary": 0, "WordBoundary": 1, "Viseme": 2}
_Timed = tuple[int, int, str, dict[str, Any]]


def _tokens(words: tuple[WordTiming, ...], wanted: Wanted) -> Iterator[_Timed]:
    if not wanted.words and not wanted.punctuation:
        return
    for word in words:
        tokens = _TOKEN.findall(word.text)
        for part in spread_words(tokens, word.start_sample, word.end_sample):
            is_word = part.text[0].isalnum() or part.text[0] == "_"
            if wanted.words if is_word else wanted.punctuation:
                kind = "WordBoundary" if is_word else "PunctuationBoundary"
                data = {"Text": part.text, "Length": len(part.text), "BoundaryType": kind}
                yield part.start_sample, part.end_sample, "WordBoundary", data


def _sentences(text: str, words: tuple[WordTiming, ...], wanted: Wanted) -> Iterator[_Timed]:
    if not wanted.sentences or not words:
        return
    at = 0
    for sentence in _SENTENCE.findall(text):
        count = len(sentence.split())
        inside = words[at : at + count]
        at += count
        if inside:
            said = sentence.strip()
            data = {"Text": said, "Length": len(said), "BoundaryType": "SentenceBoundary"}
            yield inside[0].start_sample, inside[-1].end_sample, "SentenceBoundary", data


def _visemes(words: tuple[WordTiming, ...], wanted: Wanted) -> Iterator[_Timed]:
    if not wanted.visemes:
        return
    for word in words:
        letters = [letter for letter in word.text.lower() if letter in _LETTERS]
        for part in spread_words(letters, word.start_sample, word.end_sample):
            yield part.start_sample, part.end_sample, "Viseme", {"VisemeId": _LETTERS[part.text]}


def _ticks(samples: int, rate_hz: int) -> int:
    return samples * TICKS_PER_S // rate_hz
