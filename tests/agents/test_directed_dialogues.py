"""Conversations their client directs: replies on request, tools of its own, commits by hand, truncation."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from conversation import Script, Talk, conversation, dialogue

from agents.core.item_ids import reply_item_id, spoken_item_id, typed_item_id
from agents.core.options import ReplyRequest
from agents.core.policy import TurnPolicy
from agents.events import (
    AudioOut,
    ClientToolCalled,
    Failed,
    LongSilence,
    Resumed,
    TranscriptUpdated,
    TurnCompleted,
    TurnStarted,
)
from agents.loop.brief import Brief
from agents.models.port import Message, ToolRequest, ToolSpec
from agents.models.scripted import ScriptedReply

LOOKUP = ToolSpec("lookup", "Look a word up.", {"type": "object", "properties": {"word": {"type": "string"}}})
WANTS_LOOKUP = ScriptedReply("Let me look.", (ToolRequest("call_1", "lookup", '{"word": "cat"}'),))
LONG = "This is a rather long answer that goes on and on, so that it can be interrupted well before its end."
PATIENT = TurnPolicy(min_wait_ms=300, wait_ms=300, max_wait_ms=900)
SILENT = replace(PATIENT, auto_reply=False)


async def finals(talk: Talk) -> list[str]:
    return [event.text for event in talk.all(TranscriptUpdated) if event.final]


@dialogue
async def test_a_turn_becomes_part_of_the_conversation_and_nobody_answers_unless_asked() -> None:
    async with conversation(Script(policy=SILENT)) as talk:
        await talk.speak(800)
        await talk.quiet(2_000)
        assert await finals(talk) == ["What time is it?"]
        assert not talk.all(TurnStarted)
        talk.session.respond("resp_1")
        await talk.until(TurnCompleted)
        assert talk.one(TurnStarted).source == "request"
        assert [message.text for message in talk.model.requests[0].messages][1:] == ["What time is it?"]


@dialogue
async def test_a_reply_asked_for_while_the_user_speaks_waits_for_what_they_say() -> None:
    async with conversation(Script(policy=SILENT)) as talk:
        await talk.speak(400)
        talk.session.respond("resp_1")
        await talk.speak(400)
        await talk.until(TurnCompleted)
        assert talk.one(TurnStarted).turn_id == "resp_1"
        assert talk.model.requests[0].messages[-1].text == "What time is it?"


@dialogue
async def test_a_reply_asked_for_while_a_turn_answers_itself_is_that_answer() -> None:
    async with conversation(Script(policy=PATIENT)) as talk:
        await talk.speak(600)
        talk.session.respond("resp_1")
        await talk.until(TurnCompleted)
        await talk.quiet(3_000)
        assert len(talk.all(TurnStarted)) == 1


@dialogue
async def test_a_second_reply_at_once_is_refused_with_its_id() -> None:
    async with conversation(Script(replies=[LONG], policy=SILENT)) as talk:
        talk.session.respond("resp_1")
        await talk.until(AudioOut)
        talk.session.respond("resp_2")
        await talk.until(Failed)
        refused = talk.one(Failed)
        assert (refused.turn_id, refused.details) == ("resp_2", {"reason": "reply_active"})


@dialogue
async def test_stop_and_say_this_instead_is_one_reply_after_the_other() -> None:
    async with conversation(Script(replies=[LONG, "Sorry."], policy=SILENT)) as talk:
        talk.session.respond("resp_1")
        await talk.until(AudioOut)
        talk.session.cancel()
        talk.session.respond("resp_2")
        await talk.until(TurnCompleted, count=2)
        order = [
            (type(event).__name__, event.turn_id)
            for _, event in talk.events
            if isinstance(event, TurnStarted | TurnCompleted)
        ]
        assert order == [
            ("TurnStarted", "resp_1"),
            ("TurnCompleted", "resp_1"),
            ("TurnStarted", "resp_2"),
            ("TurnCompleted", "resp_2"),
        ]
        assert [event.end for event in talk.all(TurnCompleted)] == ["cancelled", "finished"]


@dialogue
async def test_a_tool_of_the_clients_ends_the_turn_and_its_result_is_read_by_the_next() -> None:
    script = Script(
        replies=[WANTS_LOOKUP, "A cat is an animal."], policy=PATIENT, options={"brief": Brief(tools=(LOOKUP,))}
    )
    async with conversation(script) as talk:
        await talk.speak(600)
        await talk.until(ClientToolCalled)
        called = talk.one(ClientToolCalled)
        assert (called.name, called.arguments) == ("lookup", '{"word": "cat"}')
        talk.session.history.add(Message("tool", '{"kind": "animal"}', tool_call_id=called.call_id))
        talk.session.respond("resp_2")  # "Let me look." is still being spoken: it waits
        await talk.until(TurnCompleted, count=2)
        first, second = talk.all(TurnCompleted)
        assert (first.end, second.end, second.turn_id) == ("tools", "finished", "resp_2")
        roles = [message.role for message in talk.model.requests[1].messages]
        assert roles == ["system", "user", "assistant", "assistant", "tool"]
        assert not talk.all(Failed)


@dialogue
async def test_an_interrupted_reply_keeps_the_tool_it_asked_for() -> None:
    script = Script(replies=[WANTS_LOOKUP, "Well."], policy=PATIENT, options={"brief": Brief(tools=(LOOKUP,))})
    async with conversation(script) as talk:
        await talk.speak(600)
        await talk.until(AudioOut)
        await talk.speak(1_200)
        await talk.until(TurnCompleted, count=2)
        talk.session.history.add(Message("tool", "{}", tool_call_id="call_1"))
        requests = [m for m in talk.session.history.messages() if m.tool_requests]
        assert [request.tool_requests[0].call_id for request in requests] == ["call_1"]


@dialogue
async def test_instructions_and_limits_of_the_client_reach_the_model() -> None:
    brief = Brief("Speak like a pirate.", tool_choice="none", max_output_tokens=33, temperature=0.1)
    async with conversation(Script(options={"brief": brief})) as talk:
        talk.session.prompt("Hello")
        await talk.until(TurnCompleted)
        [request] = talk.model.requests
        assert request.messages[0].text == "Speak like a pirate."
        assert (request.max_output_tokens, request.temperature, request.tools) == (33, 0.1, ())


@dialogue
async def test_a_reply_in_writing_beside_the_conversation_leaves_no_trace_and_stops_nothing() -> None:
    async with conversation(Script(replies=[LONG, "Sorted: billing."])) as talk:
        await talk.speak(600)
        await talk.until(AudioOut)
        aside = ReplyRequest(replace(talk.options, speak=False), (Message("user", "Classify this."),), remembered=False)
        talk.session.respond("resp_aside", aside)
        await talk.until(TurnCompleted)
        assert talk.one(TurnCompleted).turn_id == "resp_aside"
        await talk.until(TurnCompleted, count=2)
        texts = [message.text for message in talk.session.history.messages()]
        assert "Sorted: billing." not in texts
        assert talk.all(TurnCompleted)[1].end == "finished"


@dialogue
async def test_a_reply_beside_the_conversation_can_be_cancelled_by_its_id() -> None:
    async with conversation(Script(replies=[LONG], before_event=lambda _: asyncio.sleep(1))) as talk:
        aside = ReplyRequest(replace(talk.options, speak=False), remembered=False)
        talk.session.respond("resp_aside", aside)
        await talk.quiet(200)
        talk.session.cancel("resp_aside")
        await talk.until(TurnCompleted)
        assert talk.one(TurnCompleted).end == "cancelled"


@dialogue
async def test_truncation_shortens_what_the_model_will_read() -> None:
    async with conversation(Script(replies=[LONG, "Yes."])) as talk:
        await talk.speak(600)
        await talk.until(TurnCompleted)
        item_id = reply_item_id(talk.one(TurnCompleted).turn_id)
        left = talk.session.truncate(item_id, 1_500)
        assert left is not None
        assert LONG.startswith(left.text)
        assert 0 < len(left.text) < len(LONG)
        assert talk.session.history.messages()[-1].text == f"{left.text.rstrip('. ')}…"


@dialogue
async def test_a_reply_cannot_be_truncated_to_more_than_there_was() -> None:
    async with conversation(Script()) as talk:
        await talk.speak(600)
        await talk.until(TurnCompleted)
        completed = talk.one(TurnCompleted)
        left = talk.session.truncate(reply_item_id(completed.turn_id), 999_999)
        assert left is not None
        assert left.audio_ms == completed.usage.audio_ms_out
        assert left.text == completed.text


@dialogue
async def test_truncation_to_nothing_takes_the_reply_out() -> None:
    async with conversation(Script()) as talk:
        await talk.speak(600)
        await talk.until(TurnCompleted)
        left = talk.session.truncate(reply_item_id(talk.one(TurnCompleted).turn_id), 0)
        assert left is not None
        assert (left.audio_ms, left.text) == (0, "")
        assert [message.role for message in talk.session.history.messages()] == ["user"]


@dialogue
async def test_truncating_what_is_still_being_said_counts_when_it_ends() -> None:
    async with conversation(Script(replies=[LONG], options={"client_clears": False})) as talk:
        await talk.speak(600)
        await talk.until(AudioOut, count=20)
        turn_id = talk.one(TurnStarted).turn_id
        left = talk.session.truncate(reply_item_id(turn_id), 400)
        talk.session.cancel()
        await talk.until(TurnCompleted)
        assert left is not None
        last = talk.session.history.messages()[-1]
        assert last.role == "user" or last.text.rstrip("…") in left.text + "…"
        assert talk.one(TurnCompleted).usage.audio_ms_out <= 400


@dialogue
async def test_an_unknown_item_cannot_be_truncated() -> None:
    async with conversation(Script()) as talk:
        assert talk.session.truncate("item_nobody_knows", 100) is None


@dialogue
async def test_items_are_found_by_ids_both_sides_can_compute() -> None:
    async with conversation(Script(replies=["Fine."])) as talk:
        talk.session.prompt("How are you?", "turn_7")
        await talk.until(TurnCompleted)
        talk.session.history.remove(typed_item_id("turn_7"))
        assert [message.text for message in talk.session.history.messages()] == ["Fine."]
        await talk.speak(600)
        await talk.until(TurnCompleted, count=2)
        talk.session.history.remove(spoken_item_id("session-1", 1))
        assert "What time is it?" not in [message.text for message in talk.session.history.messages()]


@dialogue
async def test_a_client_that_cannot_drop_audio_goes_on_where_sending_stopped() -> None:
    script = Script(replies=[LONG], hears=["First.", ""], options={"client_clears": False})
    async with conversation(script) as talk:
        await talk.speak(600)
        await talk.until(AudioOut, count=10)
        await talk.speak(400)  # a sound without words: held, then resumed
        await talk.until(TurnCompleted)
        assert talk.all(Resumed)
        turn_id = talk.one(TurnCompleted).turn_id
        starts = [(event.start_ms, len(event.samples)) for event in talk.all(AudioOut) if event.turn_id == turn_id]
        expected = 0
        for start_ms, samples in starts:
            assert abs(start_ms - expected) <= 1
            expected = start_ms + samples * 1_000 // 24_000
        assert talk.one(TurnCompleted).text == LONG


@dialogue
async def test_what_is_said_over_a_reply_that_may_not_be_interrupted_is_told_at_once_and_answered_next() -> None:
    policy = replace(PATIENT, interruptible=False, keep_overlap=True)
    async with conversation(Script(hears=["First.", "Second."], replies=[LONG, "Right."], policy=policy)) as talk:
        await talk.speak(600)
        await talk.until(AudioOut)
        await talk.speak(600)
        await talk.until(TurnCompleted, count=2)
        said = [event.text for event in talk.all(TranscriptUpdated) if event.final]
        assert said == ["First.", "Second."]
        assert talk.when_ms(TurnCompleted) - _when_said(talk, "Second.") > 1_000
        assert [event.source for event in talk.all(TurnStarted)] == ["speech", "request"]
        assert [event.end for event in talk.all(TurnCompleted)] == ["finished", "finished"]
        asked = [message.text for message in talk.model.requests[1].messages]
        assert asked[1:] == ["First.", LONG, "Second."]


@dialogue
async def test_a_cough_over_a_reply_that_may_not_be_interrupted_is_no_turn() -> None:
    policy = replace(PATIENT, interruptible=False, keep_overlap=True)
    async with conversation(Script(hears=["First.", ""], replies=[LONG], policy=policy)) as talk:
        await talk.speak(600)
        await talk.until(AudioOut)
        await talk.speak(300)
        await talk.until(TurnCompleted)
        await talk.quiet(2_000)
        assert len(talk.all(TurnStarted)) == 1


@dialogue
async def test_speech_that_outlasts_a_reply_that_may_not_be_interrupted_is_an_ordinary_turn() -> None:
    policy = replace(PATIENT, interruptible=False, keep_overlap=True)
    async with conversation(Script(hears=["First.", "Second."], replies=["Yes.", "Right."], policy=policy)) as talk:
        await talk.speak(600)
        await talk.until(AudioOut)
        await talk.speak(3_000)
        await talk.until(TurnCompleted, count=2)
        assert [event.text for event in talk.all(TurnStarted)] == ["First.", "Second."]


@dialogue
async def test_after_a_long_silence_the_agent_asks_whether_anybody_is_there() -> None:
    policy = replace(PATIENT, idle_ms=5_000)
    async with conversation(Script(replies=["It is noon.", "Are you still there?"], policy=policy)) as talk:
        await talk.speak(600)
        await talk.until(TurnCompleted)
        await talk.until(TurnCompleted, count=2)
        silence = talk.one(LongSilence)
        assert silence.until_ms - silence.from_ms == 5_000
        assert talk.all(TurnStarted)[1].source == "idle"
        assert talk.model.requests[1].messages[-1].role == "system"


@dialogue
async def test_whoever_speaks_is_not_asked_whether_they_are_there() -> None:
    policy = replace(PATIENT, idle_ms=5_000)
    async with conversation(Script(policy=policy)) as talk:
        await talk.speak(600)
        await talk.until(TurnCompleted)
        await talk.quiet(3_000)
        await talk.speak(600)
        await talk.quiet(3_000)
        assert not talk.all(LongSilence)


def _when_said(talk: Talk, text: str) -> float:
    return next(
        at * 1_000
        for at, event in talk.events
        if isinstance(event, TranscriptUpdated) and event.final and event.text == text
    )
