"""Who goes on, in whole conversations: what the client sees, what the model is asked, what is remembered and billed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from conversation import Script, Talk, conversation
from virtual_time import run_virtual

from agents.events import AudioOut, Interrupted, Resumed, ToolCalled, TranscriptUpdated, TurnCompleted, TurnStarted
from agents.models.port import ToolRequest
from agents.models.scripted import ScriptedReply
from agents.tools.tool import tool
from metering.ledger import UsageQuery, read_all
from metering.usage import UsageEvent

WHOLE = "What time is it in Rome?"


class Slow:
    """A model that takes a while to its first word."""

    def __init__(self, thinks_s: float = 0.7) -> None:
        self._thinks_s = thinks_s

    async def __call__(self, number: int) -> None:
        if number == 0:
            await asyncio.sleep(self._thinks_s)


def play(body: Callable[[Talk], Awaitable[None]], script: Script) -> Talk:
    async def main() -> Talk:
        async with conversation(script) as talk:
            await body(talk)
        return talk

    return run_virtual(main())


def ledger(talk: Talk) -> list[UsageEvent]:
    return list(read_all(talk.recorder.ledger, UsageQuery()))


def asked(talk: Talk, request: int) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in talk.model.requests[request].messages][1:]


async def go_on_before_the_reply(talk: Talk) -> None:
    await talk.speak(1_000)
    await talk.quiet(500)
    await talk.speak(600)
    await talk.until(TurnCompleted)


async def go_on_when_it_sounds(talk: Talk) -> None:
    await talk.speak(1_000)
    await talk.until(AudioOut)
    await talk.speak(800)
    await talk.until(TurnCompleted, count=2)


def test_a_turn_that_goes_on_before_its_reply_is_heard_is_one_turn_without_a_trace_of_two() -> None:
    talk = play(go_on_before_the_reply, Script(hears=(WHOLE,), before_event=Slow()))
    assert talk.one(TurnStarted).text == WHOLE
    assert not talk.all(Interrupted)
    assert len([event for event in talk.all(TranscriptUpdated) if event.final]) == 1
    assert len(talk.model.requests) == 2, "the first draft was for nothing"
    assert asked(talk, 1) == [("user", WHOLE)]
    (turn,) = ledger(talk)
    assert turn.speculative_tokens > 0
    assert not turn.interrupted


def test_the_turn_is_told_when_its_reply_is_to_be_heard_and_not_before() -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(1_000)
        await talk.until(TurnCompleted)

    talk = play(body, Script(before_event=Slow()))
    assert talk.when_ms(TurnStarted) == talk.when_ms(AudioOut)


def test_a_reply_that_takes_longer_than_any_silence_is_announced_without_it() -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(1_000)
        await talk.until(TurnCompleted)

    talk = play(body, Script(before_event=Slow(3.0)))
    assert talk.when_ms(TurnStarted) <= 1_000 + 900 + 40
    assert talk.when_ms(AudioOut) > 3_000


def test_a_tool_with_effects_does_not_wait_for_a_voice_that_waits_for_it() -> None:
    done_ms: list[float] = []

    @tool(effects=True)
    async def light(state: str) -> str:
        """Switch the light.

        Args:
            state: On or off.
        """
        done_ms.append(asyncio.get_running_loop().time() * 1_000)
        return state

    async def body(talk: Talk) -> None:
        await talk.speak(1_000)
        await talk.until(TurnCompleted)

    calls = ScriptedReply(tools=(ToolRequest("call-1", "light", '{"state": "on"}'),))
    talk = play(body, Script(hears=("Light on.",), replies=(calls, "It is on."), tools=(light,)))
    assert talk.one(ToolCalled)
    assert done_ms[0] <= 1_000 + 300 + 40, "as soon as silence says that the turn is over"


def test_a_turn_is_taken_back_when_its_reply_has_hardly_begun_and_answered_as_a_whole() -> None:
    talk = play(go_on_when_it_sounds, Script(hears=("What time is it", "in Rome?")))
    first, second = talk.all(TurnStarted)
    assert (first.text, second.text) == ("What time is it", WHOLE)
    held, dropped = talk.all(Interrupted)
    assert (held.resumable, dropped.resumable) == (True, False)
    assert dropped.heard_ms <= 200
    assert not talk.all(Resumed)
    assert asked(talk, len(talk.model.requests) - 1) == [("user", WHOLE)], "said once, and nothing was answered to half"
    taken_back, answered = ledger(talk)
    assert (taken_back.interrupted, answered.interrupted) == (True, False)
    assert taken_back.audio_ms_out <= 200


def test_a_click_when_the_reply_has_hardly_begun_only_holds_it() -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(1_000)
        await talk.until(AudioOut)
        await talk.speak(120)
        await talk.until(TurnCompleted)

    talk = play(body, Script(hears=("What time is it?", "")))
    assert len(talk.all(TurnStarted)) == 1
    assert talk.all(Resumed)
    assert [event.resumable for event in talk.all(Interrupted)] == [True]
