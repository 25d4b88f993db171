"""Speech-to-text that changes engines: what is replayed, who is told, what the breakers learn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from audio.breaker import BreakerOptions, CircuitBreaker
from audio.errors import EngineError, EngineTimeout, EngineUnavailable
from audio.fallback import Degradation, Guarded
from audio.formats import PcmChunk
from audio.stt.fallback import FallbackSpeechToText, FallbackStream
from audio.stt.port import OnSttFailure, OnTranscript, SttOptions, SttProfile, Transcript, TranscriptKind

BROKEN = EngineError("the line is dead", stage="stt", provider="first")


class HandEngine:
    """An engine driven by the test."""

    def __init__(self, provider: str) -> None:
        self.profile = SttProfile(provider, "hand")
        self.calls: list[tuple[object, ...]] = []
        self.refuses: EngineError | None = None
        self.on_transcript: OnTranscript = lambda _: None
        self.on_failure: OnSttFailure = lambda *_: None

    async def warm_up(self) -> None:
        if self.refuses is not None:
            raise self.refuses

    async def open(self, options: SttOptions, on_transcript: OnTranscript, on_failure: OnSttFailure) -> HandEngine:
        if self.refuses is not None:
            raise self.refuses
        self.on_transcript, self.on_failure = on_transcript, on_failure
        return self

    def begin(self, utterance_id: int, start_sample: int) -> None:
        self.calls.append(("begin", utterance_id, start_sample))

    def push(self, chunk: PcmChunk) -> None:
        self.calls.append(("push", chunk.start_sample))

    def flush(self, utterance_id: int, through_sample: int) -> None:
        self.calls.append(("flush", utterance_id, through_sample))

    def end(self, utterance_id: int) -> None:
        self.calls.append(("end", utterance_id))

    async def aclose(self) -> None:
        self.calls.append(("aclose",))

    def says(self, text: str, kind: TranscriptKind = TranscriptKind.FLUSHED, utterance_id: int = 1) -> None:
        self.on_transcript(Transcript(utterance_id, kind, text, 0, 640))


class Session:
    def __init__(self, clock: Callable[[], float] = lambda: 0.0, answer_s: float = 5.0) -> None:
        self.first, self.second = HandEngine("first"), HandEngine("second")
        self.heard: list[str] = []
        self.failures: list[EngineError] = []
        self.told: list[Degradation] = []
        self.breaker = CircuitBreaker(BreakerOptions(failures=1, pause_s=5))
        engines = [Guarded(self.first, self.breaker), Guarded(self.second)]
        self.engine = FallbackSpeechToText(engines, answer_s=answer_s, now_s=clock).for_session(self.told.append)

    async def open(self) -> FallbackStream:
        return await self.engine.open(
            SttOptions(), lambda heard: self.heard.append(heard.text), lambda _, error: self.failures.append(error)
        )


def chunk(start: int) -> PcmChunk:
    return PcmChunk(np.zeros(320, np.int16), start)


async def test_an_engine_that_fails_in_mid_speech_gives_way_and_no_audio_is_lost() -> None:
    session = Session()
    stream = await session.open()
    stream.begin(1, 0)
    stream.push(chunk(0))
    stream.push(chunk(320))
    session.first.on_failure(1, BROKEN)
    stream.push(chunk(640))
    stream.flush(1, 960)
    assert session.second.calls == [
        ("begin", 1, 0), ("push", 0), ("push", 320), ("push", 640), ("flush", 1, 960)
    ]  # fmt: skip
    session.second.says("all of it")
    assert session.heard == ["all of it"]
    assert session.failures == []
    assert session.told == [Degradation("stt", "first", "second", BROKEN)]


async def test_a_flush_that_failed_is_asked_again_of_the_next() -> None:
    session = Session()
    stream = await session.open()
    stream.begin(1, 0)
    stream.push(chunk(0))
    stream.flush(1, 320)
    session.first.on_failure(1, BROKEN)
    assert session.second.calls[-1] == ("flush", 1, 320)


async def test_a_flush_that_stays_unanswered_is_asked_of_the_next() -> None:
    session = Session(answer_s=0.0)
    stream = await session.open()
    stream.begin(1, 0)
    stream.push(chunk(0))
    stream.flush(1, 320)
    for _ in range(3):
        await asyncio.sleep(0)
    assert isinstance(session.told[0].error, EngineTimeout)
    session.first.says("too late")
    session.second.says("in time")
    assert session.heard == ["in time"]
    await stream.aclose()


async def test_the_preferred_engine_comes_back_with_a_later_utterance() -> None:
    now_s = 0.0
    session = Session(lambda: now_s)
    stream = await session.open()
    stream.begin(1, 0)
    session.first.on_failure(1, BROKEN)
    stream.end(1)
    stream.begin(2, 0)
    assert session.second.calls[-1] == ("begin", 2, 0), "its breaker is open"
    stream.end(2)
    now_s = 6.0
    stream.begin(3, 0)
    assert session.first.calls[-1] == ("begin", 3, 0)
    assert [told.instead for told in session.told] == ["second"], "it is tried, and has shown nothing yet"
    stream.flush(3, 0)
    session.first.says("back", utterance_id=3)
    assert [told.instead for told in session.told] == ["second", "first"]
    assert session.told[-1].error is None
    assert session.breaker.admits(now_s)
    await stream.aclose()


async def test_another_session_learns_from_the_breaker() -> None:
    session = Session()
    stream = await session.open()
    stream.begin(1, 0)
    session.first.on_failure(1, BROKEN)
    told: list[Degradation] = []
    other = await session.engine.for_session(told.append).open(SttOptions(), lambda _: None, lambda *_: None)
    other.begin(1, 0)
    assert told == [Degradation("stt", "first", "second", BROKEN)]


async def test_the_last_engine_is_asked_whatever_its_breaker_says_and_its_failure_is_reported() -> None:
    session = Session()
    stream = await session.open()
    stream.begin(1, 0)
    session.first.on_failure(1, BROKEN)
    session.second.on_failure(1, BROKEN)
    assert session.failures == [BROKEN]
    stream.flush(1, 0)
    await asyncio.sleep(0)
    assert session.failures == [BROKEN, BROKEN], "a flush of a failed utterance fails"
    stream.begin(2, 0)
    assert session.second.calls[-1] == ("begin", 2, 0)


async def test_a_stream_opens_while_one_engine_does() -> None:
    session = Session()
    session.first.refuses = EngineUnavailable("no SDK", stage="stt", provider="first")
    stream = await session.open()
    stream.begin(1, 0)
    assert session.second.calls == [("begin", 1, 0)]
    session.second.refuses = BROKEN
    with pytest.raises(EngineUnavailable, match="no SDK"):
        await session.open()


async def test_a_correction_is_passed_on_after_the_utterance_has_ended() -> None:
    session = Session()
    stream = await session.open()
    stream.begin(1, 0)
    stream.flush(1, 0)
    session.first.says("go forward")
    stream.end(1)
    session.first.says("Go forward.", TranscriptKind.CORRECTED)
    assert session.heard == ["go forward", "Go forward."]
