"""Streamed text to phrases that can be spoken: as early as a sentence ends, or a long clause. Pure."""

from __future__ import annotations

import re
from typing import Final

_SENTENCE_END: Final = re.compile(r"[.!?;:\n][\"')\]]*\s")
_CLAUSE_END: Final = re.compile(r"[,\u2013\u2014]\s|\s")
LONG_CLAUSE: Final = 120
"""Characters that are spoken without waiting for the sentence's end."""


class PieceSplitter:
    """Pieces come as a language model makes them; a phrase is sure once what follows its end has come."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> list[str]:
        """The phrases this piece completes."""
        self._held += piece
        phrases: list[str] = []
        while (end := self._end()) is not None:
            phrase, self._held = self._held[:end].strip(), self._held[end:]
            if phrase:
                phrases.append(phrase)
        return phrases

    def flush(self) -> str:
        """The rest."""
        rest, self._held = self._held.strip(), ""
        return rest

    def _end(self) -> int | None:
        sentence = _SENTENCE_END.search(self._held)
        if sentence is not None:
            return sentence.end()
        if len(self._held) < LONG_CLAUSE:
            return None
        ends = [match.end() for match in _CLAUSE_END.finditer(self._held)]
        return ends[-1] if ends else len(self._held)
