"""What is told of a turn's requests to its voice: when, by whom, and how much text each of them was given."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from conversation import Script
from test_dialogues import ask, ledger, play
from test_streamed_replies import REPLY, streamed

from agents.call_log import CallLog
from agents.core.accounts import TurnAccount
from agents.core.voice_requests import VoiceRequests
from agents.events import ProviderCall, TurnCompleted, TurnLatency
from agents.models.port import ContentFilter
from agents.models.scripted import ScriptedReply
from audio.errors import EngineError, EngineTimeout
from audio.fallback import Guarded, Maker
from audio.tts.fallback import FallbackTextToSpeech
from audio.tts.port import SpeechAudio, SpeechRequest, TextToSpeech, TtsProfile
from audio.tts.scripted import ScriptedTextToSpeech
from audio.tts.scripted_stream import ScriptedTextStreaming

PREFERRED, PIPER = Maker("azure", "ava"), Maker("piper", "joe")
PROFILE = TtsProfile(*PREFERRED, sample_rate_hz=24_000)
DEAD = EngineError("the line is dead", stage="tts", provider="azure")


class Piper(ScriptedTextToSpeech):
    """The scripted voice under another name."""

    @property
    def profile(self) -> TtsProfile:
        return replace(super().profile, provider="piper", model="joe")


class Book:
    """Requests of one turn, and what was told of them."""

    def __init__(self) -> None:
        self.log, self.account = CallLog(), TurnAccount("turn_1", "assistant", 1)
        self.requests = VoiceRequests(self.log, self.account, PROFILE)

    def spoke(self, samples: int, maker: Maker | None = None) -> None:
        self.requests.spoke(SpeechAudio(np.zeros(samples, np.int16), 24_000, maker=maker))

    @property
    def told(self) -> list[tuple[str, str, int, str, str | None]]:
        calls = self.log.calls
        return [(call.provider, call.model, call.characters, call.end, call.error_code) for call in calls]


async def test_a_request_is_the_engines_that_answered_it() -> None:
    book = Book()
    with book.requests.ending():
        book.requests.opened()
        book.requests.says(12)
        book.spoke(0)  # words alone are nobody's answer
        book.spoke(2_400, PIPER)
    with book.requests.ending():
        pass  # nothing that could be said
    assert book.told == [("piper", "joe", 12, "finished", None)]
    assert book.account.tts_characters == 12
    (call,) = book.log.calls
    assert call.first_at_s is not None
    assert call.started_at_s <= call.first_at_s <= call.ended_at_s


async def test_a_request_that_changed_hands_midway_is_a_call_of_each() -> None:
    book = Book()
    with book.requests.ending():
        book.requests.opened()
        book.requests.says(10)
        book.spoke(1_000, PREFERRED)
        await asyncio.sleep(0.01)
        book.spoke(3_000, PIPER)
        book.requests.says(10)
    assert book.told == [
        ("azure", "ava", 5, "failed", "provider.unavailable"),
        ("piper", "joe", 15, "finished", None),
    ]
    first, second = book.log.calls
    assert first.ended_at_s == pytest.approx(second.started_at_s, abs=0.005)


@pytest.mark.parametrize(
    ("error", "end", "code"),
    [
        (DEAD, "failed", "provider.unavailable"),
        (EngineTimeout("late", stage="tts", provider="azure"), "failed", "provider.timeout"),
        (ValueError("ours"), "failed", "internal"),
        (asyncio.CancelledError(), "stopped", None),
    ],
)
async def test_how_it_ended_is_told(error: BaseException, end: str, code: str | None) -> None:
    book = Book()
    with pytest.raises(type(error)), book.requests.ending():  # noqa: PT012
        book.requests.opened()
        book.requests.says(7)
        raise error
    assert book.told == [("azure", "ava", 7, end, code)]


async def test_what_is_not_wanted_any_more_is_stopped_and_the_next_request_is_not() -> None:
    book = Book()
    for unwanted in (True, False):
        with book.requests.ending():
            book.requests.opened()
            if unwanted:
                book.requests.unwanted()
    assert [call.end for call in book.log.calls] == ["stopped", "finished"]


# --- in conversations ---


def spoken(script: Script) -> list[ProviderCall]:
    done = play(ask, script).one(TurnCompleted)
    return [call for call in done.calls if call.operation == "text_to_speech"]


def test_a_reply_spoken_while_it_is_written_is_one_request_of_all_its_characters() -> None:
    (call,) = spoken(streamed())
    assert (call.provider, call.characters, call.end) == ("scripted", len(REPLY), "finished")
    assert call.first_at_s is not None
    assert call.first_at_s - call.started_at_s < 1.0 < call.ended_at_s - call.started_at_s


def test_phrases_are_a_request_each_and_every_one_tells_its_first_audio() -> None:
    calls = spoken(streamed(voice=ScriptedTextToSpeech()))
    assert len(calls) > 1
    assert all(call.first_at_s is not None for call in calls)
    assert all(before.ended_at_s <= after.started_at_s for before, after in pairwise(calls))


@pytest.mark.parametrize("breaks_at", [0, 14])
def test_a_stand_in_is_named_in_calls_stages_and_usage(breaks_at: int) -> None:
    async def breaks(_: SpeechRequest, number: int) -> None:
        if number >= breaks_at:
            raise DEAD

    voices: list[TextToSpeech] = [ScriptedTextStreaming(before_chunk=breaks), Piper()]
    talk = play(ask, streamed(voice=FallbackTextToSpeech([Guarded(voice) for voice in voices])))
    calls = [call for call in talk.one(TurnCompleted).calls if call.operation == "text_to_speech"]
    (stage,) = [stage for stage in talk.one(TurnLatency).stages if stage.stage == "tts"]
    if breaks_at:
        assert [(call.provider, call.end) for call in calls] == [("scripted", "failed"), ("piper", "finished")]
        assert (stage.provider, stage.model) == ("scripted", "tone")
    else:
        assert [(call.provider, call.model, call.end) for call in calls] == [("piper", "joe", "finished")]
        assert (stage.provider, stage.model) == ("piper", "joe")
    [event] = ledger(talk)
    assert sum(call.characters for call in calls) == event.tts_characters
    assert {share.provider for share in event.shares if share.stage == "tts"} == {call.provider for call in calls}


def test_a_stream_of_a_reply_that_is_refused_is_stopped_and_the_refusal_is_a_request() -> None:
    script = replace(streamed(), replies=(ScriptedReply(REPLY, verdict=ContentFilter("completion")),))
    assert [call.end for call in spoken(script)] == ["stopped", "finished"]
