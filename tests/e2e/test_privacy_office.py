"""What is kept of people, through a real server on loopback: conversations, retention, holds."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from privacy_talk import (
    ADMIN,
    CANARY,
    DAY_MS,
    SCHOOL,
    age,
    ask,
    audit,
    done,
    files_with,
    http_of,
    speak,
    stored,
    user_of,
    with_keys,
)
from realtime_client import realtime
from voice_socket import begun

from metering.ledger import UsageQuery, read_all
from tests.scripted_server import served


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings for either database."""
    if request.param == "sqlite":
        return {}
    return {"ledger": {"url": request.getfixturevalue("postgres").database()}}


# --- conversations ---


async def test_a_question_and_its_answer_are_stored_and_read(tmp_path: Path, database: dict[str, Any]) -> None:
    async with served(tmp_path, **database) as server, http_of(server) as http:
        await ask(http, CANARY)
        [conversation] = await stored(http)
        told = (await http.get(f"/v1/sessions/{conversation['session_id']}")).json()
        assert [(entry["speaker"], entry["text"]) for entry in told["entries"]] == [
            ("user", CANARY),
            ("agent", f"You said: {CANARY}."),
        ]
        assert told["conversation"]["kept_until_ms"] - conversation["last_at_ms"] == 180 * DAY_MS
        captions = await http.get(f"/v1/sessions/{conversation['session_id']}/captions.vtt")
        assert captions.headers["content-type"].startswith("text/vtt")
        assert captions.text.startswith("WEBVTT\n\n")
        assert f"<v user>{CANARY}" in captions.text
        assert (await http.delete(f"/v1/sessions/{conversation['session_id']}")).status_code == httpx.codes.NO_CONTENT
        assert (await http.get(f"/v1/sessions/{conversation['session_id']}")).status_code == httpx.codes.NOT_FOUND


async def test_a_conversation_by_voice_can_be_read_while_it_goes_on_and_deleted(tmp_path: Path) -> None:
    async with served(tmp_path) as server, http_of(server) as http:
        async with begun(server, binary=True) as voice:
            session_id = voice.session_id
            await speak(voice)
            captions = (await http.get(f"/v1/sessions/{session_id}/captions.vtt")).text
            assert "<v user>Go forward ten meters." in captions
            assert "<v agent>You said: Go forward ten meters." in captions
            assert (await http.delete(f"/v1/sessions/{session_id}")).status_code == httpx.codes.NO_CONTENT
        assert (await http.get("/v1/sessions")).json()["conversations"] == []
        await server.application.host.offices.privacy.scribe.flush(5)
        assert (await http.get("/v1/sessions")).json()["conversations"] == [], "what came after it is not written"


async def test_what_a_client_directs_is_stored_as_it_directs_it(tmp_path: Path) -> None:
    """Typed items, one taken out again, and a reply of which the client played less than was made."""
    async with served(tmp_path) as server, http_of(server) as http:
        async with realtime(server.url) as client:
            for item_id in ("item_kept", "item_gone"):
                content = [{"type": "input_text", "text": f"{CANARY} {item_id}"}]
                item = {"id": item_id, "type": "message", "role": "user", "content": content}
                await client.say("conversation.item.create", item=item)
            await client.say("conversation.item.delete", item_id="item_gone")
            await client.say("response.create")
            done = await client.until("response.done")
            [reply] = done["response"]["output"]
            cut = {"item_id": reply["id"], "content_index": 0, "audio_end_ms": 400}
            await client.say("conversation.item.truncate", **cut)
            await client.until("conversation.item.truncated")
        [conversation] = await stored(http)
        said = (await http.get(f"/v1/sessions/{conversation['session_id']}")).json()["entries"]
        assert [(entry["item_id"], entry["speaker"]) for entry in said] == [
            ("item_kept", "user"),
            (reply["id"], "agent"),
        ]
        assert said[1]["interrupted"] is True
        assert said[1]["text"]
        assert f"You said: {CANARY} item_kept.".startswith(said[1]["text"].rstrip("… "))
        assert len(said[1]["text"]) < len(f"You said: {CANARY}")


async def test_what_is_somebody_elses_is_not_there(tmp_path: Path) -> None:
    async with (
        with_keys(tmp_path) as server,
        http_of(server, SCHOOL) as school,
        http_of(server, ADMIN) as admin,
    ):
        await ask(admin, CANARY)
        [theirs] = await stored(admin)
        for path in ("", "/captions.vtt"):
            answer = await school.get(f"/v1/sessions/{theirs['session_id']}{path}")
            assert answer.status_code == httpx.codes.NOT_FOUND
            assert CANARY not in answer.text
        assert (await school.delete(f"/v1/sessions/{theirs['session_id']}")).status_code == httpx.codes.NOT_FOUND
        assert (await school.get("/v1/sessions")).json()["conversations"] == []
        assert (await school.get("/v1/sessions", params={"tenant": "default"})).status_code == httpx.codes.FORBIDDEN
        for path in ("/v1/privacy/policy", "/v1/privacy/holds", "/v1/privacy/consents"):
            answer = await school.get(path, params={"tenant": "default"})
            assert answer.status_code == httpx.codes.FORBIDDEN, path
        for path in ("export", "delete"):
            body = {"tenant_id": "default", "user_id": user_of(server, ADMIN)}
            assert (await school.post(f"/v1/privacy/{path}", json=body)).status_code == httpx.codes.FORBIDDEN


