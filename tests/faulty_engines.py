"""Engines that stall, drag or fail when they are told to, around engines that work: how a budget is put to the test.

Each wraps one engine of the real port. Before a piece of work it asks its ``draw`` what is to go wrong this time;
``stall`` never answers (until it is cancelled), ``slow`` answers after ``slow_s``, ``fail`` fails at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal

import anyio

from agents.errors import ModelUnavailable
from agents.models.port import LanguageModel, Message, ModelEvent, ModelProfile, ModelRequest
from audio.errors import EngineError, EngineUnavailable
from audio.formats import PcmChunk
from audio.stt.port import (
    OnSttFailure,
    OnTranscript,
    SpeechToText,
    SttOptions,
    SttProfile,
    SttStream,
    Transcript,
    TranscriptKind,
)
from audio.tts.port import SpeechAudio, SpeechRequest, TextToSpeech, TtsProfile

Fault = Literal["stall", "slow", "fail"]
Draw = Callable[[], Fault | None]


def never() -> Fault | None:
    """Nothing goes wrong."""
    return None


def always(fault: Fault) -> Draw:
    """The same goes wrong every time."""
    return lambda: fault


@dataclass
class Faulty:
    """What goes wrong, and how long what is slow takes."""

    draw: Draw = never
    slow_s: float = 2.0

    async def meet(self, error: Exception) -> None:
        """Before an answer."""
        match self.draw():
            case "stall":
                await anyio.sleep_forever()
            case "slow":
                await anyio.sleep(self.slow_s)
            case "fail":
                raise error
            case None:
                pass


class FaultyModel:
    """A model whose completions meet faults before their first word."""

    def __init__(self, inner: LanguageModel, faulty: Faulty) -> None:
        self._inner = inner
        self._faulty = faulty
        self.asked = 0
        self.open_streams = 0

    @property
    def profile(self) -> ModelProfile:
        return self._inner.profile

    async def warm_up(self, messages: tuple[Message, ...]) -> None:
        await self._inner.warm_up(messages)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        self.asked += 1
        self.open_streams += 1
        try:
            await self._faulty.meet(ModelUnavailable("It fails on purpose.", provider=self.profile.provider))
            async with aclosing(self._inner.stream(request)) as events:
                async for event in events:
                    yield event
        finally:
            self.open_streams -= 1

    async def aclose(self) -> None:
        await self._inner.aclose()


class FaultyVoice:
    """A voice whose phrases meet faults before their first audio."""

    def __init__(self, inner: TextToSpeech, faulty: Faulty) -> None:
        self._inner = inner
        self._faulty = faulty
        self.asked: list[str] = []

    @property
    def profile(self) -> TtsProfile:
        return self._inner.profile

    async def warm_up(self) -> None:
        await self._inner.warm_up()

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[SpeechAudio]:
        self.asked.append(request.text)
        await self._faulty.meet(EngineUnavailable("on purpose", stage="tts", provider=self.profile.provider))
        async with aclosing(self._inner.speak(request)) as audio:
            async for piece in audio:
                yield piece

    async def aclose(self) -> None:
        await self._inner.aclose()


class FaultyEars:
    """Recognition whose flushes meet faults; partial words come as ever."""

    def __init__(self, inner: SpeechToText, faulty: Faulty, *, partials: bool = True) -> None:
        self._inner = inner
        self.faulty = faulty
        self.partials = partials

    @property
    def profile(self) -> SttProfile:
        return self._inner.profile

    async def warm_up(self) -> None:
        await self._inner.warm_up()

    async def open(self, options: SttOptions, on_transcript: OnTranscript, on_failure: OnSttFailure) -> SttStream:
        stream = _FaultyStream(self, on_transcript, on_failure)
        stream.inner = await self._inner.open(options, stream.heard, on_failure)
        return stream

    async def aclose(self) -> None:
        await self._inner.aclose()


class _FaultyStream:
    inner: SttStream

    def __init__(self, ears: FaultyEars, on_transcript: OnTranscript, on_failure: OnSttFailure) -> None:
        self._ears = ears
        self._on_transcript = on_transcript
        self._on_failure = on_failure
        self._fault: Fault | None = None
        self._late: set[asyncio.TimerHandle] = set()

    def heard(self, transcript: Transcript) -> None:
        if transcript.kind is not TranscriptKind.FLUSHED:
            if self._ears.partials:
                self._on_transcript(transcript)
        elif self._fault is None:
            self._on_transcript(transcript)
        elif self._fault == "slow":
            slow_s = self._ears.faulty.slow_s
            self._late.add(asyncio.get_running_loop().call_later(slow_s, self._on_transcript, transcript))

    def begin(self, utterance_id: int, start_sample: int) -> None:
        self._forget()
        self.inner.begin(utterance_id, start_sample)

    def push(self, chunk: PcmChunk) -> None:
        self.inner.push(chunk)

    def flush(self, utterance_id: int, through_sample: int) -> None:
        self._fault = self._ears.faulty.draw()
        if self._fault == "fail":
            error: EngineError = EngineUnavailable("on purpose", stage="stt", provider=self._ears.profile.provider)
            asyncio.get_running_loop().call_soon(self._on_failure, utterance_id, error)
        else:
            self.inner.flush(utterance_id, through_sample)

    def end(self, utterance_id: int) -> None:
        self._forget()
        self.inner.end(utterance_id)

    async def aclose(self) -> None:
        self._forget()
        await self.inner.aclose()

    def _forget(self) -> None:
        for late in self._late:
            late.cancel()
        self._late.clear()
