"""What a reply asked of its model and its tools, as the log tells it."""

from __future__ import annotations

from contextlib import aclosing

import anyio
import pytest

from agents.call_log import MOST_CALLS, CallLog
from agents.errors import ModelRateLimited, ModelTimeout, ModelUnavailable
from agents.events import ProviderCall
from agents.loop.agent import Agent, AgentSpec
from agents.loop.reply_parts import ReplyDelta, ReplyLimits
from agents.models.fallback import FallbackModel, GuardedModel
from agents.models.port import Message, ModelProfile, ToolRequest
from agents.models.scripted import ScriptedModel, ScriptedReply
from agents.tools.tool import tool

LIMITS = ReplyLimits(first_event_s=5.0, gap_s=5.0)
HELLO = (Message("user", "Hello"),)


@tool(effects=False)
async def double(number: int) -> int:
    """Twice a number."""
    return number * 2


def agent(*replies: str | ScriptedReply) -> Agent:
    return Agent(AgentSpec("a", "Ada", "Be kind.", tools=(double,)), ScriptedModel(*replies))


async def calls_of(model: Agent, *, stop_early: bool = False) -> tuple[ProviderCall, ...]:
    log, committed = CallLog(), anyio.Event()
    committed.set()
    async with aclosing(model.reply(HELLO, committed=committed, limits=LIMITS, log=log)) as parts:
        async for part in parts:
            if stop_early and isinstance(part, ReplyDelta):
                break
    return log.calls


async def test_every_round_and_every_tool_is_a_call_in_the_order_they_ended() -> None:
    asks = ScriptedReply("One moment.", tools=(ToolRequest("c1", "double", '{"number": 4}'),))
    first, run, second = await calls_of(agent(asks, "It is eight."))
    assert [(call.operation, call.model) for call in (first, run, second)] == [
        ("chat", "scripted"),
        ("execute_tool", "double"),
        ("chat", "scripted"),
    ]
    assert (first.finish_reason, second.finish_reason) == ("tools", "stop")
    assert all(call.end == "finished" and call.started_at_s <= call.ended_at_s for call in (first, run, second))
    assert first.ended_at_s <= run.started_at_s <= second.started_at_s
    assert second.first_at_s is not None
    assert second.output_tokens > 0


async def test_a_model_that_fails_is_a_failed_call_with_its_code() -> None:
    failing = agent(ScriptedReply("One", failure=ModelUnavailable("It broke off.", provider="scripted")))
    log, committed = CallLog(), anyio.Event()
    with pytest.raises(ModelUnavailable):
        async for _ in failing.reply(HELLO, committed=committed, limits=LIMITS, log=log):
            pass
    (call,) = log.calls
    assert (call.end, call.error_code) == ("failed", "provider.unavailable")


async def test_a_reply_that_is_not_wanted_any_more_is_a_stopped_call() -> None:
    (call,) = await calls_of(agent("One two three"), stop_early=True)
    assert (call.end, call.error_code, call.finish_reason) == ("stopped", None, None)


DOWN = ModelUnavailable("It broke off.", provider="scripted")
BIG = ModelProfile("scripted", "big")


def with_stand_in(big: ScriptedModel, small: ScriptedModel) -> Agent:
    return Agent(AgentSpec("a", "Ada", "Be kind."), FallbackModel([GuardedModel(big), GuardedModel(small)]))


async def test_a_model_that_failed_and_its_stand_in_are_a_call_each() -> None:
    big = ScriptedModel(*[ScriptedReply(failure=DOWN)] * 3, profile=BIG)
    stands_in = with_stand_in(big, ScriptedModel(*["Hello."] * 4))
    for _ in range(3):
        first, second = await calls_of(stands_in)
        assert (first.model, first.end, first.error_code) == ("big", "failed", "provider.unavailable")
        assert (first.first_at_s, first.output_tokens) == (None, 0)
        assert (second.model, second.end, second.finish_reason) == ("scripted", "finished", "stop")
        assert first.ended_at_s <= second.started_at_s
    (only,) = await calls_of(stands_in)
    assert (only.model, only.end) == ("scripted", "finished"), "who is not asked has no call"


async def test_models_that_all_fail_are_failed_calls_with_their_own_codes() -> None:
    limited = ModelRateLimited("Slowly.", provider="scripted")
    big = ScriptedModel(ScriptedReply(failure=DOWN), profile=BIG)
    both = with_stand_in(big, ScriptedModel(ScriptedReply(failure=limited)))
    log, committed = CallLog(), anyio.Event()
    with pytest.raises(ModelRateLimited):
        async for _ in both.reply(HELLO, committed=committed, limits=LIMITS, log=log):
            pass
    assert [(call.model, call.error_code) for call in log.calls] == [
        ("big", "provider.unavailable"),
        ("scripted", "provider.rate_limited"),
    ]


async def test_a_stand_in_has_what_is_left_of_the_first_ones_time() -> None:
    async def fails(_: int) -> None:
        await anyio.sleep(0.15)
        raise DOWN

    async def hangs(_: int) -> None:
        await anyio.sleep_forever()

    big = ScriptedModel("x", profile=BIG, before_event=fails)
    both = with_stand_in(big, ScriptedModel("y", before_event=hangs))
    log, committed, began_s = CallLog(), anyio.Event(), anyio.current_time()
    with pytest.raises(ModelTimeout):
        async for _ in both.reply(HELLO, committed=committed, limits=ReplyLimits(0.3, 60.0), log=log):
            pass
    assert [(call.model, call.error_code) for call in log.calls] == [
        ("big", "provider.unavailable"),
        ("scripted", "provider.timeout"),
    ]
    assert log.calls[-1].ended_at_s - began_s == pytest.approx(0.3, abs=0.1)


async def test_the_phrase_under_way_ends_with_its_body_and_alone() -> None:
    log = CallLog()
    chat = log.open("chat", "p", "m")
    with pytest.raises(ModelUnavailable), log.ending("text_to_speech"):  # noqa: PT012
        log.open("text_to_speech", "p", "voice", characters=12).first()
        raise ModelUnavailable("gone", provider="p")
    (spoken,) = log.calls
    assert (spoken.operation, spoken.end, spoken.characters) == ("text_to_speech", "failed", 12)
    assert spoken.first_at_s is not None
    chat.close()
    chat.close()  # a second end changes nothing
    assert [call.operation for call in log.calls] == ["text_to_speech", "chat"]
    assert log.calls[-1].first_at_s is None


async def test_the_log_of_a_turn_is_bounded() -> None:
    log = CallLog()
    for _ in range(MOST_CALLS + 10):
        log.open("chat", "p", "m").close()
    assert len(log.calls) == MOST_CALLS
