"""Conversations whose model is refused by a content filter, or has a stand-in: what the user hears and is told."""

from __future__ import annotations

from typing import Any

import pytest
from conversation import Script, Talk
from test_dialogues import ask, ledger, play

from agents.core.item_ids import reply_item_id
from agents.core.language import rules_for
from agents.core.policy import TurnPolicy
from agents.errors import ModelRateLimited, ModelUnavailable
from agents.events import (
    AudioOut,
    AudioOutEnded,
    Caption,
    ContentFiltered,
    Degraded,
    Failed,
    Interrupted,
    ReplyText,
    TurnCompleted,
    TurnLatency,
)
from agents.models.fallback import FallbackModel, GuardedModel
from agents.models.port import ContentFilter, FilteredCategory, ModelProfile
from agents.models.scripted import ScriptedModel, ScriptedReply

REFUSAL = "I'm sorry, I can't help with that."
VIOLENCE = (FilteredCategory("violence", "medium"),)
PROMPT = ScriptedReply(verdict=ContentFilter("prompt", VIOLENCE))
MIDWAY = ScriptedReply("Once upon a time there was. A knife is", verdict=ContentFilter("completion", VIOLENCE))


def captions(talk: Talk) -> str:
    return " ".join(event.text for event in talk.all(Caption) if event.speaker == "agent")


async def ask_twice(talk: Talk) -> None:
    await ask(talk)
    talk.session.prompt("And now?", "again")
    await talk.until(TurnCompleted, count=2)


def test_a_refused_question_is_answered_with_a_spoken_refusal_and_told() -> None:
    talk = play(ask, Script(replies=(PROMPT,)))
    told = talk.one(ContentFiltered)
    assert (told.stage, told.categories) == ("prompt", VIOLENCE)
    assert captions(talk) == REFUSAL
    assert talk.all(AudioOut)
    assert talk.all(Failed) == []
    end = talk.one(TurnCompleted)
    assert (end.end, end.text, end.error_code) == ("filtered", REFUSAL, None)
    [event] = ledger(talk)
    assert (event.success, event.error_code) == (True, None)


def test_refused_words_are_not_sent_again_with_the_next_question() -> None:
    talk = play(ask_twice, Script(replies=(PROMPT, "It is four."), hears=("How do I hurt somebody?",)))
    _, second = talk.model.requests
    assert [(message.role, message.text) for message in second.messages[1:]] == [
        ("user", "…"),
        ("assistant", REFUSAL),
        ("user", "And now?"),
    ]


def test_a_refused_answer_gives_way_to_the_refusal_in_the_middle() -> None:
    talk = play(ask_twice, Script(replies=(MIDWAY, "It is four.")))
    assert REFUSAL in captions(talk)
    assert "knife" not in captions(talk), "what was not yet spoken stays unsaid"
    first, second = talk.all(TurnCompleted)
    assert (first.end, first.text) == ("filtered", REFUSAL)
    assert second.end == "finished"
    tokens = [event.text for event in talk.all(ReplyText)]
    assert f" {REFUSAL}" in tokens, "it stands apart from the words before"
    remembered = [message.text for message in talk.model.requests[1].messages if message.role == "assistant"]
    assert remembered == [REFUSAL]
    asked = [message.text for message in talk.model.requests[1].messages if message.role == "user"]
    assert asked == ["What time is it?", "And now?"], "the question was not refused"


def test_a_refusal_that_is_interrupted_is_what_is_remembered() -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(1_000)
        await talk.until(AudioOut)
        await talk.speak(1_500)
        await talk.until(TurnCompleted, count=2)

    talk = play(body, Script(replies=(MIDWAY, "It is four."), hears=("What time is it?", "Stop, please.")))
    assert [event for event in talk.all(Interrupted) if not event.resumable]
    assert talk.all(TurnCompleted)[0].interrupted
    remembered = [message.text for message in talk.model.requests[1].messages if message.role == "assistant"]
    assert remembered == [REFUSAL]


def test_a_client_that_says_how_much_it_played_does_not_bring_back_what_was_refused() -> None:
    async def body(talk: Talk) -> None:
        await ask(talk)
        item_id = reply_item_id(talk.one(TurnCompleted).turn_id)
        assert talk.session.truncate(item_id, 600) is not None
        assert [message.text for message in talk.session.history.messages()] == ["What time is it?", REFUSAL]

    play(body, Script(replies=(MIDWAY,)))


