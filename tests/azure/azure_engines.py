"""Engines of ours on a local service, and what a test needs to talk and listen to them."""

from __future__ import annotations

import asyncio
import os
import time
import wave
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from audio.azure.credentials import KeyCredential
from audio.azure.settings import AzurePlace, AzureSttSettings, AzureTtsSettings
from audio.errors import EngineError
from audio.formats import PcmChunk, Samples
from audio.inference import InferencePool
from audio.stt.azure import AzureSpeechToText
from audio.stt.port import SttStream, Transcript, TranscriptKind
from audio.tts.azure import AzureTextToSpeech

SPEECH = Path(__file__).parents[1] / "fixtures" / "speech"
LIMIT_S = 20.0


def clip(name: str = "goforward.wav") -> Samples:
    with wave.open(str(SPEECH / name)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)


class Ears:
    """What a stream reported, and when it was first answered."""

    def __init__(self) -> None:
        self.transcripts: list[Transcript] = []
        self.failures: list[EngineError] = []
        self.answered_at_s = 0.0
        self._changed = asyncio.Event()

    def on_transcript(self, transcript: Transcript) -> None:
        self.transcripts.append(transcript)
        self._note()

    def on_failure(self, utterance_id: int, error: EngineError) -> None:
        del utterance_id
        self.failures.append(error)
        self._note()

    def of(self, kind: TranscriptKind) -> list[str]:
        return [each.text for each in self.transcripts if each.kind is kind]

    @property
    def answers(self) -> list[str]:
        return [*self.of(TranscriptKind.FLUSHED), *(type(error).__name__ for error in self.failures)]

    async def until(self, happened: Callable[[], object]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not happened():
                self._changed.clear()
                await self._changed.wait()

    def _note(self) -> None:
        if self.answers and not self.answered_at_s:
            self.answered_at_s = time.monotonic()
        self._changed.set()


@asynccontextmanager
async def recognizing(
    url: str, settings: AzureSttSettings | None = None, now_s: Callable[[], float] = time.monotonic
) -> AsyncIterator[AzureSpeechToText]:
    settings = replace(settings or AzureSttSettings(AzurePlace(host=url)), place=AzurePlace(host=url))
    async with InferencePool(workers=4, max_queued=512) as workers:
        engine = AzureSpeechToText(settings, KeyCredential("any"), workers, now_s)
        yield engine
        await engine.aclose()


@asynccontextmanager
async def speaking(url: str, settings: AzureTtsSettings | None = None) -> AsyncIterator[AzureTextToSpeech]:
    settings = replace(settings or AzureTtsSettings(AzurePlace(host=url)), place=AzurePlace(host=url))
    async with InferencePool(workers=4, max_queued=512) as workers:
        engine = AzureTextToSpeech(settings, KeyCredential("any"), workers)
        yield engine
        await engine.aclose()


async def say(stream: SttStream, samples: Samples, start: int, *, real_time: bool = True, pace: float = 1.0) -> int:
    """Push in 20 ms chunks, at ``pace`` times the pace of speech; returns the end."""
    for offset in range(0, len(samples), 320):
        stream.push(PcmChunk(samples[offset : offset + 320], start + offset))
        await asyncio.sleep(0.02 / pace if real_time else 0)
    return start + len(samples)


def natives() -> tuple[int, int]:
    """Threads and open files of this process."""
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))


async def flat(before: tuple[int, int], slack: int = 2) -> None:
    """Wait until threads and files are what they were. Raises TimeoutError."""
    until_s = time.monotonic() + LIMIT_S
    while any(now > then + slack for now, then in zip(natives(), before, strict=True)):
        if time.monotonic() > until_s:
            raise TimeoutError(f"threads and files: {before} before, {natives()} now")
        await asyncio.sleep(0.05)
