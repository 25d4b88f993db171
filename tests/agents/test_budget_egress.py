"""Latency budgets in conversations: a client that stalls, and everything at fault at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from budget_talk import (
    AZURE,
    STOPPED_MS,
    breaches,
    deaf_ears,
    play,
    script,
    slow_mind,
    thinking_ms,
)
from conversation import Script, Talk
from faulty_engines import Faulty, FaultyVoice, always

from agents.core.budget import StageChange
from agents.core.policy import TurnPolicy
from agents.events import AudioOut, Caption, Degraded, Failed, ReplyText, TurnCompleted, TurnStarted
from audio.tts.scripted import ScriptedTextToSpeech
from metering.ledger import UsageQuery, read_all

# --- the way out ---


def _stall(talk_ms: int) -> Callable[[Talk], Awaitable[None]]:
    async def body(talk: Talk) -> None:
        await talk.speak(STOPPED_MS)
        await talk.until(AudioOut, count=4)
        talk.takes.clear()
        await talk.quiet(talk_ms)
        talk.takes.set()
        await talk.until(TurnCompleted)

    return body


SENTENCES = ("First comes one. ", "Then come two. ", "Then three follow. ", "At last there is the end of it all.")


def test_phrases_that_are_late_for_a_client_that_stalled_are_left_out() -> None:
    talk = play(script(replies=("".join(SENTENCES),)), _stall(2_500))
    assert breaches(talk)[-1] == ("egress", "shorten")
    [event] = read_all(talk.recorder.ledger, UsageQuery())
    whole_ms = sum(map(len, map(str.strip, SENTENCES))) * 60
    assert event.audio_ms_synthesized == pytest.approx(whole_ms, abs=5)
    assert event.audio_ms_out < whole_ms - 700
    assert event.audio_ms_out == talk.audio_ms(talk.one(TurnStarted).turn_id)
    heard = talk.session.history.messages("")[-1].text
    assert heard.endswith(SENTENCES[-1])
    assert not all(sentence.strip() in heard for sentence in SENTENCES)


def test_a_short_stall_leaves_nothing_out() -> None:
    talk = play(script(replies=("".join(SENTENCES),)), _stall(200))
    assert breaches(talk) == []
    [event] = read_all(talk.recorder.ledger, UsageQuery())
    assert event.audio_ms_out == event.audio_ms_synthesized


def test_a_budget_that_does_not_shorten_says_every_word_however_late() -> None:
    budget = AZURE.changed({"egress": StageChange(on_breach=())})
    talk = play(script(replies=("".join(SENTENCES),), budget=budget), _stall(2_500))
    [event] = read_all(talk.recorder.ledger, UsageQuery())
    assert event.audio_ms_out == event.audio_ms_synthesized


# --- everything at once ---


@pytest.mark.parametrize("fault", ["stall", "slow", "fail"])
def test_with_everything_at_fault_the_user_gets_something_within_the_total(fault: Any) -> None:
    talk = play(
        script(
            hears=("What time is it now?",),
            partial_every_ms=200,
            ears=deaf_ears(always(fault)),
            mind=slow_mind(always(fault), 5.0),
            voice=FaultyVoice(ScriptedTextToSpeech(), Faulty(always(fault), 5.0)),
        )
    )
    kinds = (AudioOut, ReplyText, Degraded, Failed)
    agent_lines = [at for at, event in talk.events if isinstance(event, Caption) and event.speaker == "agent"]
    got = [at for at, event in talk.events if isinstance(event, kinds)] + agent_lines
    assert min(got) * 1_000 - STOPPED_MS <= AZURE.stages["total"].deadline_ms + 50


def test_without_a_budget_nothing_is_enforced() -> None:
    plain = Script(
        policy=TurnPolicy(min_wait_ms=300, wait_ms=300, max_wait_ms=900), mind=slow_mind(always("slow"), 3.0)
    )
    talk = play(plain)
    assert breaches(talk) == []
    assert thinking_ms(talk) == pytest.approx(2_800, abs=50)  # the draft began in the pause