def test_where_nothing_is_spoken_the_refusal_is_written() -> None:
    talk = play(ask, Script(replies=(PROMPT,), speak=False))
    assert "".join(event.text for event in talk.all(ReplyText)) == REFUSAL
    assert talk.all(AudioOut) == []


@pytest.mark.parametrize(
    ("locale", "words"), [("de-AT", "tut mir leid"), ("fr-FR", "désolé"), ("it-IT", "Mi dispiace"), ("xx", "I'm sorry")]
)
def test_the_refusal_is_in_the_sessions_language(locale: str, words: str) -> None:
    rules = rules_for(locale)
    policy = TurnPolicy(min_wait_ms=300, wait_ms=300, max_wait_ms=900, rules=rules)
    talk = play(ask, Script(replies=(PROMPT,), policy=policy, options={"locale": locale}))
    assert words in talk.one(TurnCompleted).text
    assert rules.apology


def with_stand_in(failure: Exception) -> Any:
    """A model that fails at first, and another that steps in."""

    def make(*replies: str, **options: Any) -> FallbackModel:
        profile = ModelProfile("azure_openai", "gpt-voice")
        failing = ScriptedReply(failure=failure)
        preferred = ScriptedModel(failing, *replies, profile=profile)
        stand_in = ScriptedModel(*replies, profile=ModelProfile("embedded", "tiny", tools=False), **options)
        return FallbackModel([GuardedModel(preferred), GuardedModel(stand_in)])

    return make


def test_a_stand_in_answers_in_the_same_turn_and_is_told_named_and_paid() -> None:
    busy = ModelRateLimited("It refuses more for now.", provider="azure_openai", retry_after_s=60)
    talk = play(ask_twice, Script(replies=("It is four.",), model=with_stand_in(busy)))
    assert [event.text for event in talk.all(TurnCompleted)] == ["It is four."] * 2
    assert talk.all(Failed) == []
    told = talk.one(Degraded)
    assert (told.from_, told.to) == ("llm azure_openai gpt-voice", "embedded tiny")
    assert told.reason == "Answers are made by embedded tiny for now (It refuses more for now)."
    for event in ledger(talk):
        assert (event.providers["agent"].provider, event.providers["agent"].model) == ("embedded", "tiny")
        assert event.input_tokens > 0
        assert not event.estimated
    agent = next(stage for stage in talk.all(TurnLatency)[0].stages if stage.stage == "agent")
    assert agent.provider == "embedded"


def test_a_limit_that_nobody_stands_in_for_says_how_long_to_wait() -> None:
    busy = ScriptedReply(failure=ModelRateLimited("Not now.", provider="azure_openai", retry_after_s=7))
    failed = play(ask, Script(replies=(busy,))).one(Failed)
    assert (failed.code, failed.retryable) == ("provider.rate_limited", True)
    assert failed.details == {"retry_after_s": 7}


def test_the_preferred_model_is_back_as_soon_as_it_answers() -> None:
    gone = ModelUnavailable("Gone.", provider="azure_openai")
    talk = play(ask_twice, Script(replies=("It is four.",), model=with_stand_in(gone)))
    assert [(event.from_, event.to) for event in talk.all(Degraded)] == [
        ("llm azure_openai gpt-voice", "embedded tiny"),
        ("llm stand-in", "azure_openai gpt-voice"),
    ]
    assert [event.providers["agent"].provider for event in ledger(talk)] == ["embedded", "azure_openai"]


def test_phrases_that_were_made_and_not_sent_stay_unsaid_and_are_accounted_for() -> None:
    long = "Once upon a time there was a knife. " * 8
    talk = play(ask, Script(replies=(ScriptedReply(long, verdict=ContentFilter("completion", VIOLENCE)),)))
    audio_ms = talk.one(AudioOutEnded).audio_ms
    assert audio_ms < 60 * len(REFUSAL) + 1_000, "the refusal follows what had left"
    [event] = ledger(talk)
    assert event.audio_ms_out <= audio_ms < event.audio_ms_synthesized
    assert sum(share.audio_ms_synthesized for share in event.shares) == event.audio_ms_synthesized
