"""Written text as it should be spoken: markup gone, symbols and numbers as words a voice gets right.

Pure. What any language shares is here and in ``agents.loop.markup``; a language's own rules are in a module of their
own, and a locale without one gets only the shared part. Words are never dropped, and plain text stays as it is. Driven
by the turn, phrase by phrase; the text shown on a screen stays raw.
"""

from __future__ import annotations

import re
from typing import Final

from agents.loop import english
from agents.loop.markup import strip_markup

_LINE_END: Final = re.compile(r"([^\s])?[^\S\n]*\n\s*")
_SPACE: Final = re.compile(r"\s+")
_LOOSE_POINT: Final = re.compile(r"(?<=\w) (?=[,.;!?](?:\s|$))")


def speakable(text: str, locale: str = "en-US") -> str:
    """``text`` for a voice that speaks ``locale``; empty where nothing can be said (an emoji, a rule)."""
    text = _LINE_END.sub(_pause, strip_markup(text).strip())
    if locale.split("-", maxsplit=1)[0].lower() == "en":
        text = english.in_words(text)
    text = _LOOSE_POINT.sub("", _SPACE.sub(" ", text)).strip()
    return text if any(char.isalnum() for char in text) else ""


def _pause(match: re.Match[str]) -> str:
    """A line's end is a pause, where the line does not end in one."""
    last = match[1] or ""
    return f"{last}. " if last.isalnum() or last in {")", '"', "”"} else f"{last} "