async def test_pages_go_on_behind_their_cursor(tmp_path: Path, database: dict[str, Any]) -> None:
    async with served(tmp_path, **database) as server, http_of(server) as http:
        for number in range(5):
            await ask(http, f"question {number}")
        everything = await stored(http, 5)
        seen: list[str] = []
        cursor: str | None = None
        while cursor is not None or not seen:
            given = {"limit": "2"} | ({} if cursor is None else {"cursor": cursor})
            page = (await http.get("/v1/sessions", params=given)).json()
            seen += [each["session_id"] for each in page["conversations"]]
            cursor = page.get("cursor")
        assert seen == [each["session_id"] for each in everything]
        for bad in ({"limit": "0"}, {"cursor": "x"}, {"cursor": "1"}, {"since_ms": "-1"}, {"nonsense": "1"}):
            assert (await http.get("/v1/sessions", params=bad)).status_code == httpx.codes.BAD_REQUEST, bad


async def test_where_a_tenant_stores_nothing_nothing_is_written(tmp_path: Path) -> None:
    async with served(tmp_path) as server, http_of(server) as http:
        answer = await http.post("/v1/privacy/policy", json={"store": False})
        assert answer.json()["store"] is False
        await ask(http, CANARY)
        assert server.application.host.offices.privacy.scribe.waiting == 0
        assert (await http.get("/v1/sessions")).json()["conversations"] == []
    assert files_with(tmp_path, CANARY) == []


async def test_everything_said_is_on_disk_when_the_server_has_stopped(tmp_path: Path) -> None:
    async with served(tmp_path) as server, http_of(server) as http:
        await ask(http, CANARY)
    rows = sqlite3.connect(tmp_path / "records.sqlite3").execute("SELECT text FROM conversation_entries").fetchall()
    assert rows == [(CANARY,), (f"You said: {CANARY}.",)]


# --- retention ---


async def test_a_policy_keeps_to_what_the_tenants_type_allows(tmp_path: Path) -> None:
    async with with_keys(tmp_path) as server, http_of(server, SCHOOL) as school, http_of(server, ADMIN) as admin:
        policy = (await school.get("/v1/privacy/policy")).json()
        assert (policy["tenant_type"], policy["conversation_days"], policy["usage_months"]) == ("school", 30, 24)
        assert policy["permitted"]["conversation_days"] == {"default": 30, "least": 30, "most": 90}
        assert policy["recording"] is False
        for bad in ({"conversation_days": 29}, {"conversation_days": 91}, {"usage_months": 84}):
            answer = await school.post("/v1/privacy/policy", json=bad)
            assert answer.status_code == httpx.codes.BAD_REQUEST, bad
        changed = (await school.post("/v1/privacy/policy", json={"conversation_days": 90})).json()
        assert (changed["conversation_days"], changed["chosen"]) == (90, ["conversation_days"])
        seen = (await admin.get("/v1/privacy/policy", params={"tenant": "school"})).json()
        assert seen["conversation_days"] == 90
        log = await server.application.host.offices.audit.read(tenant_id="school")
        told = [(row.action, json.loads(row.details)["conversation_days"]) for row in log]
        assert told == [("retention.changed", 90)]


async def test_a_school_of_the_database_is_a_school_whoever_asks(tmp_path: Path) -> None:
    async with with_keys(tmp_path) as server, http_of(server, ADMIN) as admin:
        # A policy chosen before there was such a tenant does not make it a business for ever.
        early = {"tenant_id": "lyceum", "conversation_days": 2000, "usage_months": 80}
        assert (await admin.post("/v1/privacy/policy", json=early)).status_code == httpx.codes.OK
        made = {"tenant_id": "lyceum", "type": "school", "name": "Lyceum"}
        assert (await admin.post("/v1/tenants", json=made)).status_code == httpx.codes.CREATED
        policy = (await admin.get("/v1/privacy/policy", params={"tenant": "lyceum"})).json()
        assert (policy["tenant_type"], policy["conversation_days"], policy["usage_months"]) == ("school", 90, 24)
        answer = await admin.post("/v1/privacy/policy", json={"tenant_id": "lyceum", "conversation_days": 365})
        assert answer.status_code == httpx.codes.BAD_REQUEST
        wanted = {"tenant_id": "lyceum", "name": "app"}
        key: str = (await admin.post("/v1/keys", json=wanted)).json()["api_key"]
        async with http_of(server, key) as pupil:
            await ask(pupil, CANARY)
            await stored(pupil)
            await age(server, 91)
            report = (await admin.post("/v1/privacy/purge", json={"everybody": True})).json()
            assert report["conversations"] == {"lyceum": 1}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/privacy/policy"),
        ("POST", "/v1/privacy/purge"),
        ("POST", "/v1/privacy/export"),
        ("POST", "/v1/privacy/delete"),
        ("POST", "/v1/privacy/holds"),
        ("POST", "/v1/privacy/consents"),
        ("POST", "/v1/keys"),
        ("POST", "/v1/users"),
    ],
)
async def test_a_tenant_where_none_is_read_is_refused_and_not_taken_for_ones_own(
    tmp_path: Path, method: str, path: str
) -> None:
    async with with_keys(tmp_path) as server, http_of(server, ADMIN) as admin:
        answer = await admin.request(method, path, params={"tenant": "school"}, json={})
        assert answer.status_code == httpx.codes.BAD_REQUEST
        assert answer.json()["error"]["message"] == "There is no filter called tenant."
        for name in ("tenant_id", "whose"):
            answer = await admin.put("/v1/budgets", params={name: "school"}, json={"consent": "auto"})
            assert answer.status_code == httpx.codes.BAD_REQUEST


