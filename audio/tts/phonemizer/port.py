"""The phonemizer port, and how clauses become what a voice is fed.

Owns the shape of phonemes: one list per sentence, one Unicode code point per item, punctuation kept because voices are
trained on it. Knows no engine. Driven by ``audio.tts.piper``; implemented by ``client`` and ``program``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

MAX_CHARACTERS: Final = 2_000
"""The longest text one call takes; callers cut longer ones at sentence borders."""

_INNER_TERMINATORS: Final = frozenset(",;:")
_LANGUAGE_SWITCH: Final = re.compile(r"\([^)]*\)")


@dataclass(frozen=True, slots=True)
class Clause:
    """A stretch of IPA, the punctuation that closed it (or nothing), and whether the sentence ended there."""

    phonemes: str
    terminator: str
    ends_sentence: bool


class Phonemizer(Protocol):
    """Turns text into the phonemes of a language."""

    async def phonemes(self, text: str, locale: str) -> list[list[str]]:
        """Sentences of phonemes, punctuation included; empty where there is nothing to say.

        ``locale`` is an espeak-ng voice name (``"en-us"``, ``"it"``). Raises EngineError.
        """
        ...

    async def aclose(self) -> None:
        """Release everything. No process of ours outlives this."""
        ...


def sentences(clauses: Iterable[Clause]) -> list[list[str]]:
    """Clauses joined into sentences of NFD code points; sentences without a letter are left out."""
    joined: list[str] = []
    current = ""
    for clause in clauses:
        gap = " " if clause.terminator in _INNER_TERMINATORS else ""
        current += _LANGUAGE_SWITCH.sub("", clause.phonemes) + clause.terminator + gap
        if clause.ends_sentence:
            joined.append(current)
            current = ""
    joined.append(current)
    decomposed = [unicodedata.normalize("NFD", sentence.strip()) for sentence in joined]
    return [list(sentence) for sentence in decomposed if any(map(str.isalpha, sentence))]
