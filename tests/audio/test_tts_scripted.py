"""The tone that stands for a voice: exact, repeatable, and obedient to its hook."""

from __future__ import annotations

import numpy as np
import pytest

from audio.errors import EngineTimeout
from audio.tts.port import SpeechRequest
from audio.tts.scripted import ScriptedTextToSpeech, ScriptedVoice


async def test_length_follows_the_text_to_the_sample_and_every_run_is_the_same() -> None:
    engine = ScriptedTextToSpeech(ScriptedVoice(sample_rate_hz=16_000, ms_per_character=50, chunk_ms=100))

    runs = [[audio.samples async for audio in engine.speak(SpeechRequest("hello world"))] for _ in range(2)]

    assert [len(samples) for samples in runs[0]] == [1_600] * 5 + [800]
    np.testing.assert_array_equal(np.concatenate(runs[0]), np.concatenate(runs[1]))


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 48_000])
async def test_the_tone_goes_on_smoothly_over_every_border(rate_hz: int) -> None:
    engine = ScriptedTextToSpeech(ScriptedVoice(sample_rate_hz=rate_hz, chunk_ms=70))

    chunks = [audio.samples.astype(int) async for audio in engine.speak(SpeechRequest("a" * 50))]

    steepest = 4_000 * 2 * np.pi * 200 / rate_hz + 2
    assert np.abs(np.diff(np.concatenate(chunks))).max() <= steepest


async def test_each_word_comes_once_with_the_chunk_it_begins_in() -> None:
    engine = ScriptedTextToSpeech(ScriptedVoice(sample_rate_hz=16_000, ms_per_character=50, chunk_ms=100))

    start = 0
    words: list[tuple[str, int, int]] = []
    async for audio in engine.speak(SpeechRequest("hi to you")):
        for word in audio.words:
            assert start <= word.start_sample < start + len(audio.samples)
            words.append((word.text, word.start_sample, word.end_sample))
        start += len(audio.samples)

    assert words == [("hi", 0, 1_600), ("to", 2_400, 4_000), ("you", 4_800, 7_200)]


async def test_the_hook_sees_every_chunk_and_its_failure_is_the_engines() -> None:
    seen: list[tuple[str, int]] = []

    async def hook(request: SpeechRequest, number: int) -> None:
        seen.append((request.text, number))
        if request.text == "fail" and number == 1:
            raise EngineTimeout("too slow", stage="tts", provider="scripted")

    engine = ScriptedTextToSpeech(before_chunk=hook)

    speech = engine.speak(SpeechRequest("fail"))
    await anext(speech)
    with pytest.raises(EngineTimeout):
        await anext(speech)
    assert seen == [("fail", 0), ("fail", 1)]
