"""Every route and socket of the application, walked with every kind of credential that must not open it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import Mount, Route, WebSocketRoute
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from server.guard import LOCAL_USER
from server.identity import IdentityOffice
from server.identity.key_book import NewKey
from server.identity.keys import new_key
from server.identity.tables import api_keys
from server.identity.tenant_book import NewTenant
from server.identity.user_book import NewUser
from server.permissions import PERMISSIONS, Permission
from tests.e2e.voice_socket import joined
from tests.scripted_server import Served, served
from tests.server.identity.access_table import ROWS, SOCKET, Row

INVALID, FORBIDDEN = "auth.invalid", "auth.forbidden"


@dataclass
class Town:
    """A server with two tenants, somebody of every kind, and things that are the school's."""

    server: Served
    keys: dict[str, str] = field(default_factory=dict[str, str])
    ids: dict[str, str] = field(default_factory=dict[str, str])

    def http(self, who: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.server.url, headers=self.headers(who), trust_env=False, timeout=20)

    def headers(self, who: str) -> dict[str, str]:
        return {} if who == "stranger" else {"Authorization": f"Bearer {self.keys[who]}"}


@asynccontextmanager
async def town(data_dir: Path) -> AsyncGenerator[Town]:
    async with served(data_dir, identity={"require_keys": True}) as server:
        built = Town(server)
        office = server.application.host.offices.identity
        for tenant in ("school", "clinic"):
            await office.tenants.create(LOCAL_USER, NewTenant("school", tenant, tenant))
        user = await office.users.create(LOCAL_USER, NewUser("school", "member", "Ada"))
        for who, wanted in {
            "operator": NewKey("default", "k", "owner"),
            "admin": NewKey("school", "k", "admin"),
            "member": NewKey("school", "k", user_id=user.user_id),
            "classmate": NewKey("school", "k", "member"),
            "foreign admin": NewKey("clinic", "k", "admin"),
            "revoked": NewKey("school", "k", "admin"),
            "expired": NewKey("school", "k", "admin", expires_at_ms=2**52),
        }.items():
            built.ids[who], built.keys[who] = await made(office, wanted)
        for permission in Permission:
            if permission in PERMISSIONS["admin"]:
                others = tuple(sorted(PERMISSIONS["admin"] - {permission}))
                wanted = NewKey("school", "k", "admin", permissions=others)
                _, built.keys[f"without {permission}"] = await made(office, wanted)
        await office.keys.revoke(LOCAL_USER, built.ids["revoked"], tenant_id=None)
        expire(server, built.ids["expired"])
        built.keys["unknown"] = new_key("live")
        built.keys["mistyped"] = built.keys["admin"][:-1] + ("A" if built.keys["admin"][-1] != "A" else "B")
        built.ids["user"] = user.user_id
        yield built


async def made(office: IdentityOffice, wanted: NewKey) -> tuple[str, str]:
    entry, value = await office.keys.create(LOCAL_USER, wanted)
    return entry.key_id, value


def expire(server: Served, key_id: str) -> None:
    """As time would: it was made with a time to end that is over now."""
    with server.application.host.offices.records.write() as connection:
        connection.execute(api_keys.update().where(api_keys.c.key_id == key_id).values(expires_at_ms=1))


def routes_of(server: Served) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for route in server.application.asgi.routes:
        match route:
            case WebSocketRoute():
                found.add((SOCKET, route.path))
            case Route():
                found |= {(method, route.path) for method in (route.methods or set()) - {"HEAD"}}
            case Mount():
                found.add(("MOUNT", route.path))
            case _:
                raise AssertionError(route)
    return found


def path_of(row: Row, ids: dict[str, str]) -> str:
    """With the school's ids where the route has some."""
    ids = {"key_id": ids["classmate"], "user_id": ids["user"], "tenant_id": "school", "call_id": "rtc_none"}
    ids |= {"carrier": "twilio", "period": "2026-11"}
    return re.sub(r"\{(\w+)\}", lambda found: ids.get(found[1], "none_0"), row.path)


async def told(there: Town, row: Row, who: str) -> str:
    """The error's code that somebody gets on a route, or ``ok``."""
    path = path_of(row, there.ids)
    if row.method == SOCKET:
        url = f"ws{there.server.url.removeprefix('http')}{path}"
        try:
            async with connect(url, additional_headers=there.headers(who), proxy=None, compression=None):
                return "ok"
        except InvalidStatus as refused:
            return str(json.loads(bytes(refused.response.body or b""))["error"]["code"])
    async with there.http(who) as http:
        body: dict[str, Any] = {} if row.body is None else {"json": dict(row.body)}
        answer = await http.request("GET" if row.method == "MOUNT" else row.method, path or "/", **body)
        if answer.is_error:
            return str(answer.json()["error"]["code"])
        return "ok"


