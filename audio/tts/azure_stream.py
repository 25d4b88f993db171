"""A text stream: text goes in as it is written, speech comes out before the sentence is complete.

Owns the order of writing and the end of one stream; the synthesizer and its threads belong to the engine. Source: the
second version of the service's speaking socket (``text.piece``, ``text.end``). Driven like any ``TextStream``.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import anyio

from audio.azure.errors import overloaded, unavailable
from audio.azure.settings import AzureTtsLimits
from audio.tts.azure_speech import Speech
from audio.tts.azure_synthesizer import AzureSynthesizer
from audio.tts.port import SpeechAudio
from audio.tts.text_progress import TextProgress

_UNSPEAKABLE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")
MOST_CHARACTERS: Final = 16_000
"""Of one stream; the service takes 64 kB."""


class Settled(Protocol):
    """Tells the engine that a synthesizer is free."""

    def __call__(self, *, spoken: bool) -> None:
        """``spoken``: to the end."""
        ...


@dataclass(frozen=True, slots=True)
class StreamPorts:
    """What a stream needs of its engine; ``call`` runs what blocks."""

    synthesizer: AzureSynthesizer
    speech: Speech
    call: Callable[[Callable[[], None]], Awaitable[None]]
    settled: Settled


class AzureTextStream:
    """See ``TextStream``."""

    def __init__(self, ports: StreamPorts, limits: AzureTtsLimits) -> None:
        self._ports = ports
        self._limits = limits
        self._writing = anyio.Lock()
        self._progress = TextProgress()
        self._settled = False

    async def write(self, text: str) -> None:
        """See the port. Pieces keep their order; a stream is bounded at 16,000 characters."""
        spoken = _UNSPEAKABLE.sub(" ", text)
        if not spoken:
            return
        if len(self._progress.text) + len(spoken) > MOST_CHARACTERS:
            raise overloaded(f"a text stream carries at most {MOST_CHARACTERS} characters", "tts")
        async with self._writing:
            if self._settled or self._progress.finished:
                raise unavailable("the text stream has ended", "tts")
            self._progress.wrote(spoken)
            await self._ports.call(partial(self._ports.synthesizer.write, spoken))

    async def finish(self) -> None:
        """See the port."""
        async with self._writing:
            if self._settled or self._progress.finished:
                return
            self._progress.finished = True
            await self._ports.call(self._ports.synthesizer.end_stream)

    async def audio(self) -> AsyncGenerator[SpeechAudio]:
        """See the port. While the service may wait for text, the wait for its audio has no limit but its own."""
        try:
            is_waiting = self._waits_for_text
            async with aclosing(self._ports.speech.chunks(is_waiting)) as chunks:
                async for chunk in chunks:
                    for word in chunk.words:
                        self._progress.said(word.text)
                    yield chunk
        finally:
            self._settle(spoken=self._ports.speech.completed)

    async def aclose(self) -> None:
        """See the port."""
        self._settle(spoken=False)

    def _waits_for_text(self) -> bool:
        return not self._progress.owes_audio

    def _settle(self, *, spoken: bool) -> None:
        if not self._settled:
            self._settled = True
            self._ports.settled(spoken=spoken)
