"""A conversation over a telephone call: greeting, answer, barge-in, keys, tools, silence, limits, and its end."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from phone_legs import TestLeg, call_info
from spoken import said

from agents.models.port import LanguageModel, ModelProfile, ToolRequest
from agents.models.scripted import ScriptedModel, ScriptedReply
from metering.ledger import UsageQuery, read_all
from metering.quantities import quantities
from server.errors import Refused
from server.guard import Identity
from server.loop_load import LoopLoad
from server.telephony.conversation import CallRecord, PhoneConversation
from tests.scripted_server import Served, eventually, scripted_engines, served

CALLER = Identity("default", "phone")
GREETING = "Hello there."
TOOLS = ModelProfile("scripted", "tools", tools=True)


@dataclass
class Call:
    """One call under test."""

    server: Served
    leg: TestLeg
    conversation: PhoneConversation
    record: CallRecord | None = None

    @property
    def session(self) -> Any:
        live = self.conversation._live
        assert live is not None
        return live.session

    @property
    def sessions(self) -> int:
        return len(self.server.application.host.registry)

    async def over(self) -> CallRecord:
        await eventually(lambda: self.record is not None, 20)
        assert self.record is not None
        return self.record


@asynccontextmanager
async def calling(
    tmp_path: Path, model: LanguageModel | None = None, leg: TestLeg | None = None, **telephony: Any
) -> AsyncGenerator[Call]:
    settings = {"greeting": GREETING, "greeting_after_s": 0, "silence_s": 60, **telephony}
    latency = {"enforce": False}
    engines = scripted_engines(model)
    async with served(tmp_path, engines, telephony=settings, latency=latency) as server:
        leg = leg or TestLeg()
        call = Call(server, leg, PhoneConversation(server.application.host, leg, CALLER))

        async def hold() -> None:
            call.record = await call.conversation.run()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold)
            await eventually(lambda: leg.listener is not None or leg.hung_up)
            yield call
            if call.record is None and leg.listener is not None:
                leg.listener.ended("caller")
            await call.over()
        assert call.sessions == 0


async def test_it_greets_answers_and_ends_with_the_caller(tmp_path: Path) -> None:
    async with calling(tmp_path) as call:
        await eventually(lambda: call.leg.finished == 1)
        greeted_ms = call.leg.played_ms
        call.leg.say(said("goforward"))
        await eventually(lambda: call.leg.finished == 2)
        assert call.leg.rates == {8_000}
        assert call.leg.played_ms > greeted_ms + 500
        call.leg.listener.ended("caller")
        record = await call.over()
        assert record.reason == "caller"
        assert record.heard_ms == pytest.approx(5_100, abs=150)
        assert record.call_ms > 0
        assert call.leg.hung_up == ["caller"]


async def test_what_gathers_while_the_loop_is_busy_is_metered_whoever_hangs_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LoopLoad, "rest_s", 0.12)
    async with calling(tmp_path) as call:
        await eventually(lambda: call.leg.finished == 1)
        for _ in range(58):  # no whole number of bites
            call.leg.listener.heard(np.zeros(160, np.int16), 8_000)
        call.conversation._end("agent")
        record = await call.over()
        assert record.heard_ms == 58 * 20
        ledger = call.server.application.host.ledger
        await eventually(lambda: call.server.application.host.recorder.status().waiting == 0)
        assert sum(event.audio_ms_received for event in read_all(ledger, UsageQuery())) == 58 * 20


async def test_its_turns_are_metered_as_telephone_turns(tmp_path: Path) -> None:
    async with calling(tmp_path) as call:
        await eventually(lambda: call.leg.finished == 1)
        call.leg.say(said("goforward"))
        await eventually(lambda: call.leg.finished == 2)
        call.leg.listener.ended("caller")
        record = await call.over()
        recorder = call.server.application.host.recorder
        await eventually(lambda: recorder.status().waiting == 0)
        events = list(read_all(call.server.application.host.ledger, UsageQuery()))
        assert {event.transport for event in events} == {"phone"}
        assert {event.session_id for event in events} == {record.session_id}
        assert any(event.audio_ms_in > 0 for event in events)
        billed = [each for event in events for each in quantities(event) if each.meter == "call_ms"]
        assert [(each.provider, each.model) for each in billed] == [("test", "inbound")]
        assert billed[0].amount == record.call_ms > 0


async def test_speech_over_the_answer_clears_what_the_carrier_has(tmp_path: Path) -> None:
    model = ScriptedModel("This is a long answer that goes on for quite some time, " * 4, repeat=True)
    async with calling(tmp_path, model) as call:
        await eventually(lambda: call.leg.finished == 1)
        call.leg.say(said("goforward"))
        await eventually(lambda: len(call.leg.played) > 12, 20)
        call.leg.say(said("goforward", silence_s=0.1))
        await eventually(lambda: call.leg.cleared > 0)


async def test_history_says_what_the_carrier_says_was_heard(tmp_path: Path) -> None:
    model = ScriptedModel("One two three four five six seven eight nine ten eleven twelve.", repeat=True)
    async with calling(tmp_path, model) as call:
        await eventually(lambda: call.leg.finished == 1)
        call.leg.listener.played(10_000)
        call.leg.say(said("goforward"))
        await eventually(lambda: call.leg.played_ms > 1_600, 20)
        before = call.leg.cleared
        call.leg.listener.played(850)  # the greeting's 720 ms and the first word or two of the answer
        call.session.cancel()
        await eventually(lambda: call.leg.cleared > before)
        await eventually(lambda: any(message.role == "assistant" for message in call.session.history.messages()[1:]))
        answered = [message.text for message in call.session.history.messages() if message.role == "assistant"][-1]
        assert answered.startswith("One")
        assert "nine" not in answered


async def test_keys_reach_the_agent_as_one_entry(tmp_path: Path) -> None:
    model = ScriptedModel("Thank you.", repeat=True, profile=TOOLS)
    async with calling(tmp_path, model) as call:
        await eventually(lambda: call.leg.finished == 1)
        for digit in "1234#":
            call.leg.listener.digit(digit)
        await eventually(lambda: call.leg.finished == 2)
        assert model.requests[-1].messages[-1].text == "[The caller entered 1 2 3 4 on the keypad]"


async def test_the_agent_ends_the_call_when_its_goodbye_was_heard(tmp_path: Path) -> None:
    ending = ScriptedReply("", tools=(ToolRequest("c1", "end_call", "{}"),))
    model = ScriptedModel(ending, ScriptedReply("Goodbye then."), profile=TOOLS)
    async with calling(tmp_path, model) as call:
        await eventually(lambda: call.leg.finished == 1)
        call.leg.say(said("goforward"))
        record = await call.over()
        assert record.reason == "agent"
        assert call.leg.finished == 2
        assert call.leg.hung_up == ["agent"]


def pressing(digits: str) -> ScriptedModel:
    asks = ScriptedReply("", tools=(ToolRequest("c1", "send_digits", f'{{"digits": "{digits}"}}'),))
    return ScriptedModel(asks, ScriptedReply("I press them."), ScriptedReply("As you like."), profile=TOOLS)


async def test_the_agent_presses_keys_when_its_words_were_heard(tmp_path: Path) -> None:
    model = pressing("1w2,#a")
    async with calling(tmp_path, model) as call:
        await eventually(lambda: call.leg.finished == 1)
        call.leg.say(said("goforward"))
        await eventually(lambda: call.leg.digits == "1", 20)
        assert call.leg.finished == 2
        await eventually(lambda: call.leg.digits == "12#A", 20)


async def test_no_keys_are_pressed_where_the_caller_speaks_into_it(tmp_path: Path) -> None:
    model = pressing("1")
    async with calling(tmp_path, model) as call:
        await eventually(lambda: call.leg.finished == 1)
        call.leg.say(said("goforward"))
        await eventually(lambda: call.conversation._pressing._plan is not None and len(call.leg.played) > 8, 20)
        call.session.cancel()
        await eventually(lambda: call.conversation._pressing._plan is None, 20)
        assert call.leg.digits == ""


async def test_a_line_that_presses_no_keys_says_so_to_the_agent(tmp_path: Path) -> None:
    model = pressing("1")
    async with calling(tmp_path, model, TestLeg(presses_keys=False)) as call:
        await eventually(lambda: call.leg.finished == 1)
        call.leg.say(said("goforward"))
        await eventually(lambda: call.leg.finished == 2, 20)
        assert "No keys can be pressed on this line" in model.requests[1].messages[-1].text
        assert call.leg.digits == ""


async def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    model = pressing("12x")
    async with calling(tmp_path, model) as call:
        await eventually(lambda: call.leg.finished == 1)
        call.leg.say(said("goforward"))
        await eventually(lambda: call.leg.finished == 2, 20)
        assert "digits" in model.requests[1].messages[-1].text
        assert call.leg.digits == ""


async def test_keys_that_could_not_be_pressed_are_told_to_the_agent(tmp_path: Path) -> None:
    model = pressing("1")
    async with calling(tmp_path, model, TestLeg(press_fails=True)) as call:
        await eventually(lambda: call.leg.finished == 1)
        call.leg.say(said("goforward"))
        await eventually(lambda: len(model.requests) == 3, 20)
        assert model.requests[2].messages[-1].text == "[The keys could not be pressed: busy]"


async def test_the_agent_transfers_only_to_whom_it_may(tmp_path: Path) -> None:
    wrong = ToolRequest("c1", "transfer_call", '{"to": "+19005550000"}')
    right = ToolRequest("c2", "transfer_call", '{"to": "Sales", "summary": "Wants a lamp."}')
    replies = (ScriptedReply("", tools=(wrong,)), ScriptedReply("", tools=(right,)), ScriptedReply("One moment."))
    model = ScriptedModel(*replies, profile=TOOLS)
    async with calling(tmp_path, model, transfer_targets={"sales": "+15550100777"}) as call:
        await eventually(lambda: call.leg.finished == 1)
        call.leg.say(said("goforward"))
        record = await call.over()
        assert call.leg.transfers == [("+15550100777", "Wants a lamp.")]
        assert "nobody called that" in model.requests[1].messages[-1].text
        assert record.reason == "agent"


async def test_a_transfer_that_fails_is_told_and_the_call_goes_on(tmp_path: Path) -> None:
    right = ToolRequest("c2", "transfer_call", '{"to": "sales"}')
    model = ScriptedModel(ScriptedReply("", tools=(right,)), ScriptedReply("One moment."), profile=TOOLS)
    leg = TestLeg(transfer_fails=True)
    async with calling(tmp_path, model, leg, transfer_targets={"sales": "+15550100777"}) as call:
        await eventually(lambda: call.leg.finished == 1)
        call.leg.say(said("goforward"))
        await eventually(lambda: call.leg.finished == 3, 20)
        assert call.record is None


async def test_who_calls_is_in_the_agents_mind_and_not_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    model = ScriptedModel("Fine.", repeat=True, profile=TOOLS)
    async with calling(tmp_path, model) as call:
        await eventually(lambda: call.leg.finished == 1)
        call.leg.say(said("goforward"))
        await eventually(lambda: call.leg.finished == 2)
    assert "+15550100123" in model.requests[-1].messages[0].text
    assert {tool.name for tool in model.requests[-1].tools} >= {"end_call", "collect_digits"}
    assert "transfer_call" not in {tool.name for tool in model.requests[-1].tools}
    written = "".join(str(record.__dict__) for record in caplog.records)
    assert "…23" in written
    assert "0100123" not in written


async def test_silence_is_asked_about_twice_then_it_hangs_up(tmp_path: Path) -> None:
    async with calling(tmp_path, silence_s=2.0) as call:
        record = await call.over()
        assert record.reason == "agent"
        assert call.leg.finished == 4  # the greeting, two questions, the goodbye


async def test_a_call_that_has_lasted_its_time_is_ended_with_a_goodbye(tmp_path: Path) -> None:
    async with calling(tmp_path, max_call_minutes=0.03, warn_before_s=0) as call:
        record = await call.over()
        assert record.reason == "limit"
        assert call.leg.finished == 2
        assert call.leg.hung_up == ["limit"]


async def test_a_call_is_refused_where_there_is_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise Refused("server.overloaded")  # type: ignore[arg-type]

    monkeypatch.setattr("server.sessions.registry.SessionRegistry.require_room", full)
    async with calling(tmp_path) as call:
        record = await call.over()
        assert (record.reason, record.session_id) == ("refused", None)
        assert call.leg.hung_up == ["refused"]


async def test_the_language_of_the_call_is_that_of_what_is_said(tmp_path: Path) -> None:
    leg = TestLeg(call_info(parameters={"locale": "it-IT"}))
    async with calling(tmp_path, leg=leg, greeting=None) as call:
        assert call.conversation._phrases.still_there[0].startswith("È")
        assert call.session._options.locale == "it-IT"
