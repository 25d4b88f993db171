"""One turn's voice: takes what is to be said, phrase by phrase or while it is written, and goes silent when it must.

Owns whether the turn still speaks: a voice that failed is lost for the turn, whose answer goes on as text; an answer
that is refused is said no further. Driven by ``agents.core.turn_run``; knows nothing of models or of the floor.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from anyio.streams.memory import MemoryObjectReceiveStream

from agents.core.answering import PendingPhrase
from agents.core.event_gate import EventGate
from agents.core.speaking import PreparedSpeech, Speaking, SpokenPhrase
from agents.core.streamed_reply import StreamedReply
from agents.events import Caption, Degraded
from agents.loop.markup import strip_markup
from agents.loop.pieces import PieceCutter
from audio.errors import EngineError
from audio.tts.port import TextToSpeech

log = logging.getLogger(__name__)

PIECES_AHEAD: Final = 64
PHRASES_AHEAD: Final = 4
"""What may wait to be said; whoever generates it waits then."""


def piece_cutter(tts: TextToSpeech | None, locale: str) -> PieceCutter | None:
    """What cuts a reply for a voice that speaks it while it is written, and tells where in it it is; ``None`` for one
    that wants phrases."""
    if tts is None or not (tts.profile.text_streaming and tts.profile.word_timings):
        return None
    return PieceCutter(locale, first_whole=tts.profile.text_held)


@dataclass(frozen=True, slots=True)
class TurnVoicePorts:
    """Where captions go, whose they are, and who is told: of every phrase, and when the voice is lost."""

    gate: EventGate
    turn_id: str
    on_phrase: Callable[[], None]
    on_lost: Callable[[], None]
    is_refused: Callable[[], bool]


class TurnVoice:
    """See the module."""

    def __init__(self, speaking: Speaking, ports: TurnVoicePorts) -> None:
        self._speaking = speaking
        self._ports = ports
        self.lost = False
        """Whether it failed: nothing more is spoken in this turn."""

    async def run(self, phrases: MemoryObjectReceiveStream[PendingPhrase]) -> None:
        """Say everything that comes, to its end."""
        async with phrases:
            phrase = await anext(phrases, None)
            while phrase is not None:
                following = None
                if not self.lost and (phrase.refusal or not self._ports.is_refused()):
                    if not phrase.bridges:
                        self._ports.on_phrase()
                    if phrase.refusal:
                        self._speaking.cut()
                    try:
                        following = await self._say(phrase, phrases)
                    except EngineError as error:
                        self._lose(error)
                if self.lost:
                    self._show(phrase)
                phrase = following or await anext(phrases, None)
        await self._speaking.finish()

    async def prepare(self, text: str) -> PreparedSpeech | None:
        """Speak ``text`` ahead of its need; ``None`` where that cannot be had: it is said when it is needed, then."""
        try:
            return await self._speaking.prepare(text)
        except EngineError as error:
            log.info("nothing prepared", extra={"turn_id": self._ports.turn_id, "reason": str(error)})
            return None

    async def _say(
        self, phrase: PendingPhrase, phrases: MemoryObjectReceiveStream[PendingPhrase]
    ) -> PendingPhrase | None:
        """Speak a phrase, or a reply from this piece on; what was taken beyond it is returned."""
        if phrase.prepared is not None:
            spoken = await self._speaking.replay(phrase.prepared)
        else:
            with self._speaking.requests.ending():
                if phrase.streamed:
                    reply = StreamedReply(self._speaking, self._caption, self._ports.is_refused)
                    return await reply.run(phrase, phrases)
                spoken = await self._speaking.say(phrase.text, remembered=phrase.remembered)
        if spoken is not None and not phrase.captioned:
            self._caption(spoken)
        return None

    def _caption(self, spoken: SpokenPhrase, *, only: bool = False) -> None:
        words, ports = strip_markup(spoken.text), self._ports
        ports.gate.emit(Caption("agent", words, spoken.start_ms, spoken.end_ms, True, ports.turn_id, only))

    def _show(self, phrase: PendingPhrase) -> None:
        """What is no part of the reply's text (an apology) can be read nowhere else, once the voice is lost."""
        if not phrase.remembered and not phrase.captioned:
            self._caption(SpokenPhrase(phrase.text, 0, 0), only=True)

    def _lose(self, error: EngineError) -> None:
        ports = self._ports
        log.warning("speech synthesis failed", extra={"turn_id": ports.turn_id, "provider": error.provider})
        self.lost = True
        ports.gate.emit(Degraded("speech", "text", f"The voice failed ({error}); the answer goes on as text."))
        ports.on_lost()


async def unspoken(phrases: MemoryObjectReceiveStream[PendingPhrase]) -> None:
    """What is done with phrases where there is no voice: they are taken, and that is all."""
    async with phrases:
        async for _ in phrases:
            pass