async def test_a_purge_takes_what_is_due_and_tells_it(tmp_path: Path, database: dict[str, Any]) -> None:
    async with (
        with_keys(tmp_path, **database) as server,
        http_of(server, SCHOOL) as school,
        http_of(server, ADMIN) as admin,
    ):
        await ask(school, f"old {CANARY}")
        await ask(admin, "an operator's")
        await stored(school)
        await stored(admin)
        await age(server, 31)
        await ask(school, "new")
        await stored(school, 2)
        report = (await admin.post("/v1/privacy/purge", json={"everybody": True})).json()
        assert report["conversations"] == {"school": 1}
        assert len(await stored(school)) == len(await stored(admin)) == 1
        purged = [row for row in await audit(server).read(tenant_id="school") if row.action == "retention.purged"]
        assert [json.loads(row.details) for row in purged] == [{"conversations": 1, "days": 30}]
        metrics = (await admin.get("/metrics")).text
        assert 'convergio_purged_total{kind="conversations"} 1.0' in metrics
        refused = await school.post("/v1/privacy/purge", json={"everybody": True})
        assert refused.status_code == httpx.codes.FORBIDDEN
    assert files_with(tmp_path, CANARY) == []


async def test_a_purge_begins_by_itself(tmp_path: Path) -> None:
    async with served(tmp_path, retention={"purge_interval_s": 1}) as server, http_of(server) as http:
        await ask(http, CANARY)
        await stored(http)
        await age(server, 181)
        with anyio.fail_after(20):
            while (await http.get("/v1/sessions")).json()["conversations"]:  # noqa: ASYNC110
                await anyio.sleep(0.05)


# --- holds ---


@pytest.mark.parametrize("on", ["tenant", "user", "session"])
async def test_what_is_held_is_neither_purged_nor_deleted_until_the_hold_is_lifted(
    tmp_path: Path, database: dict[str, Any], on: str
) -> None:
    async with served(tmp_path, **database) as server, http_of(server) as http:
        await ask(http, CANARY)
        await ask(http, "something else")
        newest, held = await stored(http, 2)
        named = {"tenant": {}, "user": {"user_id": "local"}, "session": {"session_id": held["session_id"]}}[on]
        hold = (await http.post("/v1/privacy/holds", json={"reason": "a lawsuit", **named})).json()
        refused = await http.delete(f"/v1/sessions/{held['session_id']}")
        assert refused.status_code == httpx.codes.CONFLICT
        assert refused.json()["error"]["details"] == {"holds": [hold["hold_id"]]}
        await age(server, 200)
        await http.post("/v1/privacy/purge", json={})
        left = {each["session_id"] for each in await stored(http)}
        assert left == ({held["session_id"]} if on == "session" else {held["session_id"], newest["session_id"]})
        deletion = await http.post("/v1/privacy/delete", json={})
        if on == "session":
            job = await done(http, deletion.json())
            assert (job["state"], job["result"]["sessions_held"]) == ("held", [held["session_id"]])
            users = {event.user_id for event in read_all(server.application.host.ledger, UsageQuery())}
            assert users == {"local", job["result"]["pseudonym"]}
        else:
            assert deletion.status_code == httpx.codes.CONFLICT
            assert deletion.json()["error"]["details"] == {"holds": [hold["hold_id"]]}
        assert held["session_id"] in {each["session_id"] for each in await stored(http)}
        assert (await http.delete(f"/v1/privacy/holds/{hold['hold_id']}")).json()["lifted_by"] == "local"
        assert (await http.delete(f"/v1/sessions/{held['session_id']}")).status_code == httpx.codes.NO_CONTENT
        actions = [row.action for row in await audit(server).read(tenant_id="local")]
        assert actions[0] == "hold.placed"
        assert actions[-2:] == ["hold.lifted", "conversation.deleted"]
