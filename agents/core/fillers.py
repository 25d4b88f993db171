"""The short phrases that bridge a wait, in the agent's voice and language, spoken ahead of their need.

Owns which of them comes next (never the same twice in a row, where there are several) and the audio of those that were
prepared, for as long as the session lasts. One per session; a turn that is getting late has the next one prepared and
says it when it is late.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agents.core.options import SessionOptions
from agents.core.speaking import PreparedSpeech


@dataclass(frozen=True, slots=True)
class _Manner:
    """A text as it is spoken: another voice or pace makes it another audio."""

    text: str
    locale: str
    voice: str | None
    rate: float


class Fillers:
    """See the module."""

    def __init__(self, options: Callable[[], SessionOptions]) -> None:
        self._options = options
        self._said = 0
        self._prepared: dict[_Manner, PreparedSpeech] = {}

    @property
    def upcoming(self) -> str | None:
        """What is said next time; ``None`` where the language has nothing to say."""
        texts = self._options().policy.rules.fillers
        return texts[self._said % len(texts)] if texts else None

    def take(self) -> str | None:
        """The next one is said now; another comes next time."""
        text = self.upcoming
        self._said += 1
        return text

    def prepared(self, text: str, options: SessionOptions) -> PreparedSpeech | None:
        """Its audio, where there is some."""
        return self._prepared.get(_manner(text, options))

    def keep(self, speech: PreparedSpeech, options: SessionOptions) -> None:
        """Its audio, from now on. A session whose voice changes keeps that of the latest."""
        manner = _manner(speech.text, options)
        others = [each for each in self._prepared if each.text == manner.text]
        for each in others:
            del self._prepared[each]
        self._prepared[manner] = speech


def _manner(text: str, options: SessionOptions) -> _Manner:
    return _Manner(text, options.locale, options.voice, options.rate)
