"""Words and audio of one synthesizer, in whatever order its threads tell them; and what counts as a dead voice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from itertools import permutations
from typing import cast

import numpy as np
import pytest
from virtual_time import run_virtual

from audio.azure.settings import AzureTtsLimits
from audio.errors import EngineError, EngineTimeout
from audio.formats import Samples
from audio.stt.port import WordTiming
from audio.tts.azure_speech import Speech
from audio.tts.azure_stream import AzureTextStream, StreamPorts
from audio.tts.azure_synthesizer import (
    AzureSynthesizer,
    SpeechCanceled,
    SpeechCompleted,
    SpokenAudio,
    SpokenWord,
    SynthesizerEvent,
)
from audio.tts.placing import Placing
from audio.tts.port import SpeechAudio, TtsProfile, Viseme

LIMITS = AzureTtsLimits()
PAUSE_S = 10 * LIMITS.gap_s
WORD_SAMPLES = 2_400
WORDS = ("Ships", "came", "home")
TEXT = "Ships came home. Then he "
PROFILE = TtsProfile("azure", "a voice", 24_000, word_timings=True, text_streaming=True, text_held=True)


def audio(words: int) -> SpokenAudio:
    return SpokenAudio(bytes(2 * WORD_SAMPLES * words))


def told(first: int, *words: str) -> list[SynthesizerEvent]:
    return [
        SpokenWord(word, number * WORD_SAMPLES, (number + 1) * WORD_SAMPLES) for number, word in enumerate(words, first)
    ]


class Silent:
    """A synthesizer of which only the events are of interest."""

    def write(self, text: str) -> None:
        pass

    def end_stream(self) -> None:
        pass


class Talk:
    """A stream under way: what was taken from it so far."""

    def __init__(self) -> None:
        self.speech = Speech(LIMITS)
        self.stream = AzureTextStream(
            StreamPorts(cast("AzureSynthesizer", Silent()), self.speech, self._call, self._settled), LIMITS
        )
        self.pieces: list[SpeechAudio] = []
        self.error: EngineError | None = None
        self.ended = False

    @staticmethod
    async def _call(blocking: Callable[[], None]) -> None:
        blocking()

    @staticmethod
    def _settled(*, spoken: bool) -> None:
        pass

    async def take(self) -> None:
        try:
            async with aclosing(self.stream.audio()) as pieces:
                async for piece in pieces:
                    self.pieces.append(piece)
        except EngineError as error:
            self.error = error
        self.ended = True

    @property
    def words(self) -> list[str]:
        return [word.text for piece in self.pieces for word in piece.words]

    @property
    def samples(self) -> int:
        return sum(len(piece.samples) for piece in self.pieces)


def play(body: Callable[[Talk], Awaitable[None]]) -> Talk:
    async def run() -> Talk:
        talk = Talk()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(talk.take())
            await body(talk)
        return talk

    return run_virtual(run())


ORDERS = [
    pytest.param([*told(0, *WORDS), audio(3)], id="words first"),
    pytest.param([audio(3), *told(0, *WORDS)], id="audio first"),
    pytest.param([*told(0, "Ships", "came"), audio(3), *told(2, "home")], id="the last word behind its audio"),
    pytest.param([audio(1), *told(0, "Ships"), audio(2), *told(1, "came", "home")], id="by turns"),
]


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("events", ORDERS)
def test_a_pause_behind_a_sentence_that_was_said_is_no_dead_voice(
    events: list[SynthesizerEvent], at_once: bool
) -> None:
    async def body(talk: Talk) -> None:
        await talk.stream.write(TEXT)
        for event in events:
            talk.speech.hear(event)
            if not at_once:
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.05)
        assert talk.words == [*WORDS], "all that was said is told before the next sentence is written"
        assert talk.samples == 3 * WORD_SAMPLES
        await asyncio.sleep(PAUSE_S)
        assert not talk.ended
        await talk.stream.write("went. ")
        await talk.stream.finish()
        for event in (audio(3), *told(3, "Then", "he", "went"), SpeechCompleted()):
            talk.speech.hear(event)

    talk = play(body)
    assert talk.error is None
    assert talk.words == [*WORDS, "Then", "he", "went"]
    assert talk.samples == 6 * WORD_SAMPLES


def test_audio_that_is_due_and_does_not_come_is_a_dead_voice_still() -> None:
    async def body(talk: Talk) -> None:
        await talk.stream.write(TEXT)
        for event in (audio(2), *told(0, "Ships", "came")):
            talk.speech.hear(event)
        await asyncio.sleep(LIMITS.gap_s - 0.1)
        assert not talk.ended
        await asyncio.sleep(0.2)
        assert talk.ended

    talk = play(body)
    assert isinstance(talk.error, EngineTimeout)
    assert "no further audio" in str(talk.error)


def test_the_words_of_a_phrase_are_told_once_and_in_order_however_its_events_come() -> None:
    async def run(events: list[SynthesizerEvent], pause_s: float) -> list[SpeechAudio]:
        speech = Speech(LIMITS, offset=1_000)

        async def tell() -> None:
            for event in events:
                speech.hear(event)
                await asyncio.sleep(pause_s)

        async with asyncio.TaskGroup() as tasks, aclosing(speech.chunks()) as chunks:
            tasks.create_task(tell())
            return [chunk async for chunk in chunks]

    first, second, third = told(0, *WORDS)
    for places in permutations(range(6), 3):
        if list(places) != sorted(places):
            continue  # words keep their order, and so does audio
        rest = iter([first, second, third])
        events = [audio(1) if at in places else next(rest) for at in range(6)]
        for pause_s in (0.0, 0.05):
            pieces = run_virtual(run([*events, Viseme(4, 10), SpeechCompleted()], pause_s))
            words = [word for piece in pieces for word in piece.words]
            assert [(word.text, word.start_sample) for word in words] == [
                (text, 1_000 + number * WORD_SAMPLES) for number, text in enumerate(WORDS)
            ]
            assert sum(len(piece.samples) for piece in pieces) == 3 * WORD_SAMPLES
            assert [viseme.start_sample for piece in pieces for viseme in piece.visemes] == [1_010]
            assert len(pieces[0].samples)
            assert all(len(piece.samples) or piece.words or piece.visemes for piece in pieces)


def test_what_sounded_before_the_service_broke_off_is_told() -> None:
    async def body(talk: Talk) -> None:
        for event in (audio(2), *told(0, "Ships", "came"), SpeechCanceled("ConnectionFailure", "")):
            talk.speech.hear(event)

    talk = play(body)
    assert talk.words == ["Ships", "came"]
    assert talk.error is not None


def test_words_without_any_audio_are_nothing_said() -> None:
    async def run() -> list[SpeechAudio]:
        speech = Speech(LIMITS)
        for event in (*told(0, *WORDS), SpeechCompleted()):
            speech.hear(event)
        return [chunk async for chunk in speech.chunks()]

    assert run_virtual(run()) == []


def test_a_word_behind_its_audio_passes_the_fallback_at_once() -> None:
    placing = Placing(PROFILE, 24_000, 500)
    silence: Samples = np.zeros(WORD_SAMPLES, np.int16)
    nothing = silence[:0]
    assert placing.place(SpeechAudio(nothing, 24_000)) is None
    placing.place(SpeechAudio(silence, 24_000))
    early = WordTiming("came", WORD_SAMPLES, 2 * WORD_SAMPLES)
    late = placing.place(SpeechAudio(nothing, 24_000, (WordTiming("Ships", 0, WORD_SAMPLES), early)))
    assert late is not None
    assert late.words == (WordTiming("Ships", 500, 500 + WORD_SAMPLES),)
    assert placing.end == 500 + WORD_SAMPLES
    rest = placing.place(SpeechAudio(silence, 24_000))
    assert rest is not None
    assert [word.text for word in rest.words] == ["came"]
