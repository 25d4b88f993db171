"""Recordings a client puts into the conversation: their words are found, and become the item's.

For items that bring speech of their own instead of what the session hears. Each gets a recognition stream for as long
as it takes. Owned by the session, in whose task group it works.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

import anyio

from audio.errors import EngineError
from audio.formats import PcmChunk, Samples
from audio.stt.port import SpeechToText, SttOptions, Transcript, TranscriptKind

log = logging.getLogger(__name__)

LIMIT_S: Final = 30.0
MAX_AT_ONCE: Final = 2
_UTTERANCE: Final = 1


class ItemSpeech:
    """Recognises recordings beside the conversation."""

    def __init__(self, stt: SpeechToText | None, on_text: Callable[[str, str], None]) -> None:
        """``on_text(item_id, text)`` is told of each recording; the text is empty where no words were found."""
        self._stt = stt
        self._on_text = on_text
        self._waiting = 0
        self._places = anyio.Semaphore(MAX_AT_ONCE)

    @property
    def busy(self) -> bool:
        """Whether a recording's words are still missing."""
        return self._waiting > 0

    def recognise(self, item_id: str, samples: Samples, options: SttOptions) -> Coroutine[Any, Any, None]:
        """Find the words of 16 kHz ``samples``: run what is returned. The item is waited for from now on."""
        self._waiting += 1
        return self._recognise(item_id, samples, options)

    async def _recognise(self, item_id: str, samples: Samples, options: SttOptions) -> None:
        text = ""
        try:
            if self._stt is not None:
                async with self._places:
                    text = await _words_of(self._stt, samples, options)
        except (EngineError, TimeoutError) as error:
            log.warning("a recording could not be recognised", extra={"reason": str(error)})
        finally:
            self._waiting -= 1
            self._on_text(item_id, text)


async def _words_of(stt: SpeechToText, samples: Samples, options: SttOptions) -> str:
    answered: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def on_transcript(transcript: Transcript) -> None:
        if transcript.kind is TranscriptKind.FLUSHED and not answered.done():
            answered.set_result(transcript.text)

    def on_failure(_: int, error: EngineError) -> None:
        if not answered.done():
            answered.set_exception(error)

    with anyio.fail_after(LIMIT_S):
        stream = await stt.open(options, on_transcript, on_failure)
        try:
            stream.begin(_UTTERANCE, 0)
            stream.push(PcmChunk(samples, 0))
            stream.flush(_UTTERANCE, len(samples))
            return await answered
        finally:
            stream.end(_UTTERANCE)
            with anyio.CancelScope(shield=True):
                await stream.aclose()
