"""Whether an engine knows a locale. Pure.

Engines name languages (``en``) or locales (``en-US``); either means the language in any region. Driven by whoever
chooses between engines.
"""

from __future__ import annotations

from collections.abc import Collection


def language_of(locale: str) -> str:
    """The language subtag, in lower case: ``de`` of ``de-CH``."""
    return locale.partition("-")[0].lower()


def covers(known: Collection[str], locale: str) -> bool:
    """Whether an engine that knows these can do this one; one that names none has not said, and may be asked."""
    return not known or language_of(locale) in {language_of(each) for each in known}
