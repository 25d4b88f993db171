"""The OpenAI-compatible model against a real HTTP server with faults, through the genuine SDK."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import anyio
import pytest
from fake_chat_server import DONE, STOP, FakeChatServer, chunk, event, running_server, usage

from agents.errors import (
    KeyRejected,
    ModelError,
    ModelRateLimited,
    ModelRejected,
    ModelTimeout,
    ModelUnavailable,
    RequestRejected,
)
from agents.models.openai_client import OpenAICompatibleConfig
from agents.models.openai_compatible import OpenAICompatibleModel
from agents.models.port import (
    Finished,
    Message,
    ModelEvent,
    ModelRequest,
    Preparing,
    TextDelta,
    TokenUsage,
    ToolRequest,
    ToolSpec,
)

HELLO = ModelRequest((Message("system", "Be brief."), Message("user", "Hello there")))


@pytest.fixture
async def server() -> AsyncGenerator[FakeChatServer]:
    async with running_server() as running:
        yield running


def config_for(server: FakeChatServer, **fields: Any) -> OpenAICompatibleConfig:
    config = OpenAICompatibleConfig("m", server.url, "sk-secret", connect_s=5.0, first_event_s=5.0, gap_s=5.0)
    return replace(config, **fields)


async def ask(config: OpenAICompatibleConfig, request: ModelRequest = HELLO) -> list[ModelEvent]:
    model = OpenAICompatibleModel(config)
    try:
        async with aclosing(model.stream(request)) as events:
            return [item async for item in events]
    finally:
        await model.aclose()


def text_of(events: list[ModelEvent]) -> str:
    return "".join(item.text for item in events if isinstance(item, TextDelta))


def spoken(events: list[ModelEvent]) -> list[ModelEvent]:
    """What came, without the signs of life in between."""
    return [item for item in events if not isinstance(item, Preparing)]


async def test_text_streams_and_usage_comes_from_the_server(server: FakeChatServer) -> None:
    server.answer(
        chunk("", delta={"role": "assistant", "content": ""}), chunk("Hi "), chunk("you."), STOP, usage(), DONE
    )
    events = await ask(config_for(server))
    assert events == [TextDelta("Hi "), TextDelta("you."), Finished("stop", TokenUsage(11, 4, 3))]
    body = server.requests[0].body
    assert body["stream_options"] == {"include_usage": True}
    assert body["max_tokens"] == HELLO.max_output_tokens
    assert server.requests[0].headers["authorization"] == "Bearer sk-secret"


async def test_usage_is_estimated_where_the_server_reports_none(server: FakeChatServer) -> None:
    server.answer(chunk("Hello you."), STOP, DONE)
    (*_, finished) = await ask(config_for(server))
    assert isinstance(finished, Finished)
    assert finished.usage.estimated
    assert finished.usage.input_tokens > 0
    assert finished.usage.output_tokens == 3


async def test_null_deltas_missing_choices_and_comments_are_tolerated(server: FakeChatServer) -> None:
    empty = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": None}
    server.answer(b": ping\n\n", event(empty), chunk(delta=None), chunk(None), chunk("Yes."), STOP, DONE)
    assert text_of(await ask(config_for(server))) == "Yes."


@pytest.mark.parametrize(
    ("reason", "meaning"),
    [("stop", "stop"), ("length", "length"), ("content_filter", "filtered"), ("something_new", "stop")],
)
async def test_finish_reasons_have_one_meaning_each(server: FakeChatServer, reason: str, meaning: str) -> None:
    server.answer(chunk("Word"), chunk(finish_reason=reason, delta={}), usage(), DONE)
    (*_, finished) = await ask(config_for(server))
    assert isinstance(finished, Finished)
    assert finished.reason == meaning


def call(index: int, call_id: str | None, name: str | None, arguments: str | None) -> bytes:
    function = {"name": name, "arguments": arguments}
    return chunk(delta={"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]})


async def test_tool_calls_are_put_together_from_their_deltas(server: FakeChatServer) -> None:
    server.answer(
        call(0, "a", "clock", ""),
        call(0, None, None, '{"pl'),
        call(1, "b", "sum", '{"x":1}'),
        call(0, None, None, 'ace":"Rome"}'),
        chunk(finish_reason="tool_calls", delta={}),
        usage(),
        DONE,
    )
    tools = (ToolSpec("clock", "Tells the time.", {"type": "object", "properties": {}}),)
    events = spoken(await ask(config_for(server), replace(HELLO, tools=tools)))
    assert events[:2] == [ToolRequest("a", "clock", '{"place":"Rome"}'), ToolRequest("b", "sum", '{"x":1}')]
    assert events[2] == Finished("tools", TokenUsage(11, 4, 3))
    assert server.requests[0].body["tools"][0]["function"]["name"] == "clock"


async def test_calls_without_ids_that_share_an_index_are_told_apart(server: FakeChatServer) -> None:
    server.answer(call(0, "", "one", "{}"), call(0, "", "two", None), chunk(finish_reason="stop", delta={}), DONE)
    events = spoken(await ask(config_for(server)))
    assert events[:2] == [ToolRequest("call_0", "one", "{}"), ToolRequest("call_1", "two", "{}")]
    assert isinstance(events[2], Finished)
    assert events[2].reason == "tools"


async def test_tool_messages_travel_in_the_wire_format(server: FakeChatServer) -> None:
    server.answer(chunk("Ok."), STOP, DONE)
    asked = Message("assistant", "", tool_requests=(ToolRequest("a", "clock", "{}"),))
    await ask(config_for(server), ModelRequest((*HELLO.messages, asked, Message("tool", "12:00", tool_call_id="a"))))
    sent = server.requests[0].body["messages"]
    assert sent[2]["content"] is None
    assert sent[2]["tool_calls"][0] == {"id": "a", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
    assert sent[3] == {"role": "tool", "content": "12:00", "tool_call_id": "a"}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, RequestRejected),
        (401, KeyRejected),
        (403, ModelRejected),
        (404, ModelRejected),
        (408, ModelTimeout),
        (429, ModelRateLimited),
        (500, ModelUnavailable),
        (503, ModelUnavailable),
    ],
)
async def test_every_refusal_has_its_error_and_none_is_retried(
    server: FakeChatServer, status: int, expected: type[ModelError]
) -> None:
    server.refuse(status)
    with pytest.raises(expected) as caught:
        await ask(config_for(server))
    assert type(caught.value) is expected
    assert len(server.requests) == 1
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after_ms": "250"}, 0.25),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "nan"}, None),
        ({}, None),
    ],
)
async def test_a_rate_limit_says_when_to_come_back(
    server: FakeChatServer, headers: dict[str, str], seconds: float | None
) -> None:
    server.refuse(429, **headers)
    with pytest.raises(ModelRateLimited) as caught:
        await ask(config_for(server))
    assert caught.value.retry_after_s == seconds


async def test_an_exhausted_account_is_no_rate_limit(server: FakeChatServer) -> None:
    server.refuse(429, code="insufficient_quota")
    with pytest.raises(ModelRejected):
        await ask(config_for(server))


async def test_a_stall_before_the_headers_is_a_timeout(server: FakeChatServer) -> None:
    server.answer(before_headers=anyio.Event())
    with pytest.raises(ModelTimeout):
        await ask(config_for(server, first_event_s=0.5))
    await server.requests[0].client_gone.wait()


async def test_a_stall_before_the_first_event_is_a_timeout(server: FakeChatServer) -> None:
    server.answer(anyio.Event())
    with pytest.raises(ModelTimeout):
        await ask(config_for(server, first_event_s=0.2))


async def test_a_stall_in_the_middle_is_a_timeout_and_closes_the_connection(server: FakeChatServer) -> None:
    server.answer(chunk("One "), anyio.Event())
    with pytest.raises(ModelTimeout):
        await ask(config_for(server, gap_s=0.5))
    await server.requests[0].client_gone.wait()


async def test_keep_alive_comments_do_not_count_as_an_answer(server: FakeChatServer) -> None:
    server.answer(chunk("One "), b": ping\n\n", b": ping\n\n", anyio.Event())
    with pytest.raises(ModelTimeout):
        await ask(config_for(server, gap_s=0.05))


async def test_a_cut_stream_keeps_its_text_and_raises(server: FakeChatServer) -> None:
    server.answer(chunk("One "), chunk("two"), cut=True)
    model = OpenAICompatibleModel(config_for(server))
    async with aclosing(model.stream(HELLO)) as events:
        assert [await anext(events), await anext(events)] == [TextDelta("One "), TextDelta("two")]
        with pytest.raises(ModelUnavailable):
            await anext(events)
    await model.aclose()


async def test_a_body_that_ends_without_a_finish_reason_is_a_broken_answer(server: FakeChatServer) -> None:
    server.answer(chunk("One "))
    with pytest.raises(ModelUnavailable):
        await ask(config_for(server))


async def test_a_cut_after_the_last_word_changes_nothing(server: FakeChatServer) -> None:
    server.answer(chunk("All said."), STOP, cut=True)
    (*_, finished) = await ask(config_for(server))
    assert isinstance(finished, Finished)
    assert finished.usage.estimated


@pytest.mark.parametrize("garbage", [b"data: {not json\n\n", b"data: 17\n\n", b"data: \xff\xfe\n\n", chunk({"a": 1})])
async def test_garbage_in_the_stream_is_an_unavailable_model(server: FakeChatServer, garbage: bytes) -> None:
    server.answer(chunk("One "), garbage, STOP, DONE)
    with pytest.raises(ModelUnavailable):
        await ask(config_for(server))


async def test_an_error_event_inside_the_stream_is_raised(server: FakeChatServer) -> None:
    server.answer(chunk("One "), event({"error": {"message": "slow down", "code": "rate_limit_exceeded"}}))
    with pytest.raises(ModelRateLimited):
        await ask(config_for(server))


async def test_a_slow_dribble_of_bytes_is_read_as_one_answer(server: FakeChatServer) -> None:
    whole = chunk("Grüße, ") + chunk("Welt 😀.") + STOP + usage() + DONE
    server.answer(*(whole[place : place + 1] for place in range(len(whole))))
    assert text_of(await ask(config_for(server))) == "Grüße, Welt 😀."


async def test_nobody_listening_is_an_unavailable_model() -> None:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
    with pytest.raises(ModelUnavailable):
        await ask(OpenAICompatibleConfig("m", f"http://127.0.0.1:{port}/v1"))


async def test_cancelling_the_consumer_closes_the_http_stream(server: FakeChatServer) -> None:
    server.answer(chunk("One "), anyio.Event())
    model = OpenAICompatibleModel(config_for(server))
    heard = anyio.Event()

    async def consume() -> None:
        async with aclosing(model.stream(HELLO)) as events:
            async for _ in events:
                heard.set()

    async with anyio.create_task_group() as group:
        group.start_soon(consume)
        await heard.wait()
        group.cancel_scope.cancel()
    await server.requests[0].client_gone.wait()
    await model.aclose()


async def test_closing_the_generator_closes_the_http_stream(server: FakeChatServer) -> None:
    server.answer(chunk("One "), anyio.Event())
    model = OpenAICompatibleModel(config_for(server))
    async with aclosing(model.stream(HELLO)) as events:
        assert await anext(events) == TextDelta("One ")
    await server.requests[0].client_gone.wait()
    await model.aclose()


async def test_a_finished_answer_leaves_its_connection_for_the_next(server: FakeChatServer) -> None:
    for _ in range(2):
        server.answer(chunk("Ok."), STOP, usage(), DONE)
    model = OpenAICompatibleModel(config_for(server))
    for _ in range(2):
        async with aclosing(model.stream(HELLO)) as events:
            assert [item async for item in events]
    assert not server.requests[0].client_gone.is_set()
    await model.aclose()


async def test_a_connection_closed_just_as_it_is_used_again_costs_nothing(server: FakeChatServer) -> None:
    server.answer(chunk("One."), STOP, usage(), DONE)
    server.answer(silent=True)
    server.answer(chunk("Two."), STOP, usage(), DONE)
    model = OpenAICompatibleModel(config_for(server))
    for expected in ("One.", "Two."):
        async with aclosing(model.stream(HELLO)) as events:
            assert text_of([item async for item in events]) == expected
    await model.aclose()


async def test_a_server_that_always_hangs_up_is_unavailable(server: FakeChatServer) -> None:
    server.answer(silent=True)
    server.answer(silent=True)
    with pytest.raises(ModelUnavailable):
        await ask(config_for(server))
    assert len(server.requests) == 2


@pytest.mark.parametrize("parameter", ["temperature", "max_tokens", "stream_options"])
async def test_a_refused_optional_parameter_is_left_out_from_then_on(server: FakeChatServer, parameter: str) -> None:
    server.refuse(400, code="unsupported_parameter", param=parameter)
    server.answer(chunk("Ok."), STOP, usage(), DONE)
    server.answer(chunk("Ok."), STOP, usage(), DONE)
    model = OpenAICompatibleModel(config_for(server))
    for _ in range(2):
        async with aclosing(model.stream(HELLO)) as events:
            assert text_of([item async for item in events]) == "Ok."
    assert [parameter in request.body for request in server.requests] == [True, False, False]
    await model.aclose()


async def test_a_parameter_refused_under_both_names_is_a_rejection(server: FakeChatServer) -> None:
    server.refuse(400, code="unsupported_parameter", param="max_tokens")
    server.refuse(400, code="unsupported_parameter", param="max_completion_tokens")
    with pytest.raises(ModelRejected):
        await ask(config_for(server))


async def test_azure_names_its_deployment_and_version_in_the_address(server: FakeChatServer) -> None:
    server.answer(chunk("Ok."), STOP, usage(), DONE)
    base = server.url.removesuffix("/v1")
    await ask(config_for(server, kind="azure", base_url=base, model="my-gpt", api_version="2024-10-21"))
    request = server.requests[0]
    assert request.path == "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21"
    assert request.headers["api-key"] == "sk-secret"
    assert "max_completion_tokens" in request.body


async def test_warming_up_sends_one_token_of_the_real_conversation(server: FakeChatServer) -> None:
    server.answer(chunk("H"), chunk(finish_reason="length", delta={}), usage(), DONE)
    model = OpenAICompatibleModel(config_for(server))
    await model.warm_up((Message("system", "Be brief."),))
    body = server.requests[0].body
    assert body["max_tokens"] == 1
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    await model.aclose()


def test_the_key_is_never_shown() -> None:
    assert "sk-secret" not in repr(OpenAICompatibleConfig("m", None, "sk-secret"))


def test_an_address_that_is_none_is_an_unavailable_model() -> None:
    with pytest.raises(ModelUnavailable):
        OpenAICompatibleModel(OpenAICompatibleConfig("m", "http://[broken"))


def test_the_sdk_is_not_imported_before_a_model_is_made() -> None:
    script = "import sys, agents.models.openai_compatible, agents.loop.agent; sys.exit('openai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
