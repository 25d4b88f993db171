"""The bodies of recognition messages, as Azure Speech shapes them. Pure.

Offsets and durations are in 100 ns units and count from the start of the turn's audio; the client adds where the turn
stood. Samples are at 16 kHz.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from audio.formats import HEARING_RATE_HZ
from audio.stt.port import Transcript, WordTiming
from server.azure_emulator.stt_request import SttRequest

TICKS_PER_SAMPLE: Final = 10_000_000 // HEARING_RATE_HZ
_CONFIDENCE: Final = 0.9
_EDGE_PUNCTUATION: Final = re.compile(r"^[^\w]+|[^\w]+$")


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the turn's audio, in samples."""

    start: int
    end: int

    @property
    def ticks(self) -> dict[str, int]:
        """As messages say it."""
        start, end = max(0, self.start), max(0, self.start, self.end)
        return {"Offset": start * TICKS_PER_SAMPLE, "Duration": (end - start) * TICKS_PER_SAMPLE}


def hypothesis_body(identity: str, text: str, span: Span, language: str | None) -> dict[str, Any]:
    """``speech.hypothesis``: what was understood so far."""
    return {"Id": identity, "Text": text, **span.ticks, "Channel": 0, **_language(language)}


def unheard_body(identity: str, status: str, span: Span) -> dict[str, Any]:
    """``speech.phrase`` without words: NoMatch, InitialSilenceTimeout, EndOfDictation, Error and others."""
    return {"Id": identity, "RecognitionStatus": status, **span.ticks, "Channel": 0}


def phrase_body(
    identity: str, transcript: Transcript, request: SttRequest, language: str | None, span: Span
) -> dict[str, Any]:
    """``speech.phrase`` with words: simple, or with one alternative and its words."""
    body: dict[str, Any] = {
        "Id": identity,
        "RecognitionStatus": "Success",
        "DisplayText": transcript.text,
        **span.ticks,
        "Channel": 0,
        **_language(language),
    }
    if request.detailed:
        body["NBest"] = [_alternative(transcript, request, span)]
    return body


def _alternative(transcript: Transcript, request: SttRequest, span: Span) -> dict[str, Any]:
    confidence = _CONFIDENCE if transcript.confidence is None else transcript.confidence
    lexical = " ".join(word for word in map(plain, transcript.text.split()) if word)
    best: dict[str, Any] = {
        "Confidence": round(confidence, 4),
        "Lexical": lexical,
        "ITN": lexical,
        "MaskedITN": lexical,
        "Display": transcript.text,
    }
    if request.word_timings or request.word_confidence:
        timed = transcript.words or spread_words(transcript.text.split(), span.start, span.end)
        best["Words"] = [_word(word, request, confidence) for word in timed if plain(word.text)]
    return best


def _word(word: WordTiming, request: SttRequest, of_phrase: float) -> dict[str, Any]:
    body: dict[str, Any] = {"Word": plain(word.text)}
    if request.word_timings:
        body |= Span(word.start_sample, word.end_sample).ticks
    if request.word_confidence:
        body["Confidence"] = round(of_phrase if word.confidence is None else word.confidence, 4)
    return body


def _language(language: str | None) -> dict[str, Any]:
    return {} if language is None else {"PrimaryLanguage": {"Language": language, "Confidence": "High"}}


def plain(word: str) -> str:
    """A word as it is in a lexicon: lower case, without the punctuation around it."""
    return _EDGE_PUNCTUATION.sub("", word).lower()


def spread_words(words: list[str], start: int, end: int) -> tuple[WordTiming, ...]:
    """Timings for engines that give none: words share the span by their length, in order and without gaps."""
    weights = [len(word) + 1 for word in words]
    total, done, timed = sum(weights), 0, list[WordTiming]()
    for word, weight in zip(words, weights, strict=True):
        begins = start + (end - start) * done // total
        done += weight
        timed.append(WordTiming(word, begins, start + (end - start) * done // total))
    return tuple(timed)
