"""Calls that are placed: once for each request, whatever fails or restarts; followed, ended, transferred, metered."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from carrier_api import CarrierApi, carrier_api
from phone_carrier import PUBLIC, TELEPHONY, TWILIO, signed, twilio_call
from spoken import said

from agents.models.port import ModelProfile, ToolRequest
from agents.models.scripted import ScriptedModel, ScriptedReply
from tests.scripted_server import Served, eventually, scripted_engines, served

TO = "+15550100555"
TOOLS = ModelProfile("scripted", "tools", tools=True)


def telephony(api: CarrierApi, **changes: Any) -> dict[str, Any]:
    return {**TELEPHONY, "twilio": {**TWILIO, "api_url": api.url}, "dial_prefixes": ["+1555"], **changes}


@asynccontextmanager
async def server(
    tmp_path: Path, api: CarrierApi, model: Any = None, **changes: Any
) -> AsyncGenerator[tuple[Served, httpx.AsyncClient]]:
    given = telephony(api, **changes)
    async with (
        served(tmp_path, scripted_engines(model), telephony=given, latency={"enforce": False}) as one,
        httpx.AsyncClient(base_url=one.url, trust_env=False, timeout=20) as http,
    ):
        yield one, http


async def status_of(http: httpx.AsyncClient, call_id: str) -> str:
    return str((await http.get(f"/v1/calls/{call_id}")).json()["status"])


async def told(http: httpx.AsyncClient, path: str, **form: str) -> httpx.Response:
    headers = {"Host": "voice.example.org", **signed(f"{PUBLIC}{path}", form)}
    return await http.post(path, data=form, headers=headers)


async def test_one_request_calls_once_however_often_it_comes(tmp_path: Path) -> None:
    async with carrier_api() as api:
        async with server(tmp_path, api) as (_, http):
            first = await http.post("/v1/calls", json={"to": TO, "request_id": "r1"})
            again = await http.post("/v1/calls", json={"to": TO}, headers={"X-Request-Id": "r1"})
            assert (first.status_code, again.status_code) == (201, 200)
            assert first.json()["call_id"] == again.json()["call_id"]
            assert first.json()["status"] == "ringing"
            assert first.headers["location"] == f"/v1/calls/{first.json()['call_id']}"
            assert TO not in first.text
            other = await http.post("/v1/calls", json={"to": "+15550100556", "request_id": "r1"})
            assert other.status_code == 400
        async with server(tmp_path, api) as (_, http):  # the same data directory: a restart
            after = await http.post("/v1/calls", json={"to": TO, "request_id": "r1"})
            assert after.json()["call_id"] == first.json()["call_id"]
        assert len(api.asked) == 1
        assert api.asked[0][1]["To"] == TO


async def test_twice_at_once_calls_once(tmp_path: Path) -> None:
    async with carrier_api() as api, server(tmp_path, api) as (_, http):
        api.hold = anyio.Event()
        answers: list[httpx.Response] = []

        async def ask() -> None:
            answers.append(await http.post("/v1/calls", json={"to": TO, "request_id": "r1"}))

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(ask)
            await eventually(lambda: len(answers) == 3)
            api.hold.set()
        assert len(api.asked) == 1
        assert len({answer.json()["call_id"] for answer in answers}) == 1


async def test_a_call_nobody_knows_of_is_never_placed_again(tmp_path: Path) -> None:
    async with carrier_api() as api:
        api.statuses = [500]
        async with server(tmp_path, api) as (_, http):
            first = await http.post("/v1/calls", json={"to": TO, "request_id": "r1"})
            again = await http.post("/v1/calls", json={"to": TO, "request_id": "r1"})
            assert first.json()["status"] == again.json()["status"] == "unknown"
        assert len(api.asked) == 1


async def test_a_call_that_was_under_way_when_the_server_died_is_never_placed_again(tmp_path: Path) -> None:
    async with carrier_api() as api:
        async with server(tmp_path, api) as (one, http):
            api.hold = anyio.Event()
            with anyio.move_on_after(20):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(lambda: http.post("/v1/calls", json={"to": TO, "request_id": "r1"}))
                    await eventually(lambda: len(api.asked) == 1)
                    book = one.application.phones._opened
                    call_id = book._connection.execute("SELECT call_id FROM calls").fetchone()[0]
                    assert book.find(call_id).status == "dialling"
                    shutil.copytree(tmp_path, tmp_path.parent / "died")  # as the disk was at that instant
                    api.hold.set()
        async with server(tmp_path.parent / "died", api) as (_, http):
            again = await http.post("/v1/calls", json={"to": TO, "request_id": "r1"})
            assert (again.json()["call_id"], again.json()["status"]) == (call_id, "unknown")
        assert len(api.asked) == 1


async def test_calls_that_ring_leave_no_room_for_more_until_it_is_known_what_became_of_them(tmp_path: Path) -> None:
    async with carrier_api() as api, server(tmp_path, api, max_calls=1) as (one, http):
        first = await http.post("/v1/calls", json={"to": TO, "request_id": "r1"})
        again = await http.post("/v1/calls", json={"to": TO, "request_id": "r1"})
        other = await http.post("/v1/calls", json={"to": TO, "request_id": "r2"})
        assert (first.status_code, again.status_code, other.status_code) == (201, 200, 503)
        await one.application.phones.became(first.json()["call_id"], "no_answer")
        assert (await http.post("/v1/calls", json={"to": TO, "request_id": "r2"})).status_code == 201
        api.statuses = [400]
        await one.application.phones.became(
            (await http.post("/v1/calls", json={"to": TO, "request_id": "r2"})).json()["call_id"], "busy"
        )
        assert (await http.post("/v1/calls", json={"to": TO, "request_id": "r3"})).json()["status"] == "failed"
        assert (await http.post("/v1/calls", json={"to": TO, "request_id": "r4"})).status_code == 201
    assert len(api.asked) == 4


async def test_a_refusal_says_why(tmp_path: Path) -> None:
    async with carrier_api() as api, server(tmp_path, api) as (_, http):
        api.statuses = [400]
        answer = await http.post("/v1/calls", json={"to": TO, "request_id": "r1"})
        assert (answer.json()["status"], answer.json()["reason"]) == ("failed", "Twilio refused the call (400).")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"to": "+447700900000", "request_id": "r"}, 403),
        ({"to": "555", "request_id": "r"}, 400),
        ({"to": TO}, 400),
        ({"to": TO, "request_id": "r", "carrier": "pigeon"}, 400),
    ],
)
async def test_what_may_not_be_called_is_not(tmp_path: Path, body: dict[str, Any], status: int) -> None:
    async with carrier_api() as api, server(tmp_path, api) as (_, http):
        assert (await http.post("/v1/calls", json=body)).status_code == status
        assert api.asked == []


async def test_calls_are_placed_at_a_bounded_pace(tmp_path: Path) -> None:
    async with carrier_api() as api, server(tmp_path, api, dials_per_minute=2) as (_, http):
        answers = [await http.post("/v1/calls", json={"to": TO, "request_id": f"r{n}"}) for n in range(3)]
        assert [answer.status_code for answer in answers] == [201, 201, 429]
        assert len(api.asked) == 2


async def test_a_call_is_followed_from_ringing_to_its_end(tmp_path: Path) -> None:
    async with carrier_api() as api, server(tmp_path, api) as (one, http):
        wish = {"to": TO, "request_id": "r1", "greeting": "Guten Tag.", "locale": "de-DE"}
        call_id = (await http.post("/v1/calls", json=wish)).json()["call_id"]
        answered = await told(
            http, f"/v1/phone/twilio/voice?call_id={call_id}", CallSid="CA1", From="+15550100999", To=TO
        )
        assert call_id in answered.text
        async with twilio_call(one.url, call_id=call_id) as call:
            await call.until_heard(500)
            assert await status_of(http, call_id) == "active"
            live = next(iter(one.application.host.registry._live.values()))
            assert live.session._options.locale == "de-DE"
            await call.stop()
            await call.until_closed()
        await eventually(lambda: not one.application.phones._running)
        body = (await http.get(f"/v1/calls/{call_id}")).json()
        assert (body["status"], body["reason"], body["direction"]) == ("ended", "caller", "outbound")
        assert body["call_ms"] > 0
        assert body["session_id"] == live.session_id
        await told(http, f"/v1/phone/twilio/status?call_id={call_id}", CallStatus="ringing")
        assert await status_of(http, call_id) == "ended"


@pytest.mark.parametrize(
    ("said_status", "status"),
    [("busy", "busy"), ("no-answer", "no_answer"), ("failed", "failed"), ("completed", "ended")],
)
async def test_a_call_nobody_takes_is_told(tmp_path: Path, said_status: str, status: str) -> None:
    async with carrier_api() as api, server(tmp_path, api) as (_, http):
        call_id = (await http.post("/v1/calls", json={"to": TO, "request_id": "r1"})).json()["call_id"]
        await told(http, f"/v1/phone/twilio/status?call_id={call_id}", CallStatus=said_status)
        assert await status_of(http, call_id) == status


async def test_an_answering_machine_is_not_talked_to(tmp_path: Path) -> None:
    async with carrier_api() as api, server(tmp_path, api) as (_, http):
        wish = {"to": TO, "request_id": "r1", "on_machine": "hang_up"}
        call_id = (await http.post("/v1/calls", json=wish)).json()["call_id"]
        assert api.asked[0][1]["MachineDetection"] == "Enable"
        answer = await told(
            http, f"/v1/phone/twilio/voice?call_id={call_id}", CallSid="CA1", AnsweredBy="machine_start"
        )
        assert "<Hangup/>" in answer.text
        assert "<Stream" not in answer.text
        assert await status_of(http, call_id) == "voicemail"


async def test_a_call_is_ended_while_it_rings_and_while_it_is_held(tmp_path: Path) -> None:
    async with carrier_api() as api, server(tmp_path, api) as (one, http):
        call_id = (await http.post("/v1/calls", json={"to": TO, "request_id": "r1"})).json()["call_id"]
        assert (await http.delete(f"/v1/calls/{call_id}")).status_code == 204
        assert api.asked[-1] == (
            f"/2010-04-01/Accounts/{TWILIO['account_sid']}/Calls/CA1.json",
            {"Status": "completed"},
        )
        assert await status_of(http, call_id) == "ended"
        call_id = (await http.post("/v1/calls", json={"to": TO, "request_id": "r2"})).json()["call_id"]
        async with twilio_call(one.url, call_id=call_id) as call:
            await call.until_heard(300)
            assert (await http.delete(f"/v1/calls/{call_id}")).status_code == 204
            await call.until_closed()
        assert (await http.delete("/v1/calls/call_none")).status_code == 404


async def test_another_tenant_sees_nothing(tmp_path: Path) -> None:
    key, other = "a-long-random-secret", "another-long-random-secret"
    async with carrier_api() as api:
        tenants = ({"id": "school", "api_keys": [other]},)
        settings = {"api_keys": (key,), "tenants": tenants, "telephony": telephony(api)}
        async with (
            served(tmp_path, **settings) as one,
            httpx.AsyncClient(base_url=one.url, trust_env=False, timeout=20) as http,
        ):
            mine, theirs = ({"Authorization": f"Bearer {each}"} for each in (key, other))
            body = {"to": TO, "request_id": "r1"}
            call_id = (await http.post("/v1/calls", json=body, headers=mine)).json()["call_id"]
            assert (await http.get(f"/v1/calls/{call_id}", headers=mine)).status_code == 200
            assert (await http.get(f"/v1/calls/{call_id}", headers=theirs)).status_code == 404
            assert (await http.get(f"/v1/calls/{call_id}")).status_code == 401


async def test_a_transfer_tells_whoever_answers_what_it_is_about(tmp_path: Path) -> None:
    asked = ToolRequest("c1", "transfer_call", '{"to": "sales", "summary": "They want <a lamp>."}')
    model = ScriptedModel(ScriptedReply("", tools=(asked,)), ScriptedReply("One moment."), profile=TOOLS)
    async with carrier_api() as api:
        given = {"transfer_targets": {"sales": "+15550100777"}}
        async with server(tmp_path, api, model, **given) as (one, http), twilio_call(one.url) as call:
            await call.until_heard(600)
            await eventually(lambda: not call.buffered)
            await call.say(said("goforward"))
            await call.until_closed()
            twiml = api.asked[-1][1]["Twiml"]
            assert "+15550100777" in twiml
            path = "/v1" + twiml.partition(f"{PUBLIC}/v1")[2].partition('"')[0].replace("&amp;", "&")
            whisper = await told(http, path, CallSid="CA9")
            assert "They want &lt;a lamp&gt;." in whisper.text
            assert "lamp" not in (await told(http, path, CallSid="CA9")).text  # said once
            assert len(api.asked) == 1  # the call was not hung up
