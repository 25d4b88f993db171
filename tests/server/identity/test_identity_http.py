"""Over HTTP: logging in with a cookie that only the page itself can use, proxies, keys told once, pages of rows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.guard import LOCAL_USER
from server.identity.passwords import hash_password
from server.identity.presented import COOKIE
from server.identity.user_book import NewUser
from tests.scripted_server import Served, served

KEY = "a-long-random-secret"
PASSWORD = "correct horse battery"
CLOCKS_APART_MS = 2_000


def http_to(server: Served, **headers: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, headers=headers, trust_env=False, timeout=20)


def own(server: Served) -> dict[str, str]:
    return {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}


def code(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["code"]) if answer.is_error else "ok"


async def test_a_cookie_is_the_pages_own_and_works_for_no_other_page(tmp_path: Path) -> None:
    async with served(tmp_path, api_keys=[KEY]) as server, http_to(server) as http:
        users = server.application.host.offices.identity.users
        await users.create(LOCAL_USER, NewUser("default", "owner", "Ada", "ada", hash_password(PASSWORD)))
        body: dict[str, Any] = {"login_name": "ada", "password": PASSWORD, "cookie": True}
        login = await http.post("/v1/auth/login", json=body, headers=own(server))
        assert "token" not in login.json()
        attributes = {part.strip().lower() for part in login.headers["set-cookie"].split(";")[1:]}
        assert {"httponly", "samesite=strict", "path=/", "max-age=3600"} <= attributes
        assert "secure" not in attributes  # it came over plain HTTP, from this machine
        async with http_to(server, **{"X-Forwarded-Proto": "https"}) as behind_tls:
            by_tls = await behind_tls.post("/v1/auth/login", json=body)
            assert "secure" in by_tls.headers["set-cookie"].lower()

        assert (await http.get("/v1/me")).json()["role"] == "owner"
        made = await http.post("/v1/keys", json={"name": "k"}, headers=own(server))
        assert made.status_code == httpx.codes.CREATED
        for headers in (
            {},
            {"Origin": "https://evil.example"},
            {"Origin": server.url, "Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
        ):
            answer = await http.post("/v1/keys", json={"name": "k"}, headers=headers)
            assert code(answer) in {"auth.invalid", "auth.forbidden"}, headers
        for site in ("cross-site", "same-site"):
            assert code(await http.get("/v1/me", headers={"Sec-Fetch-Site": site})) == "auth.invalid"

        session = http.cookies[COOKIE]
        out = await http.post("/v1/auth/logout", headers=own(server))
        assert out.status_code == httpx.codes.NO_CONTENT
        assert COOKIE not in http.cookies
        assert code(await http.get("/v1/me", headers={"Authorization": f"Bearer {session}"})) == "auth.invalid"


async def test_a_cookie_lives_no_longer_than_the_key_it_was_got_with(tmp_path: Path) -> None:
    async with served(tmp_path, api_keys=[KEY]) as server, http_to(server) as http:
        ends_at_ms = time.time_ns() // 1_000_000 + 900_000
        made = await http.post(
            "/v1/keys", json={"name": "k", "expires_at_ms": ends_at_ms}, headers={"Authorization": f"Bearer {KEY}"}
        )
        login = await http.post(
            "/v1/auth/login", json={"api_key": made.json()["api_key"], "cookie": True}, headers=own(server)
        )
        assert abs(login.json()["expires_at_ms"] - ends_at_ms) <= CLOCKS_APART_MS
        attributes = dict(part.strip().lower().partition("=")[::2] for part in login.headers["set-cookie"].split(";"))
        assert int(attributes["max-age"]) <= 900


async def test_who_comes_through_a_proxy_is_nobody_at_this_machine(tmp_path: Path) -> None:
    async with served(tmp_path) as server, http_to(server) as http:
        assert (await http.get("/v1/me")).json()["user_id"] == "local"
        for name, value in (
            ("X-Forwarded-For", "203.0.113.7"),
            ("X-Forwarded-For", "127.0.0.1"),
            ("Forwarded", "for=203.0.113.7"),
            ("X-Real-IP", "203.0.113.7"),
            ("X-Forwarded-Host", "localhost"),
            ("Via", "1.1 proxy"),
        ):
            assert code(await http.get("/v1/me", headers={name: value})) == "auth.invalid", name


async def test_tries_are_counted_by_the_address_a_trusted_proxy_names(tmp_path: Path) -> None:
    async with served(tmp_path, api_keys=[KEY]) as server, http_to(server) as http:

        async def tried(address: str) -> httpx.Response:
            body = {"api_key": "cv_live_wrong"}
            return await http.post("/v1/auth/login", json=body, headers={"X-Forwarded-For": address})

        answers = [await tried("203.0.113.7")]
        while code(answers[-1]) == "auth.invalid" and len(answers) < 200:  # a slow machine gets some back meanwhile
            answers.append(await tried("203.0.113.7"))
        assert (code(answers[0]), code(answers[-1])) == ("auth.invalid", "rate.limited")
        assert len(answers) > 30
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert code(await tried("203.0.113.8")) == "auth.invalid"


async def test_a_key_is_told_once_and_narrowed_as_asked(tmp_path: Path) -> None:
    async with served(tmp_path) as server, http_to(server) as http:
        wanted = {"name": "app", "permissions": ["talk"], "agent_id": "default", "environment": "test"}
        made = (await http.post("/v1/keys", json=wanted)).json()
        value = made["api_key"]
        assert value.startswith("cv_test_")
        listed = await http.get("/v1/keys")
        assert value not in listed.text
        assert [key["key_id"] for key in listed.json()["keys"]] == [made["key"]["key_id"]]
        me = (await http.get("/v1/me", headers={"Authorization": f"Bearer {value}"})).json()
        assert (me["permissions"], me["agent_id"], me["test"]) == (["talk"], "default", True)
        assert (await http.delete(f"/v1/keys/{made['key']['key_id']}")).json()["key"]["revoked_at_ms"] > 0
        assert (await http.get("/v1/keys")).json()["keys"] == []
        assert len((await http.get("/v1/keys", params={"revoked": "true"})).json()["keys"]) == 1


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/keys", {"name": ""}, 400),
        ("/v1/keys", {"name": "k", "permissions": ["fly"]}, 400),
        ("/v1/keys", {"name": "k", "permissions": []}, 400),
        ("/v1/keys", {"name": "k", "role": "member", "permissions": ["audit.read"]}, 400),
        ("/v1/keys", {"name": "k", "expires_at_ms": 1}, 400),
        ("/v1/keys", {"name": "k", "tenant_id": "nobody"}, 404),
        ("/v1/keys", {"name": "k", "user_id": "usr_nobody"}, 404),
        ("/v1/users", {"name": "Ada", "login_name": "ada"}, 400),
        ("/v1/users", {"name": "Ada", "login_name": "ada", "password": "short"}, 400),
        ("/v1/tenants", {"name": "x", "type": "club"}, 400),
        ("/v1/tenants", {"name": "x", "type": "school", "tenant_id": "Not An Id"}, 400),
        ("/v1/tenants", {"name": "x", "type": "school", "tenant_id": "default"}, 400),
        ("/v1/auth/login", {"login_name": "ada"}, 400),
        ("/v1/auth/login", {}, 400),
        ("/v1/sessions", {"expires_in_s": 3600}, 400),
    ],
    ids=str,
)
async def test_what_cannot_be_meant_is_refused_with_a_sentence(
    tmp_path: Path, path: str, body: dict[str, Any], status: int
) -> None:
    async with served(tmp_path) as server, http_to(server) as http:
        answer = await http.post(path, json=body)
        assert (answer.status_code, code(answer)) == (status, "request.invalid")


async def test_pages_of_keys_and_of_the_audit_log_have_every_row_once(tmp_path: Path) -> None:
    async with served(tmp_path) as server, http_to(server) as http:
        for number in range(5):
            await http.post("/v1/keys", json={"name": f"k{number}"})
        for path, rows, identity in (("/v1/keys", "keys", "key_id"), ("/v1/audit", "entries", "sequence")):
            seen: list[Any] = []
            query = {"limit": "2", "tenant": "*"}
            while True:
                page = (await http.get(path, params=query)).json()
                seen += [row[identity] for row in page[rows]]
                if "next_cursor" not in page:
                    break
                query["cursor"] = page["next_cursor"]
            assert len(seen) == len(set(seen)) == 5
        newest = (await http.get("/v1/audit", params={"order": "desc", "limit": "1"})).json()["entries"]
        assert [row["sequence"] for row in newest] == [5]
        assert (await http.get("/v1/audit", params={"action": "user."})).json()["entries"] == []
        assert (await http.get("/v1/audit/verification")).json()["intact"] is True
        for bad in ({"limit": "0"}, {"cursor": "x"}, {"order": "random"}, {"colour": "red"}):
            assert code(await http.get("/v1/audit", params=bad)) == "request.invalid"
