"""Synthesis with the genuine SDK against a local service: what is sent, what comes, barge-in, text streams."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing

import pytest
from anyio import to_thread
from azure.azure_engines import flat, natives, speaking
from azure.emulator_process import EmulatorProcess

from audio.azure.settings import AzurePlace, AzureTtsSettings, AzureVoice
from audio.errors import EngineError, EngineOverloaded
from audio.fallback import Guarded
from audio.tts.fallback import FallbackTextToSpeech
from audio.tts.port import SpeechRequest
from audio.tts.scripted import ScriptedTextToSpeech

pytest.importorskip("azure.cognitiveservices.speech", reason="the Speech SDK is not installed (extra: azure)")

PLACE = AzurePlace(host="ws://unused")
TEXT = "Good morning, how may I help you today?"


async def spoken(emulator: EmulatorProcess) -> str:
    """All documents and texts the service was sent."""
    state = await to_thread.run_sync(emulator.state)
    return json.dumps([record["texts"] for record in state["connections"]], ensure_ascii=False)


async def test_words_come_in_order_and_within_the_audio(emulator: EmulatorProcess) -> None:
    async with speaking(emulator.ws_url) as engine:
        for _ in range(3):
            audio = [piece async for piece in engine.speak(SpeechRequest(TEXT))]
            words = [word for piece in audio for word in piece.words]
            assert [word.text for word in words] == "Good morning how may I help you today".split()
            assert [word.start_sample for word in words] == sorted(word.start_sample for word in words)
            assert words[-1].end_sample <= sum(len(piece.samples) for piece in audio)
            assert {piece.sample_rate_hz for piece in audio} == {24_000}


async def test_visemes_come_where_they_are_wanted(emulator: EmulatorProcess) -> None:
    for wanted in (False, True):
        async with speaking(emulator.ws_url, AzureTtsSettings(PLACE, visemes=wanted)) as engine:
            audio = [piece async for piece in engine.speak(SpeechRequest(TEXT))]
            assert any(piece.visemes for piece in audio) is wanted


async def test_what_was_said_is_text_and_what_we_ask_for_is_markup(emulator: EmulatorProcess) -> None:
    voice = AzureVoice(style="cheerful", pitch="+5%", lexicon_uri="https://example.com/lexicon.xml")
    async with speaking(emulator.ws_url, AzureTtsSettings(PLACE, voice)) as engine:
        text = 'Ignore <break time="9s"/> & say </voice></speak>'
        assert [piece async for piece in engine.speak(SpeechRequest(text, rate=1.5, voice="de-DE-KatjaNeural"))]
    said = await spoken(emulator)
    assert "&lt;break" in said
    assert "<break" not in said
    for part in ("cheerful", "+50%", "+5%", "lexicon.xml", "de-DE-KatjaNeural"):
        assert part in said


async def test_a_long_text_is_one_phrase_to_its_words(emulator: EmulatorProcess) -> None:
    async with speaking(emulator.ws_url) as engine:
        audio = [piece async for piece in engine.speak(SpeechRequest(f"{TEXT} " * 40, rate=2.0))]
    starts = [word.start_sample for piece in audio for word in piece.words]
    assert len(starts) == 8 * 40
    assert starts == sorted(starts)


async def test_after_a_barge_in_a_spare_synthesizer_speaks(emulator: EmulatorProcess) -> None:
    before = natives()
    async with speaking(emulator.ws_url) as engine:
        await engine.warm_up()
        for _ in range(4):
            async with aclosing(engine.speak(SpeechRequest(TEXT * 5))) as speech:
                await anext(speech)
            audio = [piece async for piece in engine.speak(SpeechRequest("Yes."))]
            assert [word.text for piece in audio for word in piece.words] == ["Yes"], "nothing of the answer before"
    await flat(before)


async def test_a_text_stream_sounds_before_its_text_is_complete(emulator: EmulatorProcess) -> None:
    async with speaking(emulator.ws_url) as engine:
        stream = await engine.open_text(SpeechRequest("The first sentence. "))
        async with aclosing(stream.audio()) as speech:
            first = await anext(speech)
            assert len(first.samples)
            await stream.write("The second one.")
            await stream.finish()
            rest = [piece async for piece in speech]
        words = [word.text for piece in [first, *rest] for word in piece.words]
        assert words == "The first sentence The second one".split()
        with pytest.raises(EngineError):
            await stream.write("Too late.")
    state = await to_thread.run_sync(emulator.state)
    assert any(record["path"].endswith("/v2") and record["received"].get("text.end") for record in state["connections"])


async def test_text_streams_left_in_any_state_leave_nothing_behind(emulator: EmulatorProcess) -> None:
    before = natives()
    async with speaking(emulator.ws_url) as engine:
        unread = await engine.open_text(SpeechRequest("Never taken. "))
        await unread.aclose()
        unfinished = await engine.open_text(SpeechRequest(""))
        await unfinished.write("Cut short. ")
        async with aclosing(unfinished.audio()) as speech:
            await anext(speech)
        with pytest.raises(EngineOverloaded):
            await (await engine.open_text(SpeechRequest(""))).write("x" * 20_000)
        await engine.open_text(SpeechRequest("Still open when the engine closes."))
    await flat(before)


async def test_visitors_may_speak_at_once(emulator: EmulatorProcess) -> None:
    async with speaking(emulator.ws_url) as engine:

        async def one(text: str) -> list[str]:
            return [word.text async for piece in engine.speak(SpeechRequest(text)) for word in piece.words]

        texts = [f"number {'one two three four five six'.split()[number]}" for number in range(6)]
        assert await asyncio.gather(*map(one, texts)) == [text.split() for text in texts]


async def test_a_service_that_falls_silent_is_covered_by_the_alternate(emulator: EmulatorProcess) -> None:
    emulator.inject(kind="stall", at="audio", service="tts")
    async with speaking(emulator.ws_url) as azure:
        engine = FallbackTextToSpeech([Guarded(azure), Guarded(ScriptedTextToSpeech())], first_audio_s=0.3)
        audio = [piece async for piece in engine.speak(SpeechRequest("Hello there."))]
        assert [word.text for piece in audio for word in piece.words] == ["Hello", "there."]


async def test_warming_up_has_spares_for_streams_too_unless_they_are_off(emulator: EmulatorProcess) -> None:
    for streams in (True, False):
        async with speaking(emulator.ws_url, AzureTtsSettings(PLACE, text_streaming=streams)) as engine:
            assert engine.profile.text_streaming is streams
            await engine.warm_up()
            assert len(engine.pools) == 1 + streams
            async with asyncio.timeout(20):
                while any(not pool.spares for pool in engine.pools):  # noqa: ASYNC110 - a pool tells nobody
                    await asyncio.sleep(0.02)
