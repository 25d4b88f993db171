"""Who did what of a turn: shares that add up exactly, whoever stood in for whom and whenever."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.core.accounts import TurnAccount
from agents.core.options import Identity
from agents.models.port import ModelProfile, Overtaken, TokenUsage
from audio.errors import EngineError
from audio.fallback import Guarded, Maker
from audio.formats import PcmChunk
from audio.stt.fallback import FallbackSpeechToText
from audio.stt.port import SttOptions, SttProfile
from audio.stt.scripted import ScriptedSpeechToText
from metering.apportion import apportion
from metering.codec import from_json, to_json
from metering.errors import InvalidUsageEvent
from metering.usage import ProviderShare, StageProvider, UsageEvent

AZURE, WHISPER, PIPER = Maker("azure", "conversation"), Maker("whisper", "tiny.en"), Maker("piper", "joe")
VOICE = Maker("azure", "en-US-AvaMultilingualNeural")
IDENTITY = Identity("ses_1")
makers = st.sampled_from([AZURE, WHISPER, PIPER, VOICE])
weights = st.dictionaries(makers, st.integers(0, 10**9), max_size=4)


def account() -> TurnAccount:
    providers = {"stt": StageProvider(*AZURE), "tts": StageProvider(*VOICE)}
    return TurnAccount("turn_1", "assistant", 1, providers)


def recorded(of: TurnAccount) -> UsageEvent:
    """As the ledger has it: the codec checks that the shares add up."""
    return from_json(to_json(of.event(IDENTITY, 2, ())))


@given(st.integers(0, 10**12), weights)
def test_parts_add_up_and_none_is_more_than_one_off_its_proportion(total: int, by: dict[Maker, int]) -> None:
    whole = sum(by.values())
    if not whole:
        if total:
            with pytest.raises(ValueError, match="nobody"):
                apportion(total, by)
        return
    parts = apportion(total, by)
    assert sum(parts.values()) == total
    for name, weight in by.items():
        assert abs(parts.get(name, 0) * whole - total * weight) < whole


phrases = st.lists(st.tuples(st.integers(0, 500), st.lists(st.tuples(makers, st.integers(0, 90_000)), max_size=3)))


@given(weights, phrases, st.integers(0, 10**6), st.integers(0, 10**6))
def test_shares_always_add_up_to_the_totals(
    heard: dict[Maker, int], spoken: list[tuple[int, list[tuple[Maker, int]]]], in_ms: int, made_ms: int
) -> None:
    turn = account()
    turn.audio_ms_in, turn.audio_ms_synthesized = in_ms, made_ms
    turn.work.heard(heard)
    for characters, pieces in spoken:
        turn.tts_characters += characters
        turn.work.asked(characters)
        for maker, samples in pieces:
            turn.work.spoke(maker, samples)
    event = recorded(turn)
    for stage, name in (("stt", "audio_ms_in"), ("tts", "audio_ms_synthesized"), ("tts", "tts_characters")):
        assert sum(getattr(share, name) for share in event.shares if share.stage == stage) == getattr(event, name)


tokens = st.builds(TokenUsage, st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.booleans())
models = st.sampled_from([ModelProfile("azure", name) for name in ("big", "small", "tiny")])


@given(st.lists(st.tuples(models, tokens), max_size=4), tokens, st.lists(st.tuples(models, tokens), max_size=3))
def test_tokens_are_divided_among_all_models_that_took_any_and_add_up(
    rounds: list[tuple[ModelProfile, TokenUsage]], unknown: TokenUsage, lost: list[tuple[ModelProfile, TokenUsage]]
) -> None:
    turn = account()
    turn.providers["agent"] = StageProvider("azure", "big")
    turn.asked_models(sum((usage for _, usage in rounds), unknown), rounds, [Overtaken(*each) for each in lost])
    event = recorded(turn)
    took = [*rounds, *lost, (ModelProfile("azure", "big"), unknown)]
    for name in ("input_tokens", "cached_input_tokens", "output_tokens"):
        assert getattr(event, name) == sum(getattr(usage, name) for _, usage in took)
        for model in ("big", "small", "tiny"):
            shared = sum(
                getattr(share, name) for share in event.shares if (share.stage, share.model) == ("agent", model)
            )
            assert shared == sum(getattr(usage, name) for profile, usage in took if profile.model == model)
    assert event.estimated == any(usage.estimated for _, usage in took)
    assert event.overtaken_tokens == sum(usage.input_tokens + usage.output_tokens for _, usage in lost)


def test_a_drafts_tokens_are_speculative_whichever_model_took_them() -> None:
    draft, turn = account(), TurnAccount("turn_2", "assistant", 1, {"agent": StageProvider("azure", "big")})
    draft.asked_models(TokenUsage(10, 0, 2), (), [Overtaken(ModelProfile("azure", "small"), TokenUsage(9))])
    turn.absorb([draft])
    event = recorded(turn)
    assert (event.speculative_tokens, event.input_tokens, event.shares) == (21, 0, ())
    assert event.overtaken_tokens == 0  # of the input and output tokens, of which a draft's are no part


def test_a_phrase_that_changed_hands_is_divided_and_the_others_are_not() -> None:
    turn = account()
    turn.audio_ms_synthesized, turn.tts_characters = 3_000, 60
    turn.work.asked(20)
    turn.work.spoke(VOICE, 24_000)
    turn.work.asked(40)
    turn.work.spoke(VOICE, 12_000)
    turn.work.spoke(PIPER, 36_000)
    assert recorded(turn).shares == (
        ProviderShare("tts", *VOICE, audio_ms_synthesized=1_500, tts_characters=30),
        ProviderShare("tts", *PIPER, audio_ms_synthesized=1_500, tts_characters=30),
    )


def test_characters_asked_for_in_vain_go_to_whoever_spoke_the_rest_else_to_the_preferred() -> None:
    turn = account()
    turn.tts_characters = 10
    turn.work.asked(10)
    assert recorded(turn).shares == (ProviderShare("tts", *VOICE, tts_characters=10),)
    turn.work.asked(5)
    turn.tts_characters, turn.audio_ms_synthesized = 15, 100
    turn.work.spoke(PIPER, 2_400)
    assert recorded(turn).shares == (ProviderShare("tts", *PIPER, audio_ms_synthesized=100, tts_characters=15),)
    assert recorded(turn).providers["tts"] == StageProvider(*PIPER)


def test_a_draft_that_came_to_nothing_is_part_of_the_account_that_takes_it() -> None:
    draft, turn = account(), TurnAccount("turn_2", "assistant", 1)
    draft.audio_ms_synthesized, draft.tts_characters = 500, 12
    draft.work.asked(12)
    draft.work.spoke(PIPER, 12_000)
    turn.absorb([draft])
    assert recorded(turn).shares == (ProviderShare("tts", *PIPER, audio_ms_synthesized=500, tts_characters=12),)


@pytest.mark.parametrize(
    "share",
    [
        ProviderShare("stt", "azure", "m", audio_ms_in=99),
        ProviderShare("stt", "azure", "m", audio_ms_in=100, tts_characters=1),
        ProviderShare("egress", "azure", "m"),
        ProviderShare("agent", "azure", "m", output_tokens=1),
        ProviderShare("stt", "", "m", audio_ms_in=100),
    ],
)
def test_shares_that_do_not_add_up_are_refused(share: ProviderShare) -> None:
    turn = account()
    turn.audio_ms_in = 100
    event = turn.event(IDENTITY, 2, ())
    with pytest.raises(InvalidUsageEvent) as refused:
        to_json(replace(event, shares=(share,)))
    assert refused.value.field == "shares"


def chunk(start: int, samples: int = 1_600) -> PcmChunk:
    return PcmChunk(np.zeros(samples, np.int16), start)


async def test_an_utterance_counts_for_the_engine_that_heard_all_of_it_in_the_end() -> None:
    broken = EngineError("the line is dead", stage="stt", provider="azure")
    first = ScriptedSpeechToText(["Hello.", broken], SttProfile(*AZURE))
    second = ScriptedSpeechToText(["Hello again."], SttProfile(*WHISPER))
    engine = FallbackSpeechToText([Guarded(first), Guarded(second)])
    answers: list[str] = []
    answered = asyncio.Event()

    def heard(transcript: object) -> None:
        answers.append(str(transcript))
        answered.set()

    stream = await engine.open(SttOptions(), heard, lambda *_: None)
    for utterance in (1, 2):
        answered.clear()
        stream.begin(utterance, utterance * 16_000)
        stream.push(chunk(utterance * 16_000))
        stream.flush(utterance, utterance * 16_000 + 1_600)
        await asyncio.wait_for(answered.wait(), 10)
    assert stream.take_heard() == {AZURE: 1_600, WHISPER: 1_600}
    stream.push(chunk(40_000, 320))
    assert stream.take_heard() == {WHISPER: 320}
    assert stream.take_heard() == {}
    await stream.aclose()


async def test_a_locale_an_engine_does_not_know_is_no_fault_of_it() -> None:
    english = ScriptedSpeechToText(["Hello."], SttProfile(*WHISPER, locales=frozenset({"en"})))
    guarded = Guarded(english)
    engine = FallbackSpeechToText([guarded, Guarded(ScriptedSpeechToText(["Moi."], SttProfile(*AZURE)))])
    stream = await engine.open(SttOptions(locale="fi-FI"), lambda _: None, lambda *_: None)
    assert guarded.breaker.last_error is None
    stream.begin(1, 0)
    stream.push(chunk(0))
    assert stream.take_heard() == {AZURE: 1_600}
    await stream.aclose()
    with pytest.raises(EngineError, match="does not know fi-FI"):
        await FallbackSpeechToText([guarded]).open(SttOptions(locale="fi-FI"), lambda _: None, lambda *_: None)
