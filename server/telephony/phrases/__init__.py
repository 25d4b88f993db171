"""What the agent says on the telephone by itself: one file per language beside this module.

Owns their form and that a file is whole; when they are said is told in ``server.telephony.manners``.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any, Final, cast

LANGUAGES: Final = ("de", "en", "es", "fr", "it")
"""The languages that have a file; the others get English."""
_LISTS: Final = ("still_there", "recording_yes", "recording_no")


@dataclass(frozen=True, slots=True)
class Phrases:
    """Sentences of one language.

    ``greeting`` (with ``{name}``) is for agents that have none of their own. ``still_there`` are asked one after the
    other while nobody says anything, then comes ``silence_goodbye``. ``limit_warning`` and ``limit_goodbye`` are about
    the longest a call may last. ``transfer_failed``: whoever was wanted could not be reached. ``handing_over`` (with
    ``{summary}``) is said to whoever takes over, before they hear the caller. ``recording_notice`` says that the call
    is recorded, ``recording_question`` asks whether it may be; ``recording_on`` and ``recording_off`` say what came of
    the question, which ``recording_yes`` and ``recording_no`` (words, in lower case) answer.
    """

    greeting: str
    still_there: tuple[str, ...]
    silence_goodbye: str
    limit_warning: str
    limit_goodbye: str
    transfer_failed: str
    handing_over: str
    recording_notice: str
    recording_question: str
    recording_on: str
    recording_off: str
    recording_yes: tuple[str, ...]
    recording_no: tuple[str, ...]


def phrases_for(locale: str) -> Phrases:
    """The sentences of a locale's language, English where it has no file."""
    language = locale.replace("_", "-").split("-", maxsplit=1)[0].lower()
    return load(language if language in LANGUAGES else "en")


@cache
def load(language: str) -> Phrases:
    """One language's file. Raises ValueError, naming file and key, where it is not whole."""
    name = f"{language}.toml"
    return parse(files(__name__).joinpath(name).read_text(encoding="utf-8"), name)


def parse(text: str, name: str) -> Phrases:
    """A file as sentences. Raises ValueError."""
    try:
        values: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{name}: {error}") from error
    wanted = {field.name for field in fields(Phrases)}
    if set(values) != wanted:
        raise ValueError(f"{name} must have exactly {sorted(wanted)}, not {sorted(values)}")
    lists: dict[str, Any] = {key: _sentences(values.pop(key), f"{name}: {key}") for key in _LISTS}
    for key, value in values.items():
        if not _is_sentence(value):
            raise ValueError(f"{name}: {key} must be a sentence")
    return Phrases(**values, **lists)


def _sentences(value: object, what: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(map(_is_sentence, cast("list[object]", value))):
        raise ValueError(f"{what} must be a list of sentences")
    return tuple(cast("list[str]", value))


def _is_sentence(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
