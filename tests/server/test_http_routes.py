"""The HTTP routes, through a real server on loopback."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from pathlib import Path

import anyio
import httpx
import pytest

from agents.errors import ModelRateLimited, ModelUnavailable
from agents.models.fallback import FallbackModel, GuardedModel
from agents.models.port import ContentFilter, FilteredCategory, ModelProfile
from agents.models.scripted import ScriptedModel, ScriptedReply
from metering.ledger import PageRequest, UsageQuery
from metering.sqlite_ledger import SqliteLedger
from metering.usage import UsageEvent
from server.contracts.chat import AgentList, ChatResponse
from server.contracts.errors import ErrorBody, ErrorCode
from server.contracts.health import ReadyResponse
from server.contracts.http_routes import HTTP_ROUTES
from server.contracts.voice import SERVER_MESSAGE
from server.routes.page import page_directory
from tests.scripted_server import EchoModel, Served, eventually, scripted_engines, served

KEY = "a-long-random-secret"
BODIES = {
    "login": {"api_key": KEY},
    "createKey": {"name": "app"},
    "createUser": {"name": "Ada"},
    "createTenant": {"name": "School", "type": "school"},
    "changeBudgets": {},
    "placeHold": {"reason": "a lawsuit"},
    "giveConsent": {"wording": "You will be recorded.", "wording_version": "1"},
    "overrideBudgets": {"minutes": 1, "reason": "a test"},
}
"""What routes take that do not take a question."""


def client(server: Served, **headers: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, headers=headers, trust_env=False, timeout=10)


def recorded(server: Served) -> tuple[UsageEvent, ...]:
    ledger = SqliteLedger(server.application.settings.ledger_path)
    try:
        return ledger.read(UsageQuery(), PageRequest()).events
    finally:
        ledger.close()


async def test_every_published_route_exists(tmp_path: Path) -> None:
    keyed = {"Authorization": f"Bearer {KEY}"}
    async with served(tmp_path, api_keys=[KEY]) as server, client(server, **keyed) as http:
        for route in HTTP_ROUTES:
            path = re.sub(r"\{\w+\}", "none_0", route.path.replace("{period}", "2026-09"))
            body = BODIES.get(route.operation_id, {"prompt": "hi"})
            answer = await http.request(route.method.upper(), path, json=body)
            if route.operation_id in {"createProviderKey", "rotateProviderKey", "placeCall"}:  # told what is amiss
                assert answer.json()["error"]["code"] == "request.invalid", route.path
            elif "{call_id}" in route.path:  # what is there no more is a matter for the route, not for the router
                assert answer.json()["error"]["code"] == "session.not_found", route.path
            elif route.path != path and "{period}" not in route.path:
                told = answer.json()["error"]["message"]
                assert told not in {"There is nothing at this address.", "This address does not take that method."}, (
                    told
                )
                assert answer.status_code in {HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST}, route.path
            elif route.request_types and "application/json" not in route.request_types:
                assert answer.status_code == httpx.codes.UNSUPPORTED_MEDIA_TYPE, route.path
            else:
                assert answer.status_code == route.success or answer.status_code in route.responses, route.path
                assert answer.headers.get("content-type", "").startswith(route.media_type)


async def test_every_answer_names_its_request_and_is_guarded_by_headers(tmp_path: Path) -> None:
    async with served(tmp_path) as server, client(server) as http:
        for path in ("/healthz", "/readyz", "/v1/agents", "/nothing/here"):
            answer = await http.get(path, headers={"X-Request-Id": "mine-1"})
            assert answer.headers["x-request-id"] == "mine-1"
            assert answer.json()["request_id"] == "mine-1"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["content-security-policy"].startswith("default-src 'none'")


async def test_a_request_id_that_is_none_is_replaced(tmp_path: Path) -> None:
    async with served(tmp_path) as server, client(server) as http:
        answer = await http.get("/healthz", headers={"X-Request-Id": "no spaces, please"})
    assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize("named", ["header", "body"])
async def test_every_answer_is_recorded_even_under_a_request_id_used_before(tmp_path: Path, named: str) -> None:
    headers = {"X-Request-Id": "ask-1"} if named == "header" else {}
    question = {"prompt": "hello"} if named == "header" else {"prompt": "hello", "request_id": "ask-1"}
    async with served(tmp_path) as server, client(server, **headers) as http:
        for _ in range(2):
            answer = await http.post("/v1/chat", json=question)
            body = ChatResponse.model_validate_json(answer.content)
            assert (body.text, body.request_id, body.usage.out_tokens) == ("You said: hello.", "ask-1", 4)
    events = recorded(server)
    assert len({event.request_id for event in events}) == 2
    for event in events:
        assert re.fullmatch(r"ask-1\.[0-9a-f]{8}", event.request_id)
        assert (event.output_tokens, event.success, event.estimated) == (4, True, False)


async def test_an_unnamed_request_is_recorded_under_the_id_its_answer_names(tmp_path: Path) -> None:
    async with served(tmp_path) as server, client(server) as http:
        answer = await http.post("/v1/chat", json={"prompt": "hello"})
    assert [event.request_id for event in recorded(server)] == [answer.json()["request_id"]]


async def test_the_stream_speaks_the_sockets_messages_and_ends_with_the_usage(tmp_path: Path) -> None:
    async with served(tmp_path) as server, client(server) as http:
        answer = await http.post("/v1/chat/stream", json={"prompt": "hello"})
    blocks = [dict(line.split(": ", 1) for line in block.splitlines()) for block in answer.text.strip().split("\n\n")]
    messages = [SERVER_MESSAGE.validate_json(block["data"]) for block in blocks]
    assert [block["event"] for block in blocks] == [message.type for message in messages]
    assert [block["id"] for block in blocks] == [str(message.event_id) for message in messages]
    assert blocks[0]["event"] == "turn.started"
    assert blocks[-1]["event"] == "chat.complete"
    assert "".join(json.loads(b["data"])["text"] for b in blocks if b["event"] == "chat.token") == "You said: hello."
    assert len(recorded(server)) == 1


async def test_what_was_said_before_comes_along(tmp_path: Path) -> None:
    history = [{"role": "user", "text": "I am Ada."}, {"role": "assistant", "text": "Hello Ada."}]
    async with served(tmp_path) as server, client(server) as http:
        answer = await http.post("/v1/chat", json={"prompt": "who am I?", "history": history})
    assert answer.json()["text"] == "You said: who am I?."


async def test_a_client_that_leaves_mid_answer_is_still_accounted_for(tmp_path: Path) -> None:
    gate = anyio.Event()
    async with served(tmp_path, scripted_engines(EchoModel(gate))) as server:
        async with client(server) as http, http.stream("POST", "/v1/chat/stream", json={"prompt": "x"}) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("event: chat.token"):
                    break
        await eventually(lambda: recorded(server))
    (event,) = recorded(server)
    assert (event.interrupted, event.estimated) == (True, True)
    assert event.input_tokens > 0
    assert event.output_tokens > 0


async def test_an_answer_that_fails_half_way_costs_an_estimate_of_what_was_made(tmp_path: Path) -> None:
    reply = ScriptedReply("One two three", failure=ModelUnavailable("The model broke off.", provider="scripted"))
    async with served(tmp_path, scripted_engines(ScriptedModel(reply))) as server, client(server) as http:
        await http.post("/v1/chat/stream", json={"prompt": "count"})
    (event,) = recorded(server)
    assert (event.error_code, event.estimated) == ("provider.unavailable", True)
    assert event.input_tokens > 0
    assert event.output_tokens > 0


async def test_answers_at_once_are_bounded(tmp_path: Path) -> None:
    gate = anyio.Event()
    limits = {"max_sessions": 1}
    async with served(tmp_path, scripted_engines(EchoModel(gate)), limits=limits) as server, client(server) as http:
        async with http.stream("POST", "/v1/chat/stream", json={"prompt": "x"}):
            refused = await http.post("/v1/chat", json={"prompt": "y"})
            gate.set()
        await eventually(lambda: recorded(server))
        assert (await http.post("/v1/chat", json={"prompt": "y"})).status_code == 200
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "server.overloaded"
    assert "retry-after" in refused.headers


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, ErrorCode.REQUEST_INVALID),
        (b"[]", 400, ErrorCode.REQUEST_INVALID),
        (b'{"prompt": ""}', 400, ErrorCode.REQUEST_INVALID),
        (b'{"prompt": 7}', 400, ErrorCode.REQUEST_INVALID),
        (b'{"prompt": "hi", "agent_id": "nobody"}', 400, ErrorCode.REQUEST_INVALID),
        (b'{"prompt": "' + b"x" * 70_000 + b'"}', 413, ErrorCode.REQUEST_TOO_LARGE),
        (b"\xff\xfe\x00", 400, ErrorCode.REQUEST_INVALID),
    ],
)
async def test_a_faulty_question_gets_the_contracts_error(
    tmp_path: Path, body: bytes, status: int, code: ErrorCode
) -> None:
    async with served(tmp_path) as server, client(server) as http:
        answer = await http.post("/v1/chat", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    error = ErrorBody.model_validate_json(answer.content)
    assert error.error.code is code
    assert error.request_id == answer.headers["x-request-id"]


async def test_forms_of_other_sites_cannot_ask(tmp_path: Path) -> None:
    async with served(tmp_path) as server, client(server) as http:
        plain = await http.post("/v1/chat", content=b'{"prompt": "hi"}', headers={"Content-Type": "text/plain"})
        foreign = await http.post("/v1/chat", json={"prompt": "hi"}, headers={"Origin": "https://evil.example"})
    assert (plain.status_code, foreign.status_code) == (415, 403)


async def test_unknown_paths_and_wrong_methods_are_told_as_such(tmp_path: Path) -> None:
    async with served(tmp_path) as server, client(server) as http:
        missing, wrong = await http.get("/v1/nothing"), await http.get("/v1/chat")
    assert (missing.status_code, wrong.status_code) == (404, 405)
    assert wrong.json()["error"]["code"] == "request.invalid"


async def test_a_providers_refusal_reaches_the_client_with_the_time_to_wait(tmp_path: Path) -> None:
    model = EchoModel(error=ModelRateLimited("Too many requests.", provider="scripted", retry_after_s=7))
    async with served(tmp_path, scripted_engines(model)) as server, client(server) as http:
        answer = await http.post("/v1/chat", json={"prompt": "hi"})
    assert answer.status_code == 503
    assert answer.json()["error"] == {
        "code": "provider.rate_limited",
        "message": "Too many requests.",
        "retryable": True,
        "details": {"retry_after_s": 7},
    }
    assert answer.headers["retry-after"] == "7"
    (event,) = recorded(server)
    assert (event.error_code, event.input_tokens, event.estimated) == ("provider.rate_limited", 0, False)


async def test_what_a_content_filter_refuses_is_answered_with_the_refusal(tmp_path: Path) -> None:
    verdict = ContentFilter("prompt", (FilteredCategory("violence", "high"),))
    model = ScriptedModel(ScriptedReply("A knife", verdict=verdict), repeat=True)
    async with served(tmp_path, scripted_engines(model)) as server, client(server) as http:
        whole = ChatResponse.model_validate((await http.post("/v1/chat", json={"prompt": "hi"})).json())
        stream = await http.post("/v1/chat/stream", json={"prompt": "hi"})
        metrics = (await http.get("/metrics")).text
    assert (whole.text, whole.filtered) == ("I'm sorry, I can't help with that.", True)
    messages = [json.loads(line[6:]) for line in stream.text.splitlines() if line.startswith("data: ")]
    told = next(message for message in messages if message["type"] == "content.filtered")
    assert told["categories"] == [{"name": "violence", "severity": "high"}]
    assert messages[-1]["text"] == whole.text
    assert 'convergio_content_filtered_total{stage="prompt"} 2.0' in metrics
    assert all(event.success for event in recorded(server))


async def test_a_model_that_steps_in_is_told_and_named_in_the_usage(tmp_path: Path) -> None:
    gone = ScriptedReply(failure=ModelUnavailable("Gone.", provider="big"))
    big = ScriptedModel(gone, repeat=True, profile=ModelProfile("big", "large"))
    small = ScriptedModel("Here I am.", repeat=True, profile=ModelProfile("small", "tiny"))
    model = FallbackModel([GuardedModel(big), GuardedModel(small)])
    async with served(tmp_path, scripted_engines(model)) as server, client(server) as http:
        stream = await http.post("/v1/chat/stream", json={"prompt": "hi"})
    messages = [json.loads(line[6:]) for line in stream.text.splitlines() if line.startswith("data: ")]
    told = next(message for message in messages if message["type"] == "degraded")
    assert (told["from"], told["to"]) == ("llm big large", "small tiny")
    assert messages[-1]["text"] == "Here I am."
    (event,) = recorded(server)
    assert event.providers["agent"].model == "tiny"


async def test_a_model_that_broke_off_before_its_first_word_is_in_the_usage_beside_the_one_that_answered(
    tmp_path: Path,
) -> None:
    broke_off = ScriptedReply(failure=ModelUnavailable("It broke off.", provider="big", has_cost=True))
    big = ScriptedModel(broke_off, repeat=True, profile=ModelProfile("big", "large"))
    small = ScriptedModel("Here I am.", repeat=True, profile=ModelProfile("small", "tiny"))
    model = FallbackModel([GuardedModel(big), GuardedModel(small)])
    async with served(tmp_path, scripted_engines(model)) as server, client(server) as http:
        await http.post("/v1/chat", json={"prompt": "hi"})
    (event,) = recorded(server)
    by_model = {share.model: (share.input_tokens, share.output_tokens) for share in event.shares}
    prompt = by_model["large"][0]
    assert prompt > 0
    assert by_model == {"large": (prompt, 0), "tiny": (prompt, 3)}
    assert (event.input_tokens, event.output_tokens, event.estimated) == (2 * prompt, 3, True)


async def test_readiness_follows_loading_and_draining(tmp_path: Path) -> None:
    engines = scripted_engines(loaded=False)
    async with served(tmp_path, engines) as server, client(server) as http:
        starting = await http.get("/readyz")
        engines.loaded.set()
        await server.application.wait_ready()
        ready = await http.get("/readyz")
        await server.application.drain()
        draining = await http.get("/readyz")
        refused = await http.post("/v1/chat", json={"prompt": "hi"})
    assert [answer.status_code for answer in (starting, ready, draining)] == [503, 200, 503]
    assert ReadyResponse.model_validate_json(ready.content).status == "ready"
    assert refused.json()["error"]["code"] == "server.draining"
    assert "retry-after" in refused.headers


async def test_with_keys_strangers_see_health_and_nothing_else(tmp_path: Path) -> None:
    async with served(tmp_path, api_keys=(KEY,)) as server, client(server) as http:
        assert (await http.get("/healthz")).status_code == 200
        for path in ("/v1/agents", "/metrics"):
            assert (await http.get(path)).status_code == 401
            assert (await http.get(path, headers={"Authorization": f"Bearer {KEY}"})).status_code == 200
        agents = await http.get("/v1/agents", headers={"Authorization": f"Bearer {KEY}"})
    assert AgentList.model_validate_json(agents.content).agents[0].default is True


async def test_metrics_count_requests_and_turns(tmp_path: Path) -> None:
    async with served(tmp_path) as server, client(server) as http:
        await http.post("/v1/chat", json={"prompt": "hi"})
        text = (await http.get("/metrics")).text
    assert 'convergio_turns_total{outcome="completed"} 1.0' in text
    assert 'convergio_http_request_seconds_count{route="/v1/chat",status="200"} 1.0' in text


@pytest.mark.skipif(page_directory() is None, reason="the page is not there")
async def test_the_page_may_only_load_from_and_speak_to_this_server(tmp_path: Path) -> None:
    async with served(tmp_path) as server, client(server) as http:
        page = await http.get("/")
    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "microphone=(self)" in page.headers["permissions-policy"]


async def test_an_allowed_origin_may_read_answers(tmp_path: Path) -> None:
    origin = "https://app.example"
    async with served(tmp_path, allowed_origins=(origin,)) as server, client(server, Origin=origin) as http:
        preflight = await http.options("/v1/chat", headers={"Access-Control-Request-Method": "POST"})
        answer = await http.post("/v1/chat", json={"prompt": "hi"})
    assert preflight.headers["access-control-allow-origin"] == origin
    assert answer.headers["access-control-allow-origin"] == origin
