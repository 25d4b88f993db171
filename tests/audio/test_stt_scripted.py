from __future__ import annotations

import asyncio

import numpy as np
import pytest

from audio.errors import EngineError, EngineTimeout
from audio.formats import PcmChunk
from audio.stt.port import SttOptions, Transcript, TranscriptKind
from audio.stt.scripted import ProtocolMisuse, ScriptedSpeechToText, ScriptedStream

CHUNK = np.zeros(320, dtype=np.int16)


async def opened(
    script: list[str | EngineError], heard: list[Transcript | EngineError], partial_every_ms: int | None = None
) -> ScriptedStream:
    engine = ScriptedSpeechToText(script, partial_every_ms=partial_every_ms)
    return await engine.open(SttOptions(), heard.append, lambda _, error: heard.append(error))


async def test_utterances_take_the_texts_in_turn_and_start_over() -> None:
    heard: list[Transcript | EngineError] = []
    stream = await opened(["One.", "Two."], heard)
    for number in range(3):
        stream.begin(number, number * 320)
        stream.push(PcmChunk(CHUNK, number * 320))
        stream.flush(number, (number + 1) * 320)
        await asyncio.sleep(0)
    assert [each.text for each in heard if isinstance(each, Transcript)] == ["One.", "Two.", "One."]


async def test_a_second_flush_of_an_utterance_tells_the_same_text() -> None:
    heard: list[Transcript | EngineError] = []
    stream = await opened(["One.", "Two."], heard)
    stream.begin(1, 0)
    for through in (0, 320):
        stream.flush(1, through)
        await asyncio.sleep(0)
    assert [(each.text, each.through_sample) for each in heard if isinstance(each, Transcript)] == [
        ("One.", 0),
        ("One.", 320),
    ]


async def test_a_scripted_error_is_a_failure() -> None:
    heard: list[Transcript | EngineError] = []
    error = EngineTimeout("late", stage="stt", provider="scripted")
    stream = await opened([error], heard)
    stream.begin(1, 0)
    stream.flush(1, 0)
    await asyncio.sleep(0)
    assert heard == [error]


async def test_partials_grow_by_a_word() -> None:
    heard: list[Transcript | EngineError] = []
    stream = await opened(["Go forward ten"], heard, partial_every_ms=20)
    stream.begin(1, 0)
    for index in range(5):
        stream.push(PcmChunk(CHUNK, index * 320))
    partials = [each for each in heard if isinstance(each, Transcript)]
    assert [each.text for each in partials] == ["Go", "Go forward", "Go forward ten"]
    assert {each.kind for each in partials} == {TranscriptKind.PARTIAL}


async def test_misuse_is_an_error() -> None:
    stream = await opened(["One."], [])
    with pytest.raises(ProtocolMisuse):
        stream.push(PcmChunk(CHUNK, 0))
    stream.begin(1, 320)
    with pytest.raises(ProtocolMisuse):
        stream.push(PcmChunk(CHUNK, 0))
    with pytest.raises(ProtocolMisuse):
        stream.push(PcmChunk(CHUNK, 320, 8_000))
    with pytest.raises(ProtocolMisuse):
        stream.flush(2, 320)
    stream.end(1)
    with pytest.raises(ProtocolMisuse):
        stream.flush(1, 320)
    await stream.aclose()
    with pytest.raises(ProtocolMisuse):
        stream.begin(2, 320)
