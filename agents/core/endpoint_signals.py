"""What a pause's transcript says of the turn: over, open, or something people say in pieces.

Pure functions of text and a language's word lists; knows no voice, no time and no session. Read by
``agents.core.endpoint_wait``, which weighs it against what the voice says.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from agents.core.language import Expected, LanguageRules

_WORD: Final = re.compile(r"[\w'-]+")
_OPEN_MARKS: Final = (",", "-", "–", "—", "...", "…", ":", ";", "、", "，")
_QUESTION: Final = ("?", "？", "؟")
_TERMINAL: Final = (".", "!", "。", "！", "।", *_QUESTION)
_ADDRESS: Final = re.compile(r"\S+@\S+\.[a-z]{2,}\W*$", re.IGNORECASE)
_DIGITS: Final = re.compile(r"[\d\-./ ]*\d[\d\-./ ]*")
_SHORTEST_NUMBER: Final = 3
_LONGEST_PIECE: Final = 3
_FRAGMENT_WORDS: Final = 2


class Reading(Enum):
    """What the words of a pause say, from the surest end to the surest middle."""

    ANSWER = "answer"
    """A whole turn, however short: "yes", "thank you"."""
    QUESTION = "question"
    """It ends as a question."""
    SENTENCE = "sentence"
    """It ends as a sentence."""
    FRAGMENT = "fragment"
    """A word or two that end as a sentence and are no answer: "The conference."; recognisers end what they hear."""
    BARE = "bare"
    """No punctuation: some recognisers write none, others leave it out where the speaker goes on."""
    PIECE = "piece"
    """Part of something said in pieces: digits, letters, an address, a list."""
    DANGLING = "dangling"
    """It stops on a word that wants another, and the recogniser ended it as a sentence all the same."""
    OPEN = "open"
    """It stops where nobody would: "and", "to the", a comma, "um", or has hardly begun."""


def words_of(text: str) -> list[str]:
    """The words of a text, lower-case, without punctuation."""
    words = (word.strip("-").lstrip("'") for word in _WORD.findall(text.lower().replace("’", "'")))
    return [word for word in words if word]


def read(text: str, rules: LanguageRules, expected: Expected | None = None) -> Reading:
    """What a pause's transcript says; ``expected`` is what the agent has just asked for."""
    stripped = text.strip()
    words = words_of(stripped)
    if not words:
        return Reading.BARE
    if " ".join(words) in rules.complete_answers:
        return Reading.ANSWER
    if _address_is_told(stripped, words, rules):
        return Reading.SENTENCE
    open_end = _open_end(stripped, words, rules)
    if open_end is not None:
        return open_end
    if reads_in_pieces(stripped, words, rules, expected):
        return Reading.PIECE
    if stripped.endswith(_QUESTION):
        return Reading.QUESTION
    if not stripped.endswith(_TERMINAL):
        return Reading.BARE
    return Reading.FRAGMENT if len(words) <= _FRAGMENT_WORDS else Reading.SENTENCE


def _open_end(stripped: str, words: list[str], rules: LanguageRules) -> Reading | None:
    if stripped.endswith(_OPEN_MARKS) or all(word in rules.lone_openers for word in words):
        return Reading.OPEN
    if stripped.endswith(_QUESTION) or words[-1] not in rules.unfinished_endings | rules.hesitations:
        return None
    return Reading.DANGLING if stripped.endswith(_TERMINAL) else Reading.OPEN


def reads_in_pieces(stripped: str, words: list[str], rules: LanguageRules, expected: Expected | None = None) -> bool:
    """Whether the text ends in what people say with pauses: digits, spelled letters, an address, items of a list."""
    if expected == "email" or (set(words[-3:]) & rules.dot_words and set(words) & rules.at_words):
        return True
    if expected == "list":
        return not stripped.endswith(_QUESTION)
    if expected is not None and len(words) <= _LONGEST_PIECE:
        return True
    if expected == "number":
        return _counts(words[-1], rules)
    tail = words[-2:]
    return _is_long_number(words[-1]) or (len(words) > 1 and all(_counts(word, rules) for word in tail))


def _address_is_told(stripped: str, words: list[str], rules: LanguageRules) -> bool:
    """Whether an address is whole: "anna@example.com", or a name, the sign, and a last part behind a dot, in words."""
    if _ADDRESS.search(stripped):
        return True
    signs = [at for at, word in enumerate(words) if word in rules.at_words]
    dots = [at for at, word in enumerate(words) if word in rules.dot_words]
    return bool(signs and dots) and 0 < signs[-1] < dots[-1] == len(words) - 2


def _counts(word: str, rules: LanguageRules) -> bool:
    return bool(_DIGITS.fullmatch(word)) or len(word) == 1 or word in rules.enumerating_words


def _is_long_number(word: str) -> bool:
    return bool(_DIGITS.fullmatch(word)) and sum(letter.isdigit() for letter in word) > _SHORTEST_NUMBER


_SENTENCES: Final = re.compile(r"[^.!?。！？]+[.!?。！？]*(?=\s|$)")
_ASKED_WITHIN: Final = 600


def expected_by(said: str, rules: LanguageRules) -> Expected | None:
    """What the agent's last sentence asks for, if it is something people say in pieces."""
    sentences = _SENTENCES.findall(said[-_ASKED_WITHIN:].strip())
    if not sentences:
        return None
    words = words_of(sentences[-1])
    if not sentences[-1].rstrip().endswith((*_QUESTION, "…")) and rules.requests.isdisjoint(words):
        return None
    padded = f" {' '.join(words)} "
    for expected in ("email", "number", "name", "list"):
        phrases = rules.expects.get(expected, frozenset[str]())
        if any(f" {' '.join(words_of(phrase))} " in padded for phrase in phrases):
            return expected
    return None
