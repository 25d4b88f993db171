"""Budgets in conversations, on a real server: refusals that are told, warnings, consent, bursts, lanes, ledger."""

from __future__ import annotations

from pathlib import Path

import anyio
import httpx
import pytest
from money_talk import Chat, ask, budgeted, limits, used
from websockets.asyncio.client import connect

from metering.ledger import PageRequest, UsageQuery
from tests.scripted_server import eventually, served


async def test_turns_count_and_at_the_end_of_a_quota_the_caller_is_told_why(tmp_path: Path) -> None:
    daily = limits(("tenant", "daily", "turns", "3"))
    async with budgeted(tmp_path, limits=daily, consent="auto") as (_, http):
        answers = [await ask(http) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        error = answers[3].json()["error"]
        assert error["code"] == "quota.exceeded"
        assert error["details"] == {"scope": "tenant", "period": "daily", "measure": "turns"}
        (item,) = await used(http)
        assert (item["used"], item["reserved"], item["limit"], item["state"]) == ("3", "0", "3", "thrifty")


async def test_a_quota_of_tokens_counts_what_models_took(tmp_path: Path) -> None:
    async with budgeted(tmp_path, limits=limits(("user", "monthly", "tokens", "100000"))) as (_, http):
        assert (await ask(http)).status_code == httpx.codes.OK
        (item,) = await used(http)
        assert item["used"] == "14"


async def test_a_conversation_in_writing_is_told_and_stays_open_and_an_override_lets_it_go_on(tmp_path: Path) -> None:
    daily = limits(("tenant", "daily", "turns", "1"))
    async with budgeted(tmp_path, limits=daily, consent="auto") as (server, http):  # noqa: SIM117
        async with connect(server.chat_url) as socket:
            chat = Chat(socket)
            await chat.say("one")
            await chat.until("chat.complete")
            await chat.say("two")
            refused = await chat.until("chat.complete")
            assert refused["error_code"] == "quota.exceeded"
            assert [error["code"] for error in chat.of("error")] == ["quota.exceeded"]
            assert chat.of("caption")[0]["text"].startswith("The quota is used up")
            wanted = {"minutes": 5, "percent": 300, "reason": "exams"}
            stands = await http.post("/v1/budgets/overrides", json=wanted)
            assert stands.status_code == httpx.codes.CREATED
            await chat.say("three")
            assert "error_code" not in await chat.until("chat.complete")
            override_id = stands.json()["override"]["override_id"]
            assert (await http.delete(f"/v1/budgets/overrides/{override_id}")).status_code == httpx.codes.NO_CONTENT
            await chat.say("four")
            assert (await chat.until("chat.complete"))["error_code"] == "quota.exceeded"


async def test_at_80_percent_the_agent_asks_once_and_yes_lets_it_go_on(tmp_path: Path) -> None:
    daily = limits(("tenant", "daily", "turns", "10"))
    async with budgeted(tmp_path, limits=daily) as (server, http):
        for _ in range(8):
            assert (await ask(http)).status_code == httpx.codes.OK
        refused = await ask(http)
        assert refused.json()["error"]["details"] == {"consent": "needed"}
        async with connect(server.chat_url) as socket:
            chat = Chat(socket)
            await chat.say("What is the time?")
            asked = await chat.until("chat.complete")
            assert asked["text"] == "80 percent of the budget is used. Shall I go on? Please say yes or no."
            (warning,) = chat.of("budget.warning")
            assert (warning["scope"], warning["period"], warning["used_percent"], warning["consent"]) == (
                "tenant",
                "daily",
                80,
                "needed",
            )
            await chat.say("Yes, please.")
            assert (await chat.until("chat.complete"))["text"] == "You said: Yes, please.."
            assert [each["consent"] for each in chat.of("budget.warning")] == ["needed", "given"]


@pytest.mark.parametrize(("kind", "consent"), [("school", "policy"), ("business", "needed")])
async def test_a_pupil_is_never_asked_aloud_about_cost(tmp_path: Path, kind: str, consent: str) -> None:
    key = {"Authorization": "Bearer a-key-of-the-school-1"}
    daily = limits(("tenant", "daily", "turns", "10"))
    tenants = [{"id": "school", "type": kind, "api_keys": ["a-key-of-the-school-1"]}]
    async with (
        served(tmp_path, tenants=tenants, budgets={"limits": daily}) as server,
        httpx.AsyncClient(base_url=server.url, headers=key, trust_env=False, timeout=20) as http,
    ):
        for _ in range(8):
            assert (await ask(http)).status_code == httpx.codes.OK
        async with connect(server.voice_url, additional_headers=key) as socket:
            talk = Chat(socket)
            await talk.send(type="voice.start")
            await talk.until("session.started")
            await talk.say("What is the time?")
            asked = (await talk.until("chat.complete"))["text"].endswith("Please say yes or no.")
            assert [each["consent"] for each in talk.of("budget.warning")] == [consent]
            assert asked is (consent == "needed")


async def test_consent_comes_by_a_message_by_a_field_or_by_policy(tmp_path: Path) -> None:
    daily = limits(("tenant", "daily", "turns", "10"))
    async with budgeted(tmp_path, limits=daily) as (server, http):
        for _ in range(8):
            await ask(http)
        async with connect(server.chat_url) as socket:
            chat = Chat(socket)
            await chat.say("first")
            await chat.until("chat.complete")
            await chat.send(type="budget.consent", consent=True)
            await chat.say("second")
            assert (await chat.until("chat.complete"))["text"] == "You said: second."
        assert (await ask(http, budget_consent=True)).status_code == httpx.codes.OK


async def test_a_policy_may_consent_for_everybody(tmp_path: Path) -> None:
    daily = limits(("tenant", "daily", "turns", "10"))
    async with budgeted(tmp_path, limits=daily) as (server, http):
        changed = await http.put("/v1/budgets", json={"consent": "auto"})
        assert changed.json()["consent"] == "auto"
        for _ in range(8):
            await ask(http)
        async with connect(server.chat_url) as socket:
            chat = Chat(socket)
            await chat.say("first")
            assert (await chat.until("chat.complete"))["text"] == "You said: first."
            assert [each["consent"] for each in chat.of("budget.warning")] == ["policy"]


async def test_no_is_no_and_yes_later_goes_on(tmp_path: Path) -> None:
    daily = limits(("tenant", "daily", "turns", "10"))
    async with budgeted(tmp_path, limits=daily) as (server, http):
        for _ in range(8):
            await ask(http)
        async with connect(server.chat_url) as socket:
            chat = Chat(socket)
            texts: list[str] = []
            for prompt in ("What is the time?", "No.", "Yes!"):
                await chat.say(prompt)
                texts.append((await chat.until("chat.complete"))["text"])
        assert texts[1].startswith("All right, I'll stop here.")
        assert texts[2] == "You said: Yes!."


async def test_too_many_turns_in_a_minute_are_told_when_to_come_back(tmp_path: Path) -> None:
    async with budgeted(tmp_path, bursts={"turns_per_minute": 2}) as (_, http):
        answers = [await ask(http) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[2].json()["error"]["code"] == "rate.limited"
        assert 0 < int(answers[2].headers["retry-after"]) <= 60


async def test_so_many_conversations_at_once_and_no_more(tmp_path: Path) -> None:
    async with budgeted(tmp_path, bursts={"sessions_per_user": 1}) as (server, _):  # noqa: SIM117
        async with connect(server.chat_url) as first, connect(server.chat_url) as second:
            one, two = Chat(first), Chat(second)
            await one.say("hi")
            await one.until("chat.complete")
            await two.say("hi")
            assert (await two.until("error"))["code"] == "rate.limited"


async def test_limits_are_changed_by_those_who_may_and_every_change_is_audited(tmp_path: Path) -> None:
    async with budgeted(tmp_path) as (server, http):
        wanted = {"scope": "tenant", "period": "monthly", "measure": "money", "amount": "20.50"}
        changed = await http.put("/v1/budgets", json={"limits": [wanted], "time_zone": "Europe/Rome"})
        assert changed.status_code == httpx.codes.OK
        (item,) = changed.json()["budgets"]
        assert (item["limit"], item["currency"], item["used"]) == ("20.5", "EUR", "0")
        assert changed.json()["time_zone"] == "Europe/Rome"
        gone = await http.put("/v1/budgets", json={"limits": [wanted | {"amount": None}]})
        assert gone.json()["budgets"] == []
        for bad in ({"limits": [wanted | {"measure": "turns", "amount": "0.5"}]}, {"time_zone": "Mars/Olympus"}):
            assert (await http.put("/v1/budgets", json=bad)).json()["error"]["code"] == "request.invalid"
        rows = await server.application.host.offices.audit.read(tenant_id="local")
        assert [row.action for row in rows] == [
            "budget.limits_changed",
            "budget.policy_changed",
            "budget.limits_changed",
        ]


async def test_nothing_is_set_for_a_tenant_that_nobody_knows(tmp_path: Path) -> None:
    async with budgeted(tmp_path) as (server, http):
        wanted = {"scope": "tenant", "period": "monthly", "measure": "money", "amount": "20.50"}
        override = {"percent": 150, "minutes": 5, "reason": "a lesson"}
        for answer in (
            await http.put("/v1/budgets", params={"tenant": "shcool"}, json={"limits": [wanted]}),
            await http.post("/v1/budgets/overrides", params={"tenant": "shcool"}, json=override),
        ):
            assert answer.status_code == httpx.codes.BAD_REQUEST, answer.text
            assert answer.json()["error"]["message"] == "There is no such tenant."
        assert await server.application.host.offices.audit.read(tenant_id="shcool") == []


async def test_members_do_not_change_budgets_and_nobody_sees_another_tenants(tmp_path: Path) -> None:
    tenants = [
        {"id": "school", "api_keys": ["a-key-of-the-school-1"]},
        {"id": "clinic", "api_keys": ["a-key-of-the-clinic-1"]},
    ]
    async with served(tmp_path, tenants=tenants, api_keys=["the-operators-key-1"]) as server:  # noqa: SIM117
        async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=20) as http:

            async def get(key: str, path: str) -> httpx.Response:
                return await http.get(path, headers={"Authorization": f"Bearer {key}"})

            everybody = {"scope": "global", "period": "daily", "measure": "turns", "amount": "5"}
            school = {"Authorization": "Bearer a-key-of-the-school-1"}
            refused = await http.put("/v1/budgets", json={"limits": [everybody]}, headers=school)
            assert refused.json()["error"]["code"] == "auth.forbidden"
            operator = {"Authorization": "Bearer the-operators-key-1"}
            assert (await http.put("/v1/budgets", json={"limits": [everybody]}, headers=operator)).status_code == 200
            for key, expected in (("a-key-of-the-school-1", []), ("the-operators-key-1", [("global", "5")])):
                seen = (await get(key, "/v1/budgets")).json()
                assert [(item["scope"], item["limit"]) for item in seen["budgets"]] == expected, key
            other = await get("a-key-of-the-school-1", "/v1/budgets?tenant=clinic")
            assert other.json()["error"]["code"] == "auth.forbidden"
            assert (await get("the-operators-key-1", "/v1/budgets?tenant=clinic&user=x")).json()[
                "tenant_id"
            ] == "clinic"


async def test_what_a_killed_server_left_in_the_ledger_is_counted_by_the_next_one(tmp_path: Path) -> None:
    daily = limits(("tenant", "daily", "turns", "10"))
    async with served(tmp_path) as server, httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        for _ in range(3):
            await ask(http)
        await eventually(lambda: len(server.application.host.ledger.read(UsageQuery(), PageRequest()).events) == 3)
    for name in tmp_path.glob("records.sqlite3*"):  # noqa: ASYNC240
        name.unlink()  # nothing of what was counted is left but the ledger
    async with budgeted(tmp_path, limits=daily) as (server, http):
        with anyio.fail_after(20):
            while [item["used"] for item in await used(http)] != ["3"]:  # noqa: ASYNC110 - another task counts
                await anyio.sleep(0.05)
            budgets, ledger = server.application.host.offices.budgets, server.application.host.ledger
            while await budgets.store.mark("ledger") is None:  # noqa: ASYNC110
                await anyio.sleep(0.05)
        assert await budgets.catch_up(ledger) == 0, "what was looked at is not read again"
        await budgets.store.set_mark("ledger", 0)  # as a server leaves it that is killed before it has noted its place
        assert await budgets.catch_up(ledger) == 3
        assert [item["used"] for item in await used(http)] == ["3"], "nothing is counted twice"


@pytest.mark.parametrize(("lane", "status"), [("open", 200), ("closed", 429)])
async def test_while_the_accounts_are_away_turns_are_open_or_closed_as_the_operator_has_it(
    tmp_path: Path, lane: str, status: int
) -> None:
    daily = limits(("tenant", "daily", "turns", "10"))
    away = {"redis_url": "redis://127.0.0.1:9/0", "byok_when_away": lane}
    async with budgeted(tmp_path, limits=daily, **away) as (_, http):
        answer = await ask(http)
        assert answer.status_code == status
        if lane == "closed":
            assert answer.json()["error"]["details"] == {"reason": "unavailable"}
            assert answer.json()["error"]["message"].startswith("I cannot check the budget just now")


async def test_a_voice_session_counts_its_speech_and_is_told_aloud_and_in_writing_at_the_end(tmp_path: Path) -> None:
    daily = limits(("tenant", "daily", "turns", "1"))
    async with (
        budgeted(tmp_path, limits=daily, consent="auto") as (server, http),
        connect(server.voice_url) as socket,
    ):
        chat = Chat(socket)
        await chat.send(type="voice.start", output={"captions": True})
        await chat.until("session.started")
        for _ in range(2):
            await chat.say("hello")
            await chat.until("chat.complete")
        assert chat.of("chat.complete")[1]["error_code"] == "quota.exceeded"
        told = [each["text"] for each in chat.of("caption") if each["speaker"] == "agent"]
        assert any(text.startswith("The quota is used up") for text in told)
        second = chat.of("chat.complete")[1]["request_id"]
        assert any(each["request_id"] == second for each in chat.of("voice.audio")), "it is spoken, too"
        assert [item["used"] for item in await used(http)] == ["1"], "what was refused is not counted"
