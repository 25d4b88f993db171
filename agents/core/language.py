"""What turn-taking knows of a language: word lists as data, one file per language beside this module.

Owns what the lists mean and that a file is whole; knows no turn and no session. ``agents.core.policy`` carries the
rules; the pure readers of ``agents.core.endpoint_signals`` and ``agents.core.overlap`` use them. A language without a
file gets no words at all: punctuation, digits, the voice and the speaker's own pauses still count there.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal, cast

from agents.core.meaning import Spelling
from agents.core.sentences import ENGLISH, sentences_for

Expected = Literal["number", "email", "name", "list"]
"""What the agent has just asked for, where it matters: people say these in pieces."""

LANGUAGES: Final = ("de", "en", "es", "fr", "it")
"""The languages that have a file."""

_NONE: Final = frozenset[str]()
_ONE_SPELLING: Final = Spelling()


@dataclass(frozen=True, slots=True)
class LanguageRules:
    """Word lists of one language; none by default.

    While the agent speaks: ``backchannels`` are said while listening (at most ``backchannel_max_words`` of them),
    ``interrupters`` to make somebody stop.

    At a pause: ``hesitations`` and ``unfinished_endings`` want another word; ``lone_openers`` do when nothing else was
    said; ``complete_answers`` are whole turns however short. ``enumerating_words`` come with pauses between them; an
    address is said with ``at_words`` and ``dot_words``. ``expects`` tells by an agent's words what it asked for, in a
    question or with one of the ``requests``.

    ``fillers`` are what the agent says when its answer is late; ``silence_note`` tells the model that nobody has said
    anything for long. ``apology`` (answering failed) and ``refusal`` (a content filter forbids the answer) are there in
    more languages than word lists are. ``spelling`` is what may be written in more than one way and means the same.
    """

    backchannels: frozenset[str] = _NONE
    backchannel_max_words: int = 0
    interrupters: frozenset[str] = _NONE
    hesitations: frozenset[str] = _NONE
    unfinished_endings: frozenset[str] = _NONE
    lone_openers: frozenset[str] = _NONE
    complete_answers: frozenset[str] = _NONE
    enumerating_words: frozenset[str] = _NONE
    at_words: frozenset[str] = _NONE
    dot_words: frozenset[str] = _NONE
    requests: frozenset[str] = _NONE
    expects: Mapping[Expected, frozenset[str]] = field(default_factory=dict[Expected, frozenset[str]], hash=False)
    fillers: tuple[str, ...] = ()
    silence_note: str = ""
    apology: str = ENGLISH.apology
    refusal: str = ENGLISH.refusal
    spelling: Spelling = _ONE_SPELLING


def rules_for(locale: str) -> LanguageRules:
    """The rules of a locale's language; a language without a file gets none of another's words."""
    language = locale.replace("_", "-").split("-", maxsplit=1)[0].lower()
    said = sentences_for(language)
    return replace(
        load(language) if language in LANGUAGES else LanguageRules(), apology=said.apology, refusal=said.refusal
    )


@cache
def load(language: str) -> LanguageRules:
    """One language's file. Raises ValueError, naming file and key, where it is not whole."""
    name = f"{language}.toml"
    return parse(files("agents.core").joinpath("languages", name).read_text(encoding="utf-8"), name)


def parse(text: str, name: str) -> LanguageRules:
    """A language's file as rules.

    Lists of words are separated by spaces, lists of phrases (``complete_answers``, ``expects``) by bars. ``[spelling]``
    may be left out, or any part of it: ``numbers`` counts from nought, ``tens`` from twenty, ``ranks`` from the first.

    Raises:
        ValueError: a section or key is missing, unknown or of the wrong kind, or a list is empty or says a word twice.
    """
    try:
        sections: dict[str, dict[str, Any]] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{name}: {error}") from error
    expects = sections.pop("expects", {})
    spelling = _spelling(f"{name}: spelling", sections.pop("spelling", {}))
    values: dict[str, Any] = {}
    for section, keys in _SECTIONS.items():
        found = sections.pop(section, {})
        if set(found) != keys:
            raise ValueError(f"{name}: [{section}] must have exactly {sorted(keys)}, not {sorted(found)}")
        values |= {key: _value(f"{name}: {section}.{key}", key, value) for key, value in found.items()}
    if sections or set(expects) != _EXPECTED:
        raise ValueError(f"{name}: unknown sections {sorted(sections)}, or [expects] without {sorted(_EXPECTED)}")
    values["requests"] = _listed(f"{name}: expects.requests", str(expects.pop("requests")).split())
    values["expects"] = {key: _phrases(f"{name}: expects.{key}", value) for key, value in expects.items()}
    return LanguageRules(**values, spelling=spelling)


_SECTIONS: Final = {
    "overlap": {"backchannels", "backchannel_max_words", "interrupters"},
    "endpoint": {
        "hesitations",
        "unfinished_endings",
        "lone_openers",
        "complete_answers",
        "enumerating_words",
        "at_words",
        "dot_words",
    },
    "speech": {"fillers", "silence_note"},
}
_EXPECTED: Final = {"requests", "number", "email", "name", "list"}


def _value(where: str, key: str, value: object) -> object:
    match key:
        case "backchannel_max_words":
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{where} must be a positive whole number")
            return value
        case "silence_note":
            if not isinstance(value, str) or not value.strip():
                raise ValueError(f"{where} must be a sentence")
            return value
        case "fillers":
            return _sentences(where, value)
        case "complete_answers":
            return _phrases(where, value)
        case _:
            return _listed(where, str(value).split())


def _sentences(where: str, value: object) -> tuple[str, ...]:
    found = cast(list[object], value) if isinstance(value, list) else []
    told = tuple(one for one in found if isinstance(one, str) and one.strip())
    if not told or len(told) != len(found):
        raise ValueError(f"{where} must be a list of sentences")
    return told


def _phrases(where: str, value: object) -> frozenset[str]:
    return _listed(where, [" ".join(one.split()) for one in str(value).split("|")])


def _listed(where: str, listed: list[str]) -> frozenset[str]:
    twice = sorted({one for one in listed if listed.count(one) > 1})
    if not listed or twice or any(not one or one != one.lower() for one in listed):
        raise ValueError(f"{where} must list lower-case words, each once (twice: {twice})")
    return frozenset(listed)


def _spelling(where: str, section: dict[str, Any]) -> Spelling:
    unknown = set(section) - {"hesitations", "numbers", "tens", "ranks", "same", "factors"}
    if unknown:
        raise ValueError(f"{where} has unknown keys: {sorted(unknown)}")
    hesitations, numbers, tens, ranks = (
        str(section.get(key, "")).split() for key in ("hesitations", "numbers", "tens", "ranks")
    )
    for key, words in (("hesitations", hesitations), ("numbers", [*numbers, *tens, *ranks])):
        _ = words and _listed(f"{where}.{key}", words)
    same, factors = section.get("same", {}), section.get("factors", {})
    return Spelling(
        hesitations=frozenset(hesitations),
        same={word: str(meant) for word, meant in same.items()},
        numbers={word: at for at, word in enumerate(numbers)} | {word: 20 + 10 * at for at, word in enumerate(tens)},
        ranks={word: at for at, word in enumerate(ranks, 1)},
        factors={word: int(factor) for word, factor in factors.items()},
    )
