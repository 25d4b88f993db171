"""One turn's requests of its voice: what they consume goes to the account; when, and who answered, to the log of calls.

A request is a phrase, or a stream that a reply is spoken from while it is written. Where another engine takes over
before anything sounded, the request is that engine's; where it takes over midway, what each spoke is a call of its own,
and the characters are divided by their audio. Told by ``agents.core.speaking`` and ``agents.core.turn_voice``.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from agents.call_log import CallLog, OpenCall
from agents.core.accounts import TurnAccount
from agents.events import CallEnd
from audio.errors import EngineError, EngineTimeout
from audio.fallback import Maker
from audio.tts.port import SpeechAudio, TtsProfile
from metering.apportion import apportion

BROKE_OFF: Final = "provider.unavailable"
"""What is told of an engine that began and was taken over from: why is the fallback's to know."""


@dataclass(slots=True)
class _Part:
    """What one engine spoke of a request."""

    call: OpenCall
    maker: Maker
    samples: int = 0


class VoiceRequests:
    """See the module. There is one request at a time."""

    def __init__(self, log: CallLog, account: TurnAccount, asked: TtsProfile) -> None:
        self._log = log
        self._account = account
        self._asked = asked
        self._parts: list[_Part] = []
        self._characters = 0
        self._end: CallEnd = "finished"

    @contextmanager
    def ending(self) -> Generator[None]:
        """The request that is opened inside the body, if any, ends with it."""
        try:
            yield
        except EngineError as error:
            self._close("failed", "provider.timeout" if isinstance(error, EngineTimeout) else "provider.unavailable")
            raise
        except Exception:
            self._close("failed", "internal")
            raise
        except BaseException:  # cancelled: somebody had heard enough
            self._close("stopped")
            raise
        self._close(self._end)

    def opened(self) -> None:
        """A request is made of the voice."""
        self._parts, self._characters, self._end = [], 0, "finished"
        self._add(Maker(self._asked.provider, self._asked.model))

    def says(self, characters: int) -> None:
        """So much text is given to it, more than none; what follows the first is more of the same request."""
        self._account.asked_voice(characters, more=self._characters > 0)
        self._characters += characters

    def spoke(self, piece: SpeechAudio) -> None:
        """It made this, or whoever the piece names did."""
        self._account.spoke(piece, self._asked)
        if not self._parts or not len(piece.samples):
            return
        part, maker = self._parts[-1], piece.maker or Maker(self._asked.provider, self._asked.model)
        if maker != part.maker:
            part = self._taken_over(part, maker)
        part.call.first()
        part.samples += len(piece.samples)

    def unwanted(self) -> None:
        """The request ends before it is whole, and nothing failed."""
        self._end = "stopped"

    def _add(self, maker: Maker) -> _Part:
        part = _Part(self._log.open("text_to_speech", *maker), maker)
        self._parts.append(part)
        return part

    def _taken_over(self, part: _Part, maker: Maker) -> _Part:
        if part.samples:
            part.call.ended_at_s = self._log.now_s()
            return self._add(maker)
        part.maker = maker
        part.call.answered_by(*maker)
        return part

    def _close(self, end: CallEnd, error_code: str | None = None) -> None:
        parts, self._parts = self._parts, []
        if len(parts) > 1:
            characters = apportion(self._characters, {number: part.samples for number, part in enumerate(parts)})
        else:
            characters = {0: self._characters}
        for number, part in enumerate(parts):
            part.call.characters = characters.get(number, 0)
            if number < len(parts) - 1:
                part.call.close("failed", BROKE_OFF)
            else:
                part.call.close(end, error_code)
