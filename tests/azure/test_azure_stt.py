"""Recognition with the genuine SDK against a local service: what is asked, what is heard, long sessions, replay."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from anyio import to_thread
from azure.azure_engines import Ears, clip, flat, natives, recognizing, say
from azure.emulator_process import EmulatorProcess, azure_emulator

from audio.azure.settings import AzurePlace, AzureSttLimits, AzureSttSettings, PoolOptions
from audio.breaker import BreakerOptions, CircuitBreaker
from audio.errors import EngineUnavailable
from audio.fallback import Degradation, Guarded
from audio.stt.fallback import FallbackSpeechToText
from audio.stt.port import SttOptions, TranscriptKind
from audio.stt.scripted import ScriptedSpeechToText

pytest.importorskip("azure.cognitiveservices.speech", reason="the Speech SDK is not installed (extra: azure)")

PLACE = AzurePlace(host="ws://unused")
SETTINGS = AzureSttSettings(PLACE)
TEXT = "Go forward ten meters."


@pytest.fixture(scope="module")
def service() -> Iterator[EmulatorProcess]:
    with azure_emulator("--say", TEXT) as emulator:
        yield emulator


async def test_words_and_phrases_stand_where_they_were_said(emulator: EmulatorProcess) -> None:
    speech = clip()
    async with recognizing(emulator.ws_url) as engine:
        ears = Ears()
        stream = await engine.open(SttOptions(), ears.on_transcript, ears.on_failure)
        for number, start in enumerate((16_000, 480_000, 4_800_000)):
            stream.begin(number, start)
            stream.flush(number, await say(stream, speech, start, real_time=False))
            await ears.until(lambda number=number: len(ears.answers) == number + 1)
            stream.end(number)
            words = [each for each in ears.transcripts if each.utterance_id == number][-1].words
            assert [word.text for word in words] in ([], ["go", "forward", "ten", "meters"])
            for word in words:
                assert start <= word.start_sample < word.end_sample <= start + len(speech)
        assert ears.failures == []
        await stream.aclose()
    state = await to_thread.run_sync(emulator.state)
    assert sum(record["turns"] > 0 for record in state["connections"]) == 1, "one recognizer for the session"


async def test_what_the_settings_say_is_asked_of_the_service(emulator: EmulatorProcess) -> None:
    settings = AzureSttSettings(
        PLACE, languages=("en-US", "de-DE"), profanity="raw", dictation=True, segmentation_ms=450, stable_partials=3
    )
    async with recognizing(emulator.ws_url, settings) as engine:
        ears = Ears()
        wanted = SttOptions(phrases=("Convergio", "Zürich"))
        stream = await engine.open(wanted, ears.on_transcript, ears.on_failure)
        stream.begin(1, 0)
        stream.flush(1, await say(stream, clip(), 0, real_time=False))
        await ears.until(lambda: ears.answers)
        await stream.aclose()
    state = await to_thread.run_sync(emulator.state)
    (record,) = [each for each in state["connections"] if each["turns"]]
    asked = json.dumps([record["query"], record["contexts"]], ensure_ascii=False)
    for word in ("raw", "450", "Convergio", "Zürich", "de-DE", "detailed", "DICTATION"):
        assert word.lower() in asked.lower(), word


async def test_an_interim_answer_is_corrected_by_the_final_even_after_the_utterance(emulator: EmulatorProcess) -> None:
    emulator.inject(kind="words", text="go back ten meters", service="stt")
    emulator.inject(kind="delay", at="phrase", ms=1_000, service="stt")
    limits = AzureSttLimits(interim_s=0.1)
    async with recognizing(emulator.ws_url, replace(SETTINGS, limits=limits)) as engine:
        await engine.warm_up()
        ears = Ears()
        stream = await engine.open(SttOptions(), ears.on_transcript, ears.on_failure)
        stream.begin(1, 0)
        end = await say(stream, clip()[:36_000], 0)  # to its last word
        await ears.until(lambda: ears.of(TranscriptKind.PARTIAL))
        stream.flush(1, end)
        await ears.until(lambda: ears.answers)
        stream.end(1)
        stream.begin(2, end)
        await ears.until(lambda: ears.of(TranscriptKind.CORRECTED))
        await stream.aclose()
    assert ears.answers == ["Go back ten meters"]
    assert [each.interim for each in ears.transcripts if each.kind is TranscriptKind.FLUSHED] == [True]
    [corrected] = [each for each in ears.transcripts if each.kind is TranscriptKind.CORRECTED]
    assert (corrected.utterance_id, corrected.text) == (1, TEXT)


async def test_words_that_were_acted_upon_before_an_answer_came_are_corrected_by_it(emulator: EmulatorProcess) -> None:
    emulator.inject(kind="words", text="go back ten meters", service="stt")
    emulator.inject(kind="delay", at="phrase", ms=1_000, service="stt")
    limits = AzureSttLimits(interim_s=30, settle_s=30)
    async with recognizing(emulator.ws_url, replace(SETTINGS, limits=limits)) as engine:
        await engine.warm_up()
        ears = Ears()
        stream = await engine.open(SttOptions(), ears.on_transcript, ears.on_failure)
        stream.begin(1, 0)
        end = await say(stream, np.concatenate([clip()[:36_000], clip()[30_000:36_000]]), 0)  # on behind its words
        await ears.until(lambda: ears.of(TranscriptKind.PARTIAL))
        stream.flush(1, end)
        stream.end(1)
        stream.begin(2, end)
        await ears.until(lambda: ears.of(TranscriptKind.CORRECTED))
        await stream.aclose()
    assert ears.answers == []
    [corrected] = [each for each in ears.transcripts if each.kind is TranscriptKind.CORRECTED]
    assert (corrected.utterance_id, corrected.text) == (1, TEXT)


async def test_a_session_longer_than_the_provider_allows_rolls_over_between_utterances(
    emulator: EmulatorProcess,
) -> None:
    now_s = 0.0
    limits = AzureSttLimits(session_s=60, session_margin_s=10, idle_s=1_000)
    settings = replace(SETTINGS, limits=limits, pool=PoolOptions(max_idle_s=15))
    before = natives()
    async with recognizing(emulator.ws_url, settings, lambda: now_s) as engine:
        ears = Ears()
        stream = await engine.open(SttOptions(partials=False), ears.on_transcript, ears.on_failure)
        for number in range(12):
            stream.begin(number, number * 160_000)
            stream.flush(number, await say(stream, clip(), number * 160_000, real_time=False))
            await ears.until(lambda number=number: len(ears.answers) == number + 1)
            stream.end(number)
            now_s += 20.0
        assert ears.answers == [TEXT] * 12
        await stream.aclose()
    state = await to_thread.run_sync(emulator.state)
    used = [record for record in state["connections"] if record["turns"]]
    assert len(used) == 4, "240 s in recognizers of at most 60 s"
    await flat(before)


async def test_noise_and_silence_are_answered(emulator: EmulatorProcess) -> None:
    async with recognizing(emulator.ws_url) as engine:
        ears = Ears()
        stream = await engine.open(SttOptions(), ears.on_transcript, ears.on_failure)
        stream.begin(1, 0)
        stream.flush(1, await say(stream, np.zeros(16_000, np.int16), 0, real_time=False))
        await ears.until(lambda: ears.answers)
        await stream.aclose()


async def test_a_dead_service_is_covered_by_the_alternate_in_the_same_utterance(emulator: EmulatorProcess) -> None:
    emulator.inject(kind="close", code=4429, at="hypothesis", service="stt")
    async with recognizing(emulator.ws_url) as azure:
        told: list[Degradation] = []
        breaker = CircuitBreaker(BreakerOptions(failures=1))
        alternate = ScriptedSpeechToText(["From the alternate."])
        engine = FallbackSpeechToText([Guarded(azure, breaker), Guarded(alternate)]).for_session(told.append)
        ears = Ears()
        stream = await engine.open(SttOptions(partials=False), ears.on_transcript, ears.on_failure)
        stream.begin(1, 0)
        stream.flush(1, await say(stream, clip(), 0, pace=4.0))
        await ears.until(lambda: ears.answers)
        assert ears.answers == ["From the alternate."]
        assert [degradation.instead for degradation in told] == ["scripted"]
        await stream.aclose()


async def test_tenants_with_keys_of_their_own_share_no_connection(service: EmulatorProcess) -> None:
    del service
    with azure_emulator("--say", TEXT, "--key", "right") as guarded:
        async with recognizing(guarded.ws_url) as wrong:
            ears = Ears()
            stream = await wrong.open(SttOptions(), ears.on_transcript, ears.on_failure)
            stream.begin(1, 0)
            await ears.until(lambda: ears.failures)
            assert isinstance(ears.failures[0], EngineUnavailable)
            await stream.aclose()


async def test_many_streams_leave_nothing_behind(emulator: EmulatorProcess) -> None:
    before = natives()
    patient = AzureSttLimits(connect_s=10.0, interim_s=15.0, final_s=18.0)  # eight at once, on whatever machine
    settings = replace(SETTINGS, limits=patient, pool=PoolOptions(spares=4, most=12))
    async with recognizing(emulator.ws_url, settings) as engine:
        await engine.warm_up()

        async def one(number: int) -> list[str]:
            ears = Ears()
            stream = await engine.open(SttOptions(partials=False), ears.on_transcript, ears.on_failure)
            stream.begin(number, 0)
            stream.flush(number, await say(stream, clip(), 0, real_time=False))
            await ears.until(lambda: ears.answers)
            await stream.aclose()
            return ears.answers

        answers = await asyncio.gather(*(one(number) for number in range(8)))
        assert answers == [[TEXT]] * 8
        assert all(pool.alive <= 12 for pool in engine.pools)
    await flat(before)
