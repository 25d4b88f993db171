"""An agent that finishes its clause before it lets itself be interrupted, in virtual time."""

from __future__ import annotations

from dataclasses import replace

from conversation import Script, Talk, conversation, dialogue

from agents.core.policy import TurnPolicy
from agents.events import AudioOut, Interrupted, Resumed, TurnCompleted, TurnStarted

POLITE = TurnPolicy(min_wait_ms=300, wait_ms=300, max_wait_ms=900, finish_clause_ms=1_500)
REPLY = "It is ten past four, and the sun will set in about an hour from now, if I am not mistaken."
CLAUSE = "It is ten past four,"


async def begin(talk: Talk) -> None:
    await talk.speak(1_000)
    await talk.until(AudioOut)
    await talk.quiet(300)


@dialogue
async def test_the_clause_is_heard_to_its_end_and_no_further() -> None:
    async with conversation(
        Script(hears=("What time is it?", "And tomorrow?"), replies=(REPLY,), policy=POLITE)
    ) as talk:
        await begin(talk)
        await talk.speak(2_000)
        await talk.until(TurnStarted, count=2)
        held = talk.all(Interrupted)[0]
        assert held.heard_text.strip() == CLAUSE
        assert talk.all(TurnCompleted)[0].interrupted


@dialogue
async def test_a_question_that_is_shorter_than_the_clause_is_answered_after_it() -> None:
    async with conversation(
        Script(hears=("What time is it?", "And tomorrow?"), replies=(REPLY,), policy=POLITE)
    ) as talk:
        await begin(talk)
        await talk.speak(300)
        await talk.until(TurnStarted, count=2)
        assert talk.all(TurnStarted)[1].text == "And tomorrow?"
        assert talk.all(Interrupted)[-1].heard_text.strip() == CLAUSE


@dialogue
async def test_a_clause_that_takes_too_long_is_cut() -> None:
    policy = replace(POLITE, finish_clause_ms=200)
    async with conversation(Script(replies=(REPLY,), policy=policy)) as talk:
        await begin(talk)
        await talk.speak(2_000)
        await talk.until(TurnCompleted)
        assert len(talk.all(Interrupted)[0].heard_text) < len(CLAUSE)


@dialogue
async def test_mhm_during_the_clause_does_not_stop_anything() -> None:
    async with conversation(Script(hears=("What time is it?", "mhm"), replies=(REPLY,), policy=POLITE)) as talk:
        await begin(talk)
        await talk.speak(300)
        await talk.until(TurnCompleted)
        assert not talk.one(TurnCompleted).interrupted
        assert talk.all(Interrupted) == talk.all(Resumed) == []
        assert talk.one(TurnCompleted).text.strip() == REPLY
