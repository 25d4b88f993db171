"""``/v1/provider-keys`` over real HTTP: keys are checked, kept, listed without what they are, rotated and deleted; only
by those who may, and only their own. And what a key is good for: answers of the tenant's own model."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from metering.ledger import PageRequest, UsageQuery
from metering.sqlite_ledger import SqliteLedger
from tests.scripted_server import Served, eventually, served
from tests.server.vault.provider_stand_in import Providers, providers_here

SCHOOL, CLINIC, OPERATOR = "api-key-of-the-school", "api-key-of-the-clinic", "api-key-of-the-server"
KEY, OTHER = "sk-canary-one-77aa01", "sk-canary-two-88bb02"
PATH = "/v1/provider-keys"


@pytest.fixture
def providers() -> Iterator[Providers]:
    with providers_here() as here:
        yield here


@dataclass
class Http:
    """Requests with a tenant's API key, each over a connection of its own."""

    url: str
    key: str

    async def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}"}
        async with httpx.AsyncClient(base_url=self.url, headers=headers, trust_env=False, timeout=30) as client:
            return await client.request(method, path, **more)

    async def get(self, path: str, **more: Any) -> httpx.Response:
        return await self.request("GET", path, **more)

    async def post(self, path: str, **more: Any) -> httpx.Response:
        return await self.request("POST", path, **more)

    async def delete(self, path: str) -> httpx.Response:
        return await self.request("DELETE", path)


@dataclass
class Tenant:
    http: Http

    async def store(self, body: dict[str, str]) -> dict[str, Any]:
        answer = await self.http.post(PATH, json=body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json()["provider_key"])

    async def keys(self) -> list[dict[str, Any]]:
        answer = await self.http.get(PATH)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["provider_keys"])

    async def ask(self) -> tuple[str, str]:
        """The answer to a question, or the error's code."""
        answer = await self.http.post("/v1/chat", json={"prompt": "hello"})
        body = answer.json()
        return ("said", body["text"].strip()) if answer.status_code == 200 else ("error", body["error"]["code"])


def tenant(server: Served, key: str) -> Tenant:
    return Tenant(Http(server.url, key))


@asynccontextmanager
async def school_and_clinic(data_dir: Path, **more: Any) -> AsyncGenerator[Served]:
    tenants = [{"id": "school", "api_keys": [SCHOOL]}, {"id": "clinic", "api_keys": [CLINIC]}]
    vault = {"private_hosts": ["127.0.0.1"], "refresh_s": 0.1, "check_s": 50, **more}
    async with served(data_dir, api_keys=[OPERATOR], tenants=tenants, vault=vault) as server:
        yield server


def modes(server: Served) -> list[tuple[str, str]]:
    ledger = SqliteLedger(server.application.settings.ledger_path)
    try:
        events = ledger.read(UsageQuery(), PageRequest()).events
        return [(event.mode, event.providers["agent"].provider) for event in events]
    finally:
        ledger.close()


@pytest.mark.parametrize("provider", ["azure-speech", "azure-openai", "openai-compatible"])
async def test_a_key_is_checked_once_and_never_told_again(tmp_path: Path, providers: Providers, provider: str) -> None:
    async with school_and_clinic(tmp_path) as server:
        school = tenant(server, SCHOOL)
        made = await school.store(providers.own(provider, KEY))
        assert providers.keys() == [KEY]
        assert (made["provider"], made["label"], made["status"], made["version"]) == (provider, "ours", "active", 1)
        assert await school.keys() == [made]
        one = await school.http.get(f"{PATH}/{made['key_id']}")
        assert one.json()["provider_key"] == made
        assert one.headers["cache-control"] == "no-store"
        for text in (json.dumps(made), one.text):
            assert KEY not in text
            assert KEY[-4:] not in text


@pytest.mark.parametrize(
    ("mood", "status", "code"),
    [
        ("refuses", 400, "request.invalid"),
        ("missing", 400, "request.invalid"),
        ("hangs", 504, "provider.timeout"),
        ("breaks", 502, "provider.unavailable"),
        ("garbage", 502, "provider.unavailable"),
        ("redirects", 502, "provider.unavailable"),
    ],
)
async def test_a_key_that_does_not_work_is_not_kept(
    tmp_path: Path, providers: Providers, mood: str, status: int, code: str
) -> None:
    providers.mood = mood
    with providers_here() as other:
        providers.elsewhere = other.url
        async with school_and_clinic(tmp_path, check_s=0.5 if mood == "hangs" else 50) as server:
            school = tenant(server, SCHOOL)
            answer = await school.http.post(PATH, json=providers.own("openai-compatible", KEY))
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
            assert KEY not in answer.text
            assert await school.keys() == []
        assert other.asked == [], "redirects are not followed"


