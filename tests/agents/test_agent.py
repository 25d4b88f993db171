"""The agent loop over a scripted model: rounds, tools, limits, and the offline router."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest

from agents.errors import ModelTimeout, ModelUnavailable
from agents.loop.agent import Agent, AgentSpec, default_agent_spec
from agents.loop.brief import Brief
from agents.loop.reply_parts import ReplyDelta, ReplyFinished, ReplyLimits, ReplyPart, ToolEnded, ToolStarted
from agents.loop.router import OfflineRouter
from agents.loop.spoken_numbers import to_expression
from agents.models.fallback import FallbackModel, GuardedModel
from agents.models.port import Message, ModelProfile, Overtaken, TextDelta, TokenUsage, ToolRequest, ToolSpec
from agents.models.scripted import ScriptedModel, ScriptedReply
from agents.tools.builtin import builtin_tools
from agents.tools.tool import tool

LIMITS = ReplyLimits(first_event_s=5.0, gap_s=5.0)
HELLO = (Message("user", "Hello"),)
NO_TOOLS = ModelProfile("scripted", "small", tools=False)


@tool(effects=False)
async def shout(word: str) -> str:
    """Say a word loudly."""
    return word.upper()


SPEC = AgentSpec(
    "a", "Ada", "Be brief.", tools=(shout, *builtin_tools(lambda: datetime(2026, 3, 5, 15, 45, tzinfo=UTC)))
)


async def reply(agent: Agent, messages: tuple[Message, ...] = HELLO, limits: ReplyLimits = LIMITS) -> list[ReplyPart]:
    committed = anyio.Event()
    committed.set()
    async with aclosing(agent.reply(messages, committed=committed, limits=limits)) as parts:
        return [part async for part in parts]


def text_of(parts: list[ReplyPart]) -> str:
    return "".join(part.text for part in parts if isinstance(part, ReplyDelta))


def shouts(*words: str) -> ScriptedReply:
    return ScriptedReply(
        tools=tuple(ToolRequest(f"c{n}", "shout", json.dumps({"word": word})) for n, word in enumerate(words))
    )


async def test_a_plain_reply_is_its_text_and_one_end() -> None:
    model = ScriptedModel("Hi, how are you?")
    parts = await reply(Agent(SPEC, model))
    assert text_of(parts) == "Hi, how are you?"
    assert isinstance(parts[-1], ReplyFinished)
    assert (parts[-1].reason, parts[-1].tool_calls) == ("stop", 0)
    assert parts[-1].usage.output_tokens == 4
    request = model.requests[0]
    assert request.messages[0] == Message("system", "Be brief.")
    assert [spec.name for spec in request.tools] == ["shout", "current_time", "calculate"]
    assert (request.max_output_tokens, request.temperature) == (SPEC.max_output_tokens, SPEC.temperature)


async def test_a_system_message_that_is_given_is_kept() -> None:
    model = ScriptedModel("Ok.")
    await reply(Agent(SPEC, model), (Message("system", "Other."), *HELLO))
    assert [message.text for message in model.requests[0].messages] == ["Other.", "Hello"]


async def test_tool_results_go_back_to_the_model() -> None:
    model = ScriptedModel(replace(shouts("one", "two"), text="Let me see. "), "ONE and TWO.")
    parts = await reply(Agent(SPEC, model))
    kinds = [type(part) for part in parts if not isinstance(part, ReplyDelta)]
    assert kinds == [ToolStarted, ToolStarted, ToolEnded, ToolEnded, ReplyFinished]
    assert text_of(parts) == "Let me see. ONE and TWO."
    asked, first, second = model.requests[1].messages[-3:]
    assert asked.text == "Let me see. "
    assert [request.call_id for request in asked.tool_requests] == ["c0", "c1"]
    assert [(m.role, m.tool_call_id, m.text) for m in (first, second)] == [
        ("tool", "c0", '"ONE"'),
        ("tool", "c1", '"TWO"'),
    ]
    end = parts[-1]
    assert isinstance(end, ReplyFinished)
    assert end.tool_calls == 2
    assert end.usage.output_tokens == 4 + 2 + 3, "words, spaces and tool requests"


async def test_tools_of_one_round_run_side_by_side() -> None:
    both = anyio.Event()
    waiting: list[int] = []

    @tool(effects=False)
    async def meet(number: int) -> str:
        """Wait for the other one."""
        waiting.append(number)
        if len(waiting) == 2:
            both.set()
        await both.wait()
        return "met"

    calls = tuple(ToolRequest(f"c{n}", "meet", json.dumps({"number": n})) for n in range(2))
    parts = await reply(Agent(replace(SPEC, tools=(meet,)), ScriptedModel(ScriptedReply(tools=calls), "Done.")))
    assert [part.outcome.error for part in parts if isinstance(part, ToolEnded)] == [False, False]


async def test_the_rounds_are_bounded_and_the_last_one_has_no_tools() -> None:
    model = ScriptedModel(shouts("again"), repeat=True)
    parts = await reply(Agent(replace(SPEC, max_tool_rounds=2), model))
    assert len(model.requests) == 3
    assert [bool(request.tools) for request in model.requests] == [True, True, False]
    assert isinstance(parts[-1], ReplyFinished)
    assert (parts[-1].reason, parts[-1].tool_calls) == ("tools", 2)


async def test_too_many_tools_at_once_are_refused_but_answered() -> None:
    model = ScriptedModel(shouts(*(["word"] * 10)), "Done.")
    parts = await reply(Agent(SPEC, model))
    outcomes = [part.outcome.error for part in parts if isinstance(part, ToolEnded)]
    assert outcomes == [False] * 8 + [True] * 2
    assert sum(message.role == "tool" for message in model.requests[1].messages) == 10


async def test_a_model_that_fails_midway_raises_after_its_text() -> None:
    failure = ModelUnavailable("gone", provider="scripted")
    model = ScriptedModel(ScriptedReply("One two", failure=failure))
    agent = Agent(SPEC, model)
    async with aclosing(agent.reply(HELLO, committed=anyio.Event(), limits=LIMITS)) as parts:
        assert [await anext(parts), await anext(parts)] == [ReplyDelta("One"), ReplyDelta(" two")]
        with pytest.raises(ModelUnavailable):
            await anext(parts)
    assert model.open_streams == 0


@pytest.mark.parametrize(("stalls_at", "limits"), [(0, ReplyLimits(0.02, 5.0)), (1, ReplyLimits(5.0, 0.02))])
async def test_a_silent_model_is_a_timeout(stalls_at: int, limits: ReplyLimits) -> None:
    async def stall(number: int) -> None:
        if number == stalls_at:
            await anyio.sleep_forever()

    model = ScriptedModel("One two three", before_event=stall)
    with pytest.raises(ModelTimeout) as caught:
        await reply(Agent(SPEC, model), limits=limits)
    assert caught.value.provider == "scripted"
    assert model.open_streams == 0


async def test_only_the_first_round_of_a_reply_is_in_a_hurry() -> None:
    model = ScriptedModel(shouts("one"), "ONE.")
    await reply(Agent(SPEC, model), limits=ReplyLimits(5.0, 5.0, within_s=0.7, hedge=True))
    assert [(request.within_s, request.hedge) for request in model.requests] == [(0.7, True), (None, False)]


async def test_each_round_is_its_models_and_who_was_asked_in_vain_is_told() -> None:
    big, small = ModelProfile("azure", "big"), ModelProfile("azure", "small")
    gone = ScriptedReply(failure=ModelUnavailable("Gone.", provider="azure", has_cost=True))
    models = [ScriptedModel(shouts("one"), gone, profile=big), ScriptedModel("ONE.", profile=small)]
    parts = await reply(Agent(SPEC, FallbackModel([GuardedModel(model) for model in models])))
    whole = parts[-1]
    assert isinstance(whole, ReplyFinished)
    assert [profile for profile, _ in whole.by_model] == [big, small]
    assert sum((usage for _, usage in whole.by_model), TokenUsage()) == whole.usage
    (lost,) = (part for part in parts if isinstance(part, Overtaken))
    assert lost.profile == big
    assert lost.usage.input_tokens > 0


async def test_that_another_model_is_asked_is_no_answer() -> None:
    async def stall(_: int) -> None:
        await anyio.sleep_forever()

    models = [ScriptedModel("One", before_event=stall) for _ in range(2)]
    agent = Agent(SPEC, FallbackModel([GuardedModel(model) for model in models], takeover_s=0.01))
    with pytest.raises(ModelTimeout):
        await reply(agent, limits=ReplyLimits(0.1, 60.0))


async def test_closing_the_reply_closes_the_models_stream() -> None:
    model = ScriptedModel("One two three")
    async with aclosing(Agent(SPEC, model).reply(HELLO, committed=anyio.Event(), limits=LIMITS)) as parts:
        await anext(parts)
        assert model.open_streams == 1
    assert model.open_streams == 0


async def test_cancelling_the_reply_while_a_tool_runs_leaves_nothing_running() -> None:
    running, ended = anyio.Event(), anyio.Event()

    @tool(effects=False)
    async def endless() -> None:
        """Run for ever."""
        running.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    model = ScriptedModel(ScriptedReply(tools=(ToolRequest("c", "endless", "{}"),)))
    async with anyio.create_task_group() as group:
        group.start_soon(reply, Agent(replace(SPEC, tools=(endless,)), model))
        await running.wait()
        group.cancel_scope.cancel()
    assert ended.is_set()


async def test_warming_up_primes_the_instructions() -> None:
    model = ScriptedModel()
    agent = Agent(SPEC, model)
    await agent.warm_up()
    assert model.warmed == [(Message("system", agent.system_prompt),)]


async def test_a_script_that_has_run_out_is_an_error() -> None:
    with pytest.raises(ModelUnavailable):
        await reply(Agent(SPEC, ScriptedModel()))


def test_the_default_agent_speaks_briefly_under_its_name() -> None:
    spec = default_agent_spec("Nova")
    assert "Nova" in spec.instructions
    assert spec.greeting is not None
    assert len(spec.instructions) < 200


# --- without tool calls of the model's own ---


async def test_a_plain_question_is_answered_by_its_tool_without_the_model() -> None:
    model = ScriptedModel(profile=NO_TOOLS)
    parts = await reply(Agent(SPEC, model), (Message("user", "What is twelve times seven?"),))
    assert [type(part) for part in parts] == [ToolStarted, ToolEnded, ReplyDelta, ReplyFinished]
    assert text_of(parts) == "That's 84."
    assert model.requests == []


async def test_what_no_tool_answers_goes_to_the_model_without_tools() -> None:
    model = ScriptedModel("Rome.", profile=NO_TOOLS)
    earlier = (
        Message("user", "What time is it?"),
        Message("assistant", "", tool_requests=(ToolRequest("c", "current_time", "{}"),)),
        Message("tool", '{"time": "12:00"}', tool_call_id="c"),
        Message("assistant", "It's noon."),
    )
    parts = await reply(Agent(SPEC, model), (*earlier, Message("user", "What is the capital of Italy?")))
    assert text_of(parts) == "Rome."
    assert model.requests[0].tools == ()
    assert [m.role for m in model.requests[0].messages] == ["system", "user", "assistant", "user"]


async def test_a_tool_that_fails_leaves_the_question_to_the_model() -> None:
    model = ScriptedModel("I do not know.", profile=NO_TOOLS)
    assert (
        text_of(await reply(Agent(SPEC, model), (Message("user", "What time is it in Atlantis?"),))) == "I do not know."
    )


async def test_a_tool_the_agent_does_not_have_is_not_used() -> None:
    model = ScriptedModel("84, I guess.", profile=NO_TOOLS)
    agent = Agent(replace(SPEC, tools=()), model)
    assert text_of(await reply(agent, (Message("user", "What is 12 times 7?"),))) == "84, I guess."


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What time is it?", "It's 3:45 PM."),
        ("Hey, can you tell me what time it is in Tokyo, please?", "It's 12:45 AM in Tokyo."),
        ("what's the date today", "It's Thursday, March 5, 2026."),
        ("What day is it?", "It's Thursday, March 5, 2026."),
        ("What's fifteen percent of 80?", "That's 12."),
        ("what is the square root of two", "That's about 1.4142."),
        ("Calculate 2 to the power of 10.", "That's 1024."),
        ("How much is 5 million divided by twenty?", "That's 250000."),
    ],
)
async def test_plain_questions_have_spoken_answers(question: str, answer: str) -> None:
    parts = await reply(Agent(SPEC, ScriptedModel(profile=NO_TOOLS)), (Message("user", question),))
    assert text_of(parts) == answer


@pytest.mark.parametrize(
    "text",
    [
        "What is your name?",
        "What is five?",
        "Seven of clubs.",
        "Go forward ten meters.",
        "What time do you get up?",
        "What is one twenty plus four?",
        "He might even have been made amiable himself.",
        "My number is 555 123 4567",
        "",
    ],
)
def test_everything_else_is_not_routed(text: str) -> None:
    assert OfflineRouter().route(text) is None


def test_the_router_knows_english_only() -> None:
    assert OfflineRouter(locale="de-DE").route("What time is it?") is None


@pytest.mark.parametrize(
    ("words", "expression"),
    [
        ("twenty-one minus 5", "21 - 5"),
        ("two hundred and five plus 3.5", "205 + 3.5"),
        ("three point one four times two", "3.14 * 2"),
        ("one hundred twenty three thousand and four over two", "123004 / 2"),
        ("seven squared", "7 ^ 2"),
        ("half of ninety", "0.5 * 90"),
        ("negative five plus two", "- 5 + 2"),
        ("five", None),
        ("point five of clubs", None),
        ("seven of clubs", None),
    ],
)
def test_spoken_arithmetic(words: str, expression: str | None) -> None:
    assert to_expression(words) == expression


# --- the scripted model itself ---


async def collect(stream: AsyncGenerator[Any]) -> list[Any]:
    return [item async for item in stream]


async def test_the_script_streams_word_by_word_and_can_start_over() -> None:
    model = ScriptedModel("One two. ", repeat=True)
    agent_request = (await reply(Agent(SPEC, model))) and model.requests[0]
    first, second = await collect(model.stream(agent_request)), await collect(model.stream(agent_request))
    assert first == second
    assert [event.text for event in first if isinstance(event, TextDelta)] == ["One", " two.", " "]


async def test_who_must_call_is_offered_the_clients_tools_alone() -> None:
    lookup = ToolSpec("lookup", "Look up.", {"type": "object"})
    offered: dict[str, set[str]] = {}
    for choice in ("auto", "required", "none"):
        model = ScriptedModel("Fine.")
        agent = Agent(AgentSpec("a", "A", "Be brief.", tools=builtin_tools()), model)
        committed = anyio.Event()
        committed.set()
        limits = ReplyLimits(5.0, 5.0)
        brief = Brief(tools=(lookup,), tool_choice=choice)
        async with aclosing(
            agent.reply((Message("user", "Hi"),), committed=committed, limits=limits, brief=brief)
        ) as all_parts:
            async for _ in all_parts:
                pass
        offered[choice] = {tool.name for tool in model.requests[0].tools}
    assert offered["required"] == {"lookup"}
    assert offered["none"] == set()
    assert {"lookup"} < offered["auto"]