async def test_every_route_and_socket_has_its_row(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        assert routes_of(server) == {(row.method, row.path) for row in ROWS}


async def test_nobody_without_a_good_credential_comes_in_anywhere(tmp_path: Path) -> None:
    async with town(tmp_path) as there:
        for row in ROWS:
            if not row.open:
                for who in ("stranger", "unknown", "mistyped", "expired", "revoked"):
                    assert await told(there, row, who) == INVALID, (row, who)


async def test_whoever_lacks_the_permission_is_forbidden_and_whoever_has_it_is_not(tmp_path: Path) -> None:
    async with town(tmp_path) as there:
        for row in ROWS:
            if row.operator:
                assert await told(there, row, "admin") == FORBIDDEN, row
                assert await told(there, row, "operator") not in {INVALID, FORBIDDEN}, row
            elif row.needs is not None and row.needs is not Permission.USAGE_OWN:
                assert await told(there, row, f"without {row.needs}") == FORBIDDEN, row
            if row.operator or (row.needs is not None and row.needs not in PERMISSIONS["member"]):
                assert await told(there, row, "member") == FORBIDDEN, row


async def test_everybody_in_their_own_tenant_gets_what_they_may(tmp_path: Path) -> None:
    async with town(tmp_path) as there:
        for row in ROWS:
            if not row.operator:
                # Its admin goes last: among the rows is the end of a key.
                who = "member" if row.needs in {None, *PERMISSIONS["member"]} else "admin"
                assert await told(there, row, who) not in {INVALID, FORBIDDEN} or row.path == "/v1/auth/login", row


async def test_what_is_another_tenants_is_not_there(tmp_path: Path) -> None:
    async with town(tmp_path) as there, there.http("foreign admin") as foreign, there.http("admin") as own:
        for method, path, body in (
            ("DELETE", f"/v1/keys/{there.ids['classmate']}", None),
            ("PATCH", f"/v1/users/{there.ids['user']}", {"disabled": True}),
        ):
            answer = await foreign.request(method, path, json=body)
            never = await foreign.request(method, re.sub(r"[^/]+$", "none_0", path), json=body)
            assert answer.status_code == never.status_code == httpx.codes.NOT_FOUND
            assert answer.json()["error"] == never.json()["error"]
        for path, name in (("/v1/keys", "keys"), ("/v1/users", "users"), ("/v1/audit", "entries")):
            mine, theirs = (await foreign.get(path)).json()[name], (await own.get(path)).json()[name]
            assert {row["tenant_id"] for row in mine} <= {"clinic"}
            assert {row["tenant_id"] for row in theirs} == {"school"}
            for wanted in ("school", "*", "default", "nobody"):
                answer = await foreign.get(path, params={"tenant": wanted})
                assert answer.json()["error"]["code"] == FORBIDDEN
        for path, body in (("/v1/keys", {"name": "k", "tenant_id": "school"}), ("/v1/users", {"name": "k"})):
            answer = await foreign.post(path, json=body | {"tenant_id": "school"})
            assert answer.json()["error"]["code"] == FORBIDDEN


@pytest.mark.parametrize("who", ["foreign admin", "classmate", "admin", "operator"])
async def test_a_conversation_is_come_back_to_by_whoever_began_it_alone(tmp_path: Path, who: str) -> None:
    async with town(tmp_path) as there:
        url = there.server.voice_url
        async with joined(url, additional_headers=there.headers("member")) as mine:
            await mine.say("voice.start")
            session_id = (await mine.until("session.started"))["session_id"]
            async with joined(url, additional_headers=there.headers(who)) as other:
                await other.say("session.resume", session_id=session_id, last_event_id=0)
                error = await other.until("error")
                assert error["code"] == "session.not_found"
            async with joined(url, additional_headers=there.headers("member")) as again:
                again.last_event_id = mine.last_event_id
                await again.say("session.resume", session_id=session_id, last_event_id=mine.last_event_id)
                await again.until("session.resumed")


async def test_a_member_sees_the_latency_of_their_own_turns_and_an_admin_everybodys(tmp_path: Path) -> None:
    async with town(tmp_path) as there:
        for who in ("member", "classmate", "foreign admin"):
            async with there.http(who) as http:
                assert (await http.post("/v1/chat", json={"prompt": "hello"})).status_code == httpx.codes.OK
        turns: dict[str, int] = {}
        for who in ("member", "classmate", "admin", "foreign admin"):
            async with there.http(who) as http:
                recent = (await http.get("/v1/latency/report", params={"turns": "50"})).json()["recent"]
                turns[who] = len(recent)
        assert turns == {"member": 1, "classmate": 1, "admin": 2, "foreign admin": 1}
