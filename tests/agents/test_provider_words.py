"""What providers say beside the answer: limits in headers, and the content filter's annotations; hostile ones, too."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fake_chat_server import DONE, FakeChatServer, chunk, event, running_server
from hypothesis import given
from hypothesis import strategies as st
from test_openai_compatible import HELLO, ask, config_for, text_of

from agents.models.content_filter import MAX_CATEGORIES, categories_of, prompt_categories
from agents.models.port import ContentFilter, FilteredCategory, Finished
from agents.models.rate_limits import MAX_RETRY_AFTER_S, refused_for_s, spent_for_s

VIOLENT = {"violence": {"filtered": True, "severity": "high"}, "hate": {"filtered": False, "severity": "low"}}
FOUND = (FilteredCategory("violence", "high"),)


def headers(**fields: str) -> httpx.Headers:
    return httpx.Headers({f"x-ratelimit-{name.replace('_', '-')}": value for name, value in fields.items()})


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"remaining_requests": "0", "reset_requests": "12"}, 12.0),
        ({"remaining_requests": "0", "reset_requests": "6m0s"}, 360.0),
        ({"remaining_requests": "0", "reset_requests": "20ms"}, 0.02),
        ({"remaining_requests": "0", "reset_requests": "1h2m3.5s"}, 3_600.0),
        ({"remaining_tokens": "0", "reset_tokens": "1s", "remaining_requests": "0", "reset_requests": "8s"}, 8.0),
        ({"remaining_tokens": "0", "reset_tokens": "7", "remaining_requests": "5", "reset_requests": "60"}, 7.0),
        ({"remaining_requests": "1", "reset_requests": "12"}, None),
        ({"remaining_requests": "-1", "reset_requests": "12"}, None),
        ({"remaining_requests": "0"}, None),
        ({"remaining_requests": "0", "reset_requests": "soon"}, None),
        ({"remaining_requests": "many", "reset_requests": "9"}, None),
        ({}, None),
    ],
)
def test_nothing_left_is_told_with_its_reset(fields: dict[str, str], seconds: float | None) -> None:
    assert spent_for_s(headers(**fields)) == pytest.approx(seconds)


def test_a_refusal_waits_for_what_it_says_and_else_for_the_reset() -> None:
    reset = headers(remaining_tokens="0", reset_tokens="30")
    assert refused_for_s(reset) == 30
    assert refused_for_s(httpx.Headers({**reset, "retry-after": "2"})) == 2
    assert refused_for_s(httpx.Headers({"retry-after": "99999"})) == MAX_RETRY_AFTER_S
    assert refused_for_s(httpx.Headers({"retry-after": "-5"})) == 0


@given(st.text(st.characters(codec="ascii"), max_size=30), st.sampled_from(["retry-after", "x-ratelimit-reset-tokens"]))
def test_whatever_a_header_says_it_is_a_bounded_time_or_none(value: str, name: str) -> None:
    told = {"x-ratelimit-remaining-tokens": "0", name: value}
    seconds = refused_for_s(told)
    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER_S


@pytest.mark.parametrize(
    "results", [None, "no", 3, [], {"violence": None}, {"violence": "yes"}, {3: {"filtered": True}}]
)
def test_what_is_no_result_objects_to_nothing(results: Any) -> None:
    assert categories_of(results) == ()
    assert prompt_categories(results) == ()


def test_only_the_services_own_words_are_told() -> None:
    told = {
        "violence": {"filtered": True, "severity": "the user said something"},
        "The user said: kill": {"filtered": True},
        "custom_blocklists": {"filtered": True, "details": [{"id": "a", "text": "word"}]},
        "error": {"code": "content_filter_error", "message": "The contents are not filtered"},
        "jailbreak": {"filtered": False, "detected": True},
    }
    assert categories_of(told) == (FilteredCategory("violence"), FilteredCategory("custom_blocklists"))
    assert len(categories_of({f"c{number}": {"filtered": True} for number in range(100)})) == MAX_CATEGORIES


def prompt_results(results: Any) -> bytes:
    return event({"id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": results})


async def verdict_of(*steps: bytes) -> tuple[str, Finished]:
    async with running_server() as server:
        server.answer(*steps)
        events = await ask(config_for(server))
    assert isinstance(events[-1], Finished)
    return text_of(events), events[-1]


async def test_words_after_an_annotation_that_refuses_are_not_heard() -> None:
    steps = (chunk("Fine. "), chunk("", content_filter_results=VIOLENT), chunk("A knife"), DONE)
    text, end = await verdict_of(*steps)
    assert text == "Fine. "
    assert (end.reason, end.verdict) == ("filtered", ContentFilter("completion", FOUND))


async def test_words_that_come_with_the_refusal_are_not_heard() -> None:
    text, end = await verdict_of(chunk("A knife", finish_reason="content_filter", content_filter_results=VIOLENT), DONE)
    assert (text, end.verdict) == ("", ContentFilter("completion", FOUND))


async def test_a_prompt_that_is_annotated_and_refused_in_the_stream_is_the_prompts_refusal() -> None:
    annotated = prompt_results([{"prompt_index": 0, "content_filter_results": VIOLENT}])
    _, end = await verdict_of(annotated, chunk(finish_reason="content_filter", delta={}), DONE)
    assert end.verdict == ContentFilter("prompt", FOUND)


@pytest.mark.parametrize("results", ["no", [None], [{"content_filter_results": 3}], {"a": 1}])
async def test_annotations_that_make_no_sense_disturb_no_answer(results: Any) -> None:
    steps = (prompt_results(results), chunk("Yes.", content_filter_results=results), chunk(finish_reason="stop"), DONE)
    text, end = await verdict_of(*steps)
    assert (text, end.reason, end.verdict) == ("Yes.", "stop", None)


async def test_a_tool_request_that_is_refused_is_not_run() -> None:
    function = {"name": "buy", "arguments": "{}"}
    call = {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": function}]}
    async with running_server() as server:
        server.answer(chunk(delta=call), chunk(finish_reason="content_filter", delta={}), DONE)
        events = await ask(config_for(server))
    assert [type(item).__name__ for item in events] == ["Preparing", "Finished"]


@pytest.mark.parametrize(
    "error",
    [
        {"code": "content_filter", "message": "no", "innererror": {"content_filter_result": VIOLENT}},
        {"code": "content_filter", "message": "no", "content_filter_results": VIOLENT},
        {"code": None, "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": VIOLENT}},
    ],
)
@pytest.mark.parametrize("running", [False, True])
async def test_a_refusal_is_known_in_all_its_forms(error: dict[str, Any], *, running: bool) -> None:
    server: FakeChatServer
    async with running_server() as server:
        if running:
            server.answer(chunk("One "), event({"error": {"message": "no", **error}}))
        else:
            body = httpx.Response(200, json={"error": error}).content
            server.answer(body, status=400, headers={"content-type": "application/json"})
        events = await ask(config_for(server), HELLO)
    assert isinstance(events[-1], Finished)
    assert events[-1].verdict == ContentFilter("completion" if running else "prompt", FOUND)
