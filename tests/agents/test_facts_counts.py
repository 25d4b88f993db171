"""What else a session consumes is in its events: telephone time, reasoning, drafts' tools, recordings."""

from __future__ import annotations

import asyncio

import pytest
from conversation import Script, conversation
from openai.types.completion_usage import CompletionTokensDetails, CompletionUsage, PromptTokensDetails
from virtual_time import run_virtual

from agents.call_log import CallLog
from agents.core.accounts import TurnAccount
from agents.core.options import Identity
from agents.core.sound_meter import SoundMeter
from agents.events import TurnCompleted
from agents.models.openai_wire import _usage
from agents.models.port import ModelProfile, TokenUsage
from metering.codec import check
from metering.ledger import UsageQuery, is_unclaimed, read_all
from metering.quantities import Quantity, quantities
from metering.usage import StageProvider, UsageEvent

CALLER = Identity("session-1", carrier="twilio", leg="inbound")


def events_of_a_call() -> list[UsageEvent]:
    async def main() -> list[UsageEvent]:
        async with conversation(Script(options={"identity": CALLER})) as talk:
            talk.session.sound.calls(lambda: 2_250)
            talk.session.prompt("Hello?")
            await talk.until(TurnCompleted)
        return list(read_all(talk.recorder.ledger, UsageQuery()))

    return run_virtual(main())


def test_telephone_time_is_in_the_events_and_the_carriers_to_charge() -> None:
    turn, closing = events_of_a_call()
    assert (turn.call_ms, closing.call_ms) == (0, 2_250)
    assert is_unclaimed(closing)
    assert turn.providers["call"] == closing.providers["call"] == StageProvider("twilio", "inbound")
    assert Quantity("twilio", "inbound", "call_ms", 2_250) in quantities(closing)
    assert next(each for each in quantities(closing) if each.meter == "call_ms").whole_seconds == 3


def test_reasoning_is_told_of_the_model_that_reasoned_and_charged_as_output() -> None:
    account = TurnAccount("turn_1", "agent", 0, providers={"agent": StageProvider("azure_openai", "o4-mini")})
    spent = TokenUsage(100, 20, 60, reasoning_tokens=48)
    account.asked_models(spent, [(ModelProfile("azure_openai", "o4-mini", tools=True), spent)], [])
    event = account.event(Identity("ses_1"), 1)
    check(event)
    assert (event.output_tokens, event.reasoning_tokens) == (60, 48)
    assert [(share.model, share.reasoning_tokens) for share in event.shares] == [("o4-mini", 48)]
    assert {each.meter: each.amount for each in quantities(event)} == {
        "input_tokens": 80,
        "cached_input_tokens": 20,
        "output_tokens": 60,
    }


def test_a_providers_report_of_reasoning_is_read() -> None:
    reported = CompletionUsage(
        prompt_tokens=10,
        completion_tokens=30,
        total_tokens=40,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=4),
        completion_tokens_details=CompletionTokensDetails(reasoning_tokens=24),
    )
    assert _usage(reported) == TokenUsage(10, 4, 30, reasoning_tokens=24)
    without = CompletionUsage(prompt_tokens=10, completion_tokens=30, total_tokens=40)
    assert _usage(without) == TokenUsage(10, 0, 30)


async def test_tools_of_drafts_that_came_to_nothing_are_counted_and_not_told_as_the_answers() -> None:
    log = CallLog()
    with log.open("execute_tool", "agent", "lamp") as call:
        call.began()
        await asyncio.sleep(0.01)
    draft, turn = TurnAccount("turn_1", "agent", 0), TurnAccount("turn_2", "agent", 0)
    draft.close(1, log)
    draft.asked_models(TokenUsage(5, 0, 2, estimated=True), [], [])
    turn.absorb([draft])
    turn.claim(SoundMeter())
    turn.close(0, CallLog())
    event = turn.event(Identity("ses_1"), 1)
    assert (event.tool_calls, turn.usage().tool_calls) == (1, 0)
    assert event.tool_ms == draft.tool_ms >= 10
    assert (event.speculative_tokens, event.estimated) == (7, True)


async def test_a_tool_that_never_began_is_not_counted_as_cut_short() -> None:
    log = CallLog()
    with pytest.raises(asyncio.CancelledError), log.open("execute_tool", "agent", "lamp"):
        raise asyncio.CancelledError
    assert (log.tools_stopped, log.tool_ms) == (0, 0)
