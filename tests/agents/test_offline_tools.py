"""Tools of the client's, for a model that cannot call tools."""

from __future__ import annotations

import json
from contextlib import aclosing

import anyio
import pytest

from agents.loop.agent import Agent, AgentSpec
from agents.loop.brief import Brief
from agents.loop.offline_tools import meant_tool
from agents.loop.reply_parts import ReplyDelta, ReplyFinished, ReplyLimits, ReplyPart, ToolHandedOver
from agents.models.embedded_llama import EmbeddedLlama, EmbeddedLlamaConfig, find_weights
from agents.models.fitting import as_text
from agents.models.port import LanguageModel, Message, ModelProfile, ToolChoice, ToolNamed, ToolRequest, ToolSpec
from agents.models.scripted import ScriptedModel

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = ToolSpec("get_weather", "Tell the weather forecast of a city.", CITY)
LIGHTS = ToolSpec("switch_lights", "Switch the lamps of a room on or off.", {"type": "object", "properties": {}})
TOOLS = (WEATHER, LIGHTS)
TOOLLESS = ModelProfile("scripted", "small", tools=False)
LIMITS = ReplyLimits(20.0, 20.0)


@pytest.mark.parametrize(
    ("question", "choice", "meant"),
    [
        ("What's the weather like in Rome?", "auto", "get_weather"),
        ("Please switch off the lights.", "auto", "switch_lights"),
        ("Which city do you like?", "auto", None),
        ("How are you?", "auto", None),
        ("What's the weather like?", "none", None),
        ("How are you?", "required", "get_weather"),
        ("The lamps, please.", "required", "switch_lights"),
        ("How are you?", ToolNamed("switch_lights"), "switch_lights"),
        ("How are you?", ToolNamed("nobody"), None),
    ],
)
def test_the_tool_whose_words_were_used_is_meant(question: str, choice: ToolChoice, meant: str | None) -> None:
    tool = meant_tool(question, Brief(tools=TOOLS, tool_choice=choice))
    assert (tool and tool.name) == meant


def test_results_are_told_in_words() -> None:
    asked = Message("assistant", "", tool_requests=(ToolRequest("call_1", "get_weather", "{}"),))
    messages = (Message("user", "Weather?"), asked, Message("tool", '{"sun": true}', tool_call_id="call_1"))
    assert [(message.role, message.text) for message in as_text(messages)] == [
        ("user", "Weather?"),
        ("system", 'Result of get_weather: {"sun": true}'),
    ]


async def reply(model: LanguageModel, *messages: Message, brief: Brief) -> list[ReplyPart]:
    agent = Agent(AgentSpec("a", "A", "Be brief."), model)
    committed = anyio.Event()
    committed.set()
    async with aclosing(agent.reply(messages, committed=committed, limits=LIMITS, brief=brief)) as parts:
        return [part async for part in parts]


async def test_the_model_writes_the_arguments_in_the_tools_own_form() -> None:
    model = ScriptedModel('{"city": "Rome"}', profile=TOOLLESS)
    call, finished = await reply(model, Message("user", "What's the weather in Rome?"), brief=Brief(tools=TOOLS))
    assert isinstance(call, ToolHandedOver)
    assert (call.request.name, json.loads(call.request.arguments)) == ("get_weather", {"city": "Rome"})
    assert isinstance(finished, ReplyFinished)
    assert finished.reason == "tools"
    [request] = model.requests
    assert request.schema == CITY


async def test_a_tool_without_arguments_costs_no_model() -> None:
    model = ScriptedModel(profile=TOOLLESS)
    call, _ = await reply(model, Message("user", "Switch the lights off."), brief=Brief(tools=TOOLS))
    assert isinstance(call, ToolHandedOver)
    assert call.request.arguments == "{}"
    assert model.requests == []


async def test_arguments_that_are_no_json_are_left_out() -> None:
    model = ScriptedModel("Well, Rome", profile=TOOLLESS)
    call, _ = await reply(model, Message("user", "What's the weather in Rome?"), brief=Brief(tools=TOOLS))
    assert isinstance(call, ToolHandedOver)
    assert call.request.arguments == "{}"


async def test_small_talk_stays_small_talk() -> None:
    model = ScriptedModel("Fine, thanks.", profile=TOOLLESS)
    parts = await reply(model, Message("user", "How are you?"), brief=Brief(tools=TOOLS))
    assert "".join(part.text for part in parts if isinstance(part, ReplyDelta)) == "Fine, thanks."


def _installed() -> bool:
    try:
        return bool(find_weights(EmbeddedLlamaConfig()))
    except Exception:  # noqa: BLE001 - whatever is missing
        return False


@pytest.mark.engines
@pytest.mark.skipif(not _installed(), reason="the embedded extra is not installed")
async def test_the_embedded_model_is_held_to_the_tools_schema() -> None:
    model = EmbeddedLlama()
    try:
        call, _ = await reply(model, Message("user", "What is the weather in Paris?"), brief=Brief(tools=TOOLS))
    finally:
        await model.aclose()
    assert isinstance(call, ToolHandedOver)
    assert call.request.name == "get_weather"
    assert "paris" in json.loads(call.request.arguments)["city"].lower()