async def test_a_key_whose_quota_is_used_up_is_a_key(tmp_path: Path, providers: Providers) -> None:
    providers.mood = "throttles"
    async with school_and_clinic(tmp_path) as server:
        await tenant(server, SCHOOL).store(providers.own("azure-openai", KEY))


@pytest.mark.parametrize(
    "address",
    [
        "http://93.184.216.34/v1",
        "https://127.0.0.1/v1",
        "https://localhost/v1",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:10.0.0.1]/v1",
        "https://168.63.129.16/v1",
        "https://name:word@example.org/v1",
        "https://example.org/v1?x=1",
        "https://exa\\mple.org/v1",
        "gopher://example.org/v1",
    ],
)
async def test_tenants_have_the_server_connect_to_public_addresses_only(tmp_path: Path, address: str) -> None:
    body = {"provider": "openai-compatible", "label": "x", "key": KEY, "base_url": address, "model": "any"}
    async with school_and_clinic(tmp_path, private_hosts=[]) as server:
        answer = await tenant(server, SCHOOL).http.post(PATH, json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == "request.invalid"


@pytest.mark.parametrize(
    "change",
    [
        {"key": ""},
        {"key": "has a space"},
        {"key": "x" * 2_000},
        {"provider": "elsewhere"},
        {"region": "westeurope"},
        {"model": None},
        {"label": f"mine: {KEY}"},
        {"model": KEY},
    ],
)
async def test_what_is_no_key_is_refused_without_being_said_back(
    tmp_path: Path, providers: Providers, change: dict[str, Any]
) -> None:
    body = providers.own("openai-compatible", KEY) | change
    async with school_and_clinic(tmp_path) as server:
        answer = await tenant(server, SCHOOL).http.post(PATH, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "request.invalid")
    assert KEY not in answer.text
    assert providers.asked == []


async def test_another_tenants_keys_are_neither_seen_nor_touched_nor_used(tmp_path: Path, providers: Providers) -> None:
    async with school_and_clinic(tmp_path) as server:
        school, clinic = tenant(server, SCHOOL), tenant(server, CLINIC)
        made = await school.store(providers.own("openai-compatible", KEY))
        one = f"{PATH}/{made['key_id']}"
        assert await clinic.keys() == []
        for method, path, body in (
            ("GET", one, None),
            ("DELETE", one, None),
            ("POST", f"{one}/rotate", {"key": OTHER}),
            ("POST", f"{one}/check", None),
        ):
            answer = await clinic.http.request(method, path, json=body)
            assert answer.status_code == 404, (method, path)
        assert (await clinic.http.get(PATH, params={"tenant": "school"})).status_code == 403
        assert await clinic.ask() == ("said", "You said: hello.")
        assert providers.keys() == [KEY], "the check, and nothing of the clinic's"
        operator = tenant(server, OPERATOR)
        theirs = await operator.http.get(PATH, params={"tenant": "school"})
        assert [key["key_id"] for key in theirs.json()["provider_keys"]] == [made["key_id"]]
        assert await operator.keys() == []


async def test_who_does_what_is_in_the_audit_log_without_the_key(tmp_path: Path, providers: Providers) -> None:
    async with school_and_clinic(tmp_path) as server:
        school = tenant(server, SCHOOL)
        made = await school.store(providers.own("openai-compatible", KEY))
        await school.http.post(f"{PATH}/{made['key_id']}/rotate", json={"key": OTHER})
        assert (await school.http.delete(f"{PATH}/{made['key_id']}")).status_code == 204
        rows = await server.application.host.offices.audit.read(tenant_id="school")
        assert await server.application.host.offices.audit.verify() is None
    assert [row.action for row in rows] == [f"provider_key.{done}" for done in ("created", "rotated", "deleted")]
    assert {row.target for row in rows} == {made["key_id"]}
    assert not [row for row in rows if KEY in row.details or OTHER in row.details]


async def test_a_tenant_may_keep_so_many_keys_and_check_so_often(tmp_path: Path, providers: Providers) -> None:
    async with school_and_clinic(tmp_path, max_keys=1, checks_per_minute=2) as server:
        school = tenant(server, SCHOOL)
        await school.store(providers.own("openai-compatible", KEY))
        many = await school.http.post(PATH, json=providers.own("openai-compatible", OTHER))
        assert (many.status_code, many.json()["error"]["code"]) == (429, "quota.exceeded")
        often = await school.http.post(PATH, json=providers.own("openai-compatible", OTHER))
        assert (often.status_code, often.json()["error"]["code"]) == (429, "rate.limited")
        assert int(often.headers["retry-after"]) > 0
        await tenant(server, CLINIC).store(providers.own("openai-compatible", OTHER))


# --- what a key is good for ---


async def test_a_tenant_with_a_key_is_answered_by_its_own_model_and_in_its_own_lane(
    tmp_path: Path, providers: Providers
) -> None:
    providers.answers = {KEY: "From the school.", OTHER: "From the clinic."}
    async with school_and_clinic(tmp_path) as server:
        school, clinic = tenant(server, SCHOOL), tenant(server, CLINIC)
        await school.store(providers.own("openai-compatible", KEY))
        await clinic.store(providers.own("azure-openai", OTHER))
        assert await school.ask() == ("said", "From the school.")
        assert await clinic.ask() == ("said", "From the clinic.")
        assert await tenant(server, OPERATOR).ask() == ("said", "You said: hello.")
        assert modes(server) == [
            ("byok", "openai_compatible"),
            ("byok", "azure_openai"),
            ("embedded", "scripted"),
        ]


async def test_a_rotated_key_is_the_one_that_is_used_and_a_deleted_one_is_not(
    tmp_path: Path, providers: Providers
) -> None:
    async with school_and_clinic(tmp_path) as server:
        school = tenant(server, SCHOOL)
        made = await school.store(providers.own("openai-compatible", KEY))
        await school.ask()
        rotated = await school.http.post(f"{PATH}/{made['key_id']}/rotate", json={"key": OTHER})
        after = rotated.json()["provider_key"]
        assert (after["key_id"], after["version"]) == (made["key_id"], 2)
        assert after["fingerprint"] != made["fingerprint"]
        await school.ask()
        assert providers.keys() == [KEY, KEY, OTHER, OTHER]
        await school.http.delete(f"{PATH}/{made['key_id']}")
        assert await school.ask() == ("said", "You said: hello.")
        assert len(providers.asked) == 4


async def test_where_own_keys_are_demanded_nothing_else_answers(tmp_path: Path, providers: Providers) -> None:
    async with school_and_clinic(tmp_path, require_own_keys=True) as server:
        school = tenant(server, SCHOOL)
        assert await school.ask() == ("error", "byok.missing_key")
        made = await school.store(providers.own("openai-compatible", KEY))
        assert await school.ask() == ("said", "Thank you for telling me.")
        await school.http.delete(f"{PATH}/{made['key_id']}")
        assert await school.ask() == ("error", "byok.missing_key")
        assert await tenant(server, OPERATOR).ask() == ("said", "You said: hello.")


async def test_a_key_that_is_refused_is_marked_and_taken_up_again_after_a_check(
    tmp_path: Path, providers: Providers
) -> None:
    async with school_and_clinic(tmp_path) as server:
        school = tenant(server, SCHOOL)
        made = await school.store(providers.own("openai-compatible", KEY))
        providers.known = set()
        assert await school.ask() == ("error", "provider.unavailable")

        async def status() -> str:
            return str((await school.keys())[0]["status"])

        marked = server.application.host.offices.vault
        while await status() != "rejected":  # the test's own limit bounds it
            await marked.keys.refresh()
        providers.known = {KEY}
        checked = await school.http.post(f"{PATH}/{made['key_id']}/check")
        assert checked.json()["result"] == "works"
        assert await status() == "active"
        assert [row.action for row in await server.application.host.offices.audit.read(tenant_id="school")] == [
            "provider_key.created",
            "provider_key.rejected",
            "provider_key.accepted",
        ]


async def test_what_another_server_does_with_a_tenants_keys_is_known_here_within_seconds(
    tmp_path: Path, providers: Providers
) -> None:
    """Two servers on the same records."""
    async with school_and_clinic(tmp_path) as here, school_and_clinic(tmp_path) as there:
        made = await tenant(here, SCHOOL).store(providers.own("openai-compatible", KEY))
        elsewhere = tenant(there, SCHOOL)
        assert await elsewhere.ask() == ("said", "Thank you for telling me.")
        await tenant(here, SCHOOL).http.delete(f"{PATH}/{made['key_id']}")
        keys = there.application.host.offices.vault.keys
        await eventually(lambda: keys.held("school") == ())
        assert await elsewhere.ask() == ("said", "You said: hello.")
