"""When Whisper's utterance decodes and what it answers, with a decoder that can be watched and held."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest_asyncio

from audio.errors import EngineError, EngineOverloaded, EngineTimeout
from audio.formats import PcmChunk, Samples
from audio.inference import InferencePool, Priority
from audio.stt.port import Transcript, TranscriptKind
from audio.stt.whisper_model import Decoded
from audio.stt.whisper_utterance import Recognition, WhisperUtterance

SECOND = 16_000
LIMIT_S = 20.0


def word(value: int, seconds: float = 0.8) -> Samples:
    """A "word": samples that alternate in sign at one magnitude."""
    return np.where(np.arange(int(seconds * SECOND)) % 2, value, -value).astype(np.int16)


PAUSE = np.zeros(SECOND // 5, dtype=np.int16)


def read_words(samples: Samples) -> Decoded:
    """Reads the magnitudes back: what a perfect recogniser would say."""
    magnitudes = np.abs(samples.astype(np.int32))
    changes = np.flatnonzero(np.diff(magnitudes, prepend=-1))
    words = [str(magnitudes[index]) for index in changes if magnitudes[index] != 0]
    return Decoded(" ".join(words), -0.1 * len(words), len(words))


class Bench:
    def __init__(self, pool: InferencePool, decode: Callable[[Samples], Decoded] = read_words) -> None:
        self.pool = pool
        self.transcripts: list[Transcript] = []
        self.failures: list[tuple[int, EngineError]] = []
        self.decoded: list[int] = []
        self.decode = decode
        self.utterance = WhisperUtterance(
            Recognition(pool, self._decode, self.transcripts.append, self._failed, "en", partials=True), 1, 0
        )
        self.position = 0

    def _decode(self, samples: Samples) -> Decoded:
        self.decoded.append(len(samples))
        return self.decode(samples)

    def _failed(self, utterance_id: int, error: EngineError) -> None:
        self.failures.append((utterance_id, error))

    def push(self, samples: Samples, chunk: int = 320) -> None:
        for start in range(0, len(samples), chunk):
            piece = samples[start : start + chunk]
            self.utterance.push(PcmChunk(piece, self.position))
            self.position += len(piece)

    async def settle(self) -> None:
        """Until everything handed to the one worker so far has been answered."""
        while True:
            # Overtakes background work that no thread has taken up yet; follows everything that one has.
            left = self.pool.queued + self.pool.busy
            await self.pool.run(lambda: None, priority=Priority.NORMAL, limit_s=LIMIT_S)
            await asyncio.sleep(0)
            if not left:
                return

    def said(self, kind: TranscriptKind) -> list[str]:
        return [each.text for each in self.transcripts if each.kind is kind]


@pytest_asyncio.fixture
async def pool() -> AsyncIterator[InferencePool]:
    async with InferencePool(workers=1) as running:
        yield running


async def test_partials_come_every_half_second_of_speech(pool: InferencePool) -> None:
    bench = Bench(pool)
    for value in (101, 102, 103, 104):
        bench.push(word(value, 0.5))
        await bench.settle()
    assert bench.said(TranscriptKind.PARTIAL) == ["101", "101 102", "101 102 103", "101 102 103 104"]
    assert bench.decoded == [8_000, 16_000, 24_000, 32_000]


async def test_falling_quiet_starts_a_decode_that_answers_the_flush_to_come(pool: InferencePool) -> None:
    bench = Bench(pool)
    bench.push(word(1_000, 0.4))
    bench.push(PAUSE[:960])
    await bench.settle()
    assert bench.decoded == [7_360]
    bench.push(PAUSE[960:1_600])
    bench.utterance.flush(7_360)
    await bench.settle()
    assert bench.said(TranscriptKind.FLUSHED) == ["1000"]
    assert bench.decoded == [7_360], "no second decode"


async def test_a_flush_joins_a_decode_under_way_that_covers_it(pool: InferencePool) -> None:
    held = threading.Event()

    def slow(samples: Samples) -> Decoded:
        assert held.wait(LIMIT_S)
        return read_words(samples)

    bench = Bench(pool, slow)
    bench.push(word(1_000, 0.5))
    bench.utterance.flush(8_000)
    held.set()
    await bench.settle()
    assert bench.said(TranscriptKind.FLUSHED) == ["1000"]
    assert bench.decoded == [8_000]


async def test_a_decode_under_way_does_not_delay_an_answer_at_hand(pool: InferencePool) -> None:
    bench = Bench(pool)
    bench.push(word(1_000, 0.5))
    await bench.settle()
    held = threading.Event()

    def slow(samples: Samples) -> Decoded:
        assert held.wait(LIMIT_S)
        return read_words(samples)

    bench.decode = slow
    bench.push(PAUSE[:960])
    bench.utterance.flush(8_000)
    await asyncio.sleep(0)
    assert bench.said(TranscriptKind.FLUSHED) == ["1000"]
    held.set()
    await bench.settle()
    assert bench.said(TranscriptKind.FLUSHED) == ["1000"]


async def test_a_pause_is_decoded_once_more_if_nobody_has_asked_by_then_but_not_for_ever(pool: InferencePool) -> None:
    bench = Bench(pool)
    bench.push(word(1_000, 0.4))
    for _ in range(100):
        bench.push(PAUSE[:320])
        await bench.settle()
    assert bench.decoded == [7_360, 9_600]


async def test_a_pause_that_has_been_answered_is_not_decoded_again(pool: InferencePool) -> None:
    bench = Bench(pool)
    bench.push(word(1_000, 0.4))
    for index in range(100):
        bench.push(PAUSE[:320])
        if index == 5:
            bench.utterance.flush(7_360)
        await bench.settle()
    assert bench.decoded == [7_360]
    assert bench.said(TranscriptKind.FLUSHED) == ["1000"]


async def test_a_partial_that_ends_where_the_pause_begins_does_not_stand_in_for_it(pool: InferencePool) -> None:
    bench = Bench(pool)
    bench.push(word(1_000, 0.5))
    await bench.settle()
    bench.push(PAUSE[:960])
    await bench.settle()
    assert bench.decoded == [8_000, 8_960]


async def test_a_decode_for_an_overtaken_flush_is_discarded(pool: InferencePool) -> None:
    bench = Bench(pool)
    bench.push(word(300, 0.3))
    bench.utterance.flush(4_800)
    bench.push(word(400, 0.3))
    bench.utterance.flush(9_600)
    await bench.settle()
    assert [(each.text, each.through_sample) for each in bench.transcripts] == [("300 400", 9_600)]


async def test_a_busy_pool_costs_partials_but_not_the_answer(pool: InferencePool) -> None:
    held = threading.Event()
    hog = pool.submit(lambda: held.wait(LIMIT_S), priority=Priority.NORMAL, limit_s=LIMIT_S)
    bench = Bench(pool)
    bench.push(word(300, 2.0))
    assert pool.refused > 0
    bench.utterance.flush(32_000)
    held.set()
    await hog
    await bench.settle()
    assert [each.text for each in bench.transcripts] == ["300"]


async def test_a_failing_decode_is_reported_and_the_utterance_stays_usable(pool: InferencePool) -> None:
    bench = Bench(pool)

    def fail(samples: Samples) -> Decoded:
        raise ValueError(f"cannot decode {len(samples)}")

    bench.decode = fail
    bench.push(word(300, 0.3))
    bench.utterance.flush(4_800)
    await bench.settle()
    assert [(number, error.stage, error.provider) for number, error in bench.failures] == [(1, "stt", "whisper")]
    bench.decode = read_words
    bench.utterance.flush(4_800)
    await bench.settle()
    assert bench.said(TranscriptKind.FLUSHED) == ["300"]


async def test_a_failed_partial_is_not_the_callers_business(pool: InferencePool) -> None:
    failures = [ValueError("first")]

    def fail_once(samples: Samples) -> Decoded:
        if failures:
            raise failures.pop()
        return read_words(samples)

    bench = Bench(pool, fail_once)
    bench.push(word(300, 0.5))
    bench.utterance.flush(8_000)  # joins the partial that is about to fail
    await bench.settle()
    await bench.settle()
    assert bench.failures == []
    assert bench.said(TranscriptKind.FLUSHED) == ["300"]


async def test_a_full_pool_fails_the_flush_as_overloaded() -> None:
    async with InferencePool(workers=1, max_queued=1) as pool:
        held = threading.Event()
        started = threading.Event()

        def hog() -> None:
            started.set()
            assert held.wait(LIMIT_S)

        jobs = [pool.submit(hog, priority=Priority.URGENT, limit_s=LIMIT_S)]
        assert await asyncio.to_thread(started.wait, LIMIT_S)
        jobs.append(pool.submit(lambda: None, priority=Priority.URGENT, limit_s=LIMIT_S))
        bench = Bench(pool)
        bench.push(word(300, 0.3))
        bench.utterance.flush(4_800)
        held.set()
        await asyncio.gather(*jobs)
        assert [type(error) for _, error in bench.failures] == [EngineOverloaded]


async def test_a_ten_minute_monologue_loses_no_word_and_holds_little(pool: InferencePool) -> None:
    bench = Bench(pool)
    held = 0
    for value in range(101, 701):
        bench.push(np.concatenate([word(value), PAUSE]), chunk=1_600)
        held = max(held, len(bench.utterance._audio))
        await bench.settle()
    bench.utterance.flush(bench.position)
    await bench.settle()
    assert bench.position == 600 * SECOND
    assert bench.said(TranscriptKind.FLUSHED) == [" ".join(map(str, range(101, 701)))]
    assert held <= 16 * SECOND


async def test_speech_without_any_pause_is_cut_before_it_grows_past_half_a_minute(pool: InferencePool) -> None:
    def count_seconds(samples: Samples) -> Decoded:
        return Decoded(f"{len(samples)}", -0.1, 1)

    bench = Bench(pool, count_seconds)
    held = 0
    for _ in range(90):
        bench.push(word(5_000, 1.0), chunk=1_600)
        held = max(held, len(bench.utterance._audio))
        await bench.settle()
    bench.utterance.flush(bench.position)
    await bench.settle()
    (text,) = bench.said(TranscriptKind.FLUSHED)
    assert sum(map(int, text.split())) == 90 * SECOND
    assert held <= 29 * SECOND


async def test_audio_that_cannot_be_decoded_in_time_fails_the_utterance_instead_of_losing_words(
    pool: InferencePool,
) -> None:
    held = threading.Event()
    hog = pool.submit(lambda: held.wait(LIMIT_S), priority=Priority.URGENT, limit_s=LIMIT_S)
    bench = Bench(pool)
    bench.push(word(300, 121.0), chunk=SECOND)
    held.set()
    await hog
    await bench.settle()
    assert [type(error) for _, error in bench.failures] == [EngineOverloaded]
    assert len(bench.utterance._audio) == 0
    bench.utterance.flush(bench.position)
    await bench.settle()
    assert [type(error) for _, error in bench.failures] == [EngineOverloaded] * 2
    assert bench.said(TranscriptKind.FLUSHED) == []


async def test_a_decode_that_does_not_come_back_is_a_timeout(pool: InferencePool) -> None:
    def impatient(samples: Samples) -> Decoded:
        raise TimeoutError(f"{len(samples)} samples")

    bench = Bench(pool, impatient)
    bench.push(word(300, 0.3))
    bench.utterance.flush(4_800)
    await bench.settle()
    assert [type(error) for _, error in bench.failures] == [EngineTimeout]
