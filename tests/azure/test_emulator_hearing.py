"""One turn's recognition: phrases are cut at silence, at marks and at the end of audio, and come in order."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from audio.errors import EngineTimeout
from audio.formats import Samples
from audio.stt.scripted import ScriptedSpeechToText
from audio.vad.port import VadOptions
from server.azure_emulator.hearing import Hearing
from server.azure_emulator.scripted_hearing import PHRASE_END, LoudnessDetector
from server.azure_emulator.stt_phrases import Span
from server.azure_emulator.stt_request import SttRequest
from server.azure_emulator.stt_session import Failed, Finished, Partial, Phrase, Silence, SpeechStarted, SttResult

MS = 16


def loud(ms: int) -> Samples:
    return np.full(ms * MS, 3_000, np.int16)


def quiet(ms: int) -> Samples:
    return np.zeros(ms * MS, np.int16)


async def heard(
    *pieces: Samples, request: SttRequest | None = None, stt: ScriptedSpeechToText | None = None
) -> list[SttResult]:
    request = request or SttRequest()
    results: list[SttResult] = []
    detector = LoudnessDetector(VadOptions(min_speech_ms=20, min_silence_ms=request.segmentation_ms))
    hearing = Hearing(request, detector, results.append)
    await hearing.open(stt or ScriptedSpeechToText(["One.", "Two.", "Three."]))
    for piece in pieces:
        hearing.push(piece)
    hearing.finish()
    for _ in range(20):
        await asyncio.sleep(0)
    assert results[-1] == Finished(sum(map(len, pieces)))
    await hearing.aclose()
    return results[:-1]


def phrases(results: list[SttResult]) -> list[tuple[str, int, int]]:
    return [
        (result.transcript.text, result.transcript.start_sample // MS, result.transcript.through_sample // MS)
        for result in results
        if isinstance(result, Phrase)
    ]


async def test_silence_as_long_as_the_client_wants_ends_a_phrase() -> None:
    audio = (quiet(100), loud(400), quiet(310), loud(200), quiet(310))
    longer = await heard(*audio, request=SttRequest(segmentation_ms=400))
    assert phrases(longer) == [("One.", 100, 1_320)]
    shorter = await heard(*audio, request=SttRequest(segmentation_ms=300))
    assert phrases(shorter) == [("One.", 100, 500), ("Two.", 810, 1_010)]
    assert [result.sample // MS for result in shorter if isinstance(result, SpeechStarted)] == [100, 810]


async def test_the_end_of_audio_ends_a_phrase_at_once() -> None:
    assert phrases(await heard(quiet(100), loud(200))) == [("One.", 100, 300)]


async def test_a_mark_ends_a_phrase_wherever_it_is_cut() -> None:
    mark = np.array(PHRASE_END, np.int16)
    audio = np.concatenate([loud(200), mark, loud(100), mark, quiet(20)])
    for size in (1, 3, 160, 320, 5_000):
        results = await heard(*[audio[at : at + size] for at in range(0, len(audio), size)])
        assert phrases(results) == [("One.", 0, 200), ("Two.", 200, 300)], size


async def test_nothing_but_silence_is_told_as_often_as_the_client_waits() -> None:
    results = await heard(quiet(2_500), request=SttRequest(initial_silence_ms=1_000))
    assert results == [Silence(Span(0, 1_000 * MS)), Silence(Span(1_000 * MS, 2_000 * MS))]


async def test_an_engine_that_fails_fails_its_phrase_only() -> None:
    stt = ScriptedSpeechToText([EngineTimeout("too slow", stage="stt", provider="scripted"), "Two."])
    results = await heard(loud(200), quiet(600), loud(200), quiet(600), stt=stt)
    assert Failed(Span(0, 200 * MS)) in results
    assert [text for text, _, _ in phrases(results)] == ["Two."]


async def test_partial_results_come_before_the_phrase() -> None:
    stt = ScriptedSpeechToText(["Go forward ten meters."], partial_every_ms=100)
    results = await heard(loud(500), stt=stt)
    kinds = [type(result) for result in results]
    assert kinds == [SpeechStarted, *[Partial] * 4, Phrase]


async def test_a_phrase_without_a_pause_is_cut() -> None:
    results = await heard(*[loud(1_000)] * 61)
    assert [(start, end) for _, start, end in phrases(results)] == [(0, 60_000), (60_000, 61_000)]


@pytest.mark.parametrize("size", [1, 100, 333])
async def test_results_do_not_depend_on_how_audio_is_cut(size: int) -> None:
    audio = np.concatenate([quiet(100), loud(300), quiet(600), loud(100), quiet(600)])
    whole = await heard(audio)
    cut = await heard(*[audio[at : at + size] for at in range(0, len(audio), size)])
    assert phrases(cut) == phrases(whole)
