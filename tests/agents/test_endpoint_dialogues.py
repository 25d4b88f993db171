"""The end of a turn in whole conversations, in virtual time: patience that is asked for, learnt, or overridden."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from conversation import Script, Talk, conversation
from virtual_time import run_virtual

from agents.core.policy import TurnPolicy
from agents.events import TranscriptUpdated, TurnCompleted, TurnLatency, TurnStarted

DEFAULT = TurnPolicy()
FRAME_MS = 21


def play(body: Callable[[Talk], Awaitable[None]], script: Script) -> Talk:
    async def main() -> Talk:
        async with conversation(script) as talk:
            await body(talk)
        return talk

    return run_virtual(main())


def waits_ms(talk: Talk) -> list[float]:
    """Last speech sample to the turn certain, turn by turn."""
    return [
        next(stage.duration_ms for stage in latency.stages if stage.stage == "endpoint")
        for latency in talk.all(TurnLatency)
    ]


async def two_turns(talk: Talk) -> None:
    for number in (1, 2):
        await talk.speak(1_000)
        await talk.until(TurnCompleted, count=number)


@pytest.mark.parametrize(
    ("question", "wait_ms"),
    [("What is your e-mail address?", 888), ("Could you spell your name?", 888), ("How are you?", 725)],
)
def test_what_the_agent_asked_for_is_waited_for(question: str, wait_ms: int) -> None:
    talk = play(two_turns, Script(hears=("Hello.", "well anna"), replies=(question, "Fine."), policy=DEFAULT))
    assert waits_ms(talk)[1] == pytest.approx(wait_ms, abs=FRAME_MS)


def test_an_answer_that_is_whole_is_not_waited_for_even_then() -> None:
    script = Script(hears=("Hello.", "anna@example.com"), replies=("Your e-mail address?", "Thanks."), policy=DEFAULT)
    assert waits_ms(play(two_turns, script))[1] < 500


def test_the_speakers_own_pauses_lengthen_the_next_wait() -> None:
    async def body(talk: Talk) -> None:
        await two_turns(talk)
        for _ in range(3):
            await talk.speak(600)
            await talk.quiet(600)
        await talk.speak(600)
        await talk.until(TurnCompleted, count=3)

    talk = play(body, Script(hears=("one word more",), policy=DEFAULT))
    first, second, third = waits_ms(talk)
    assert first == second
    assert third == pytest.approx(210 + (first - 210) * 600 / 450, abs=FRAME_MS)
    assert len(talk.all(TurnStarted)) == 3


def test_a_commit_ends_even_an_open_turn_at_once() -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(1_000)
        await talk.quiet(200)
        talk.session.commit()
        await talk.until(TurnCompleted)

    talk = play(body, Script(hears=("I would like to",), policy=DEFAULT))
    assert waits_ms(talk)[0] <= 200 + FRAME_MS


def test_push_to_talk_knows_no_end_but_the_commit() -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(1_000)
        await talk.quiet(5_000)
        assert talk.all(TranscriptUpdated)
        assert not talk.all(TurnStarted)
        talk.session.commit()
        await talk.until(TurnCompleted)

    play(body, Script(hears=("That is all.",), policy=TurnPolicy(auto_end=False)))
