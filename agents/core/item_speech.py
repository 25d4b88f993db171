"""Recordings a client puts into the conversation: their words are found, and become the item's.

For items that bring speech of their own instead of what the session hears. Each gets a recognition stream for as long
as it takes, of the engines the session has by then, and as much of it as the session's purse affords. Owned by the
session, in whose task group it works.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import anyio
import numpy as np

from agents.core.admitting import affords
from agents.core.options import Engines
from agents.core.recognition import heard_by
from agents.events import RecordingTranscribed
from audio.errors import AudioError, EngineError
from audio.fallback import Maker
from audio.formats import HEARING_RATE_HZ, PcmChunk, Samples, samples_to_ms
from audio.stt.port import SttOptions, SttStream, Transcript, TranscriptKind

log = logging.getLogger(__name__)

LIMIT_S: Final = 30.0
"""For each stretch of a recording."""
MAX_AT_ONCE: Final = 2
MAX_WAITING: Final = 16
LONGEST_SAMPLES: Final = 20 * HEARING_RATE_HZ
SEARCH_SAMPLES: Final = 5 * HEARING_RATE_HZ
STEP_SAMPLES: Final = HEARING_RATE_HZ // 10


ReadSamples = Callable[[], Awaitable[Samples]]
"""Brings a recording, 16 kHz; takes its time elsewhere than on the event loop."""

OnWork = Callable[[int, Mapping[Maker, int]], None]
"""Told how many samples of a recording speech-to-text was given, and who recognised them where that may be another."""


class _Unaffordable(Exception):
    """The session's purse refuses what is left of a recording."""


@dataclass(frozen=True, slots=True)
class ItemPorts:
    """``on_words`` is told of each recording, found or not; ``on_refused``, after that, where it was not afforded."""

    on_words: Callable[[RecordingTranscribed], None]
    on_work: OnWork
    on_refused: Callable[[], None]


class ItemSpeech:
    """Recognises recordings beside the conversation."""

    def __init__(self, engines: Engines, ports: ItemPorts) -> None:
        self._engines = engines
        self._ports = ports
        self._waiting = 0
        self._places = anyio.Semaphore(MAX_AT_ONCE)

    @property
    def busy(self) -> bool:
        """Whether a recording's words are still missing."""
        return self._waiting > 0

    def recognise(self, item_id: str, read: ReadSamples, options: SttOptions) -> Coroutine[Any, Any, None]:
        """Find the words of what ``read`` brings: run the coroutine.

        The item is waited for from now on; where too many are, it is told at once that nothing was found.
        """
        full = self._waiting >= MAX_WAITING
        self._waiting += 1
        return self._recognise(item_id, None if full else read, options)

    async def _recognise(self, item_id: str, read: ReadSamples | None, options: SttOptions) -> None:
        text, audio_ms, refused = None, 0, False
        try:
            if self._engines.stt is not None and read is not None:
                async with self._places:
                    samples = await read()
                    audio_ms = samples_to_ms(len(samples), HEARING_RATE_HZ)
                    text = await self._words_of(samples, options)
        except _Unaffordable:
            refused = True
        except (AudioError, TimeoutError) as error:
            log.warning("a recording could not be recognised", extra={"reason": str(error)})
        finally:
            self._waiting -= 1
            self._ports.on_words(RecordingTranscribed(item_id, text, audio_ms))
        if refused:
            self._ports.on_refused()

    async def _words_of(self, samples: Samples, options: SttOptions) -> str | None:
        """Raises _Unaffordable, AudioError, TimeoutError."""
        stt, may = (self._engines.cheaper or self._engines).stt, affords(self._engines)
        if stt is None:
            return None
        reader, stream, given = _Reader(), None, 0
        texts: list[str] = []
        try:
            for utterance, (start, end) in enumerate(_stretches(samples), 1):
                if not may(end - start):
                    raise _Unaffordable
                with anyio.fail_after(LIMIT_S):
                    stream = stream or await stt.open(options, reader.on_transcript, reader.on_failure)
                given += end - start
                with anyio.fail_after(LIMIT_S):
                    texts.append(await reader.read(stream, utterance, PcmChunk(samples[start:end], start)))
            return " ".join(text for text in texts if text)
        finally:
            if stream is not None:
                self._ports.on_work(given, heard_by(stream))
                with anyio.CancelScope(shield=True):
                    await stream.aclose()


class _Reader:
    """One stream's answers, an utterance at a time."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[str] | None = None

    async def read(self, stream: SttStream, utterance: int, chunk: PcmChunk) -> str:
        self._answer = asyncio.get_running_loop().create_future()
        stream.begin(utterance, chunk.start_sample)
        try:
            stream.push(chunk)
            stream.flush(utterance, chunk.end_sample)
            return await self._answer
        finally:
            stream.end(utterance)

    def on_transcript(self, transcript: Transcript) -> None:
        if transcript.kind is TranscriptKind.FLUSHED and self._answer is not None and not self._answer.done():
            self._answer.set_result(transcript.text)

    def on_failure(self, _: int, error: EngineError) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


def _stretches(samples: Samples) -> Iterator[tuple[int, int]]:
    """A recording in stretches that any engine takes at once, cut where it is quietest."""
    start = 0
    while len(samples) - start > LONGEST_SAMPLES:
        latest = start + LONGEST_SAMPLES
        window = np.abs(samples[latest - SEARCH_SAMPLES : latest].astype(np.int32))
        steps = window[: len(window) // STEP_SAMPLES * STEP_SAMPLES].reshape(-1, STEP_SAMPLES).mean(axis=1)
        cut = latest - SEARCH_SAMPLES + int(steps.argmin()) * STEP_SAMPLES + STEP_SAMPLES // 2
        yield start, cut
        start = cut
    yield start, len(samples)
