"""``/v1/usage/...`` through a real server: sums, pages, files, reports and invoices, and who may have them."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import os
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from metering.identity import as_correction, event_id
from metering.pricing.closing import close_month
from metering.rollup import DAY_MS
from metering.sqlite_ledger import SqliteLedger
from metering.usage import StageProvider, UsageEvent
from server.contracts.usage_reports import (
    ExportMetadata,
    InvoiceResponse,
    UsageCurrentResponse,
    UsageEventPage,
    UsageReportResponse,
)
from server.guard import Identity
from server.ledgers import price_book
from server.permissions import PERMISSIONS
from tests.scripted_server import Served, served

KEY, SCHOOL_KEY = "a-long-random-secret", "another-long-random-secret"
SHEET = """
schema = 1
provider = "azure"
currency = "EUR"
valid_from = 2020-01-01
status = "confirmed"
source = "a test"
[[price]]
meter = "audio_ms_in"
per = "minute"
price = "0.06"
"""
FORMULA = '=HYPERLINK("http://evil.example","x")'


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def turn(number: int, *, tenant: str = "local", at: int | None = None, user: str = "ada") -> UsageEvent:
    request = f"turn_{number}"
    began = now_ms() if at is None else at
    return UsageEvent(
        event_id=event_id(tenant, request),
        request_id=request,
        tenant_id=tenant,
        user_id=user,
        session_id=f"ses_{number % 2}",
        agent_id="class-3b" if number % 2 else "class-4a",
        mode="byok",
        started_at=began,
        ended_at=began + 10,
        providers={"stt": StageProvider("azure", "conversation"), "agent": StageProvider("openai", "gpt")},
        audio_ms_in=60_000,
        audio_ms_out=30_000,
        output_tokens=5,
        success=number % 3 != 0,
        error_code=None if number % 3 else "provider.timeout",
        transport="webrtc" if number % 2 else "websocket",
    )


def record(data_dir: Path, events: Iterable[UsageEvent]) -> None:
    ledger = SqliteLedger(data_dir / "usage.sqlite3")
    ledger.append(list(events))
    ledger.close()


def sheets(directory: Path) -> dict[str, str]:
    directory.mkdir()
    (directory / "azure.toml").write_text(SHEET)
    return {"price_sheets": str(directory)}


@asynccontextmanager
async def client(server: Served, key: str = KEY) -> AsyncGenerator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, trust_env=False, timeout=20) as http:
        yield http


async def test_today_and_this_month_are_told_with_what_they_cost_and_what_has_no_price(tmp_path: Path) -> None:
    record(tmp_path, [turn(1), turn(2, user="bob"), turn(4, tenant="other"), turn(5, at=now_ms() - 40 * DAY_MS)])
    async with served(tmp_path, ledger=sheets(tmp_path / "prices")) as server, client(server) as http:
        answer = await http.get("/v1/usage/current")
    told = UsageCurrentResponse.model_validate_json(answer.content)
    assert (told.scope, told.tenant_id, told.user_id, told.budgets) == ("tenant", "local", None, ())
    for period in (told.today, told.month):
        assert (period.sums.turns, period.sums.audio_ms_in, period.sums.audio_ms_out) == (2, 120_000, 60_000)
        assert [(cost.currency, cost.micros) for cost in period.cost] == [("EUR", 120_000)]
        assert [(work.provider, work.meter) for work in period.unpriced] == [("openai", "output_tokens")]
    assert answer.headers["cache-control"] == "no-store"


async def test_who_may_only_read_their_own_gets_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(tmp_path, [turn(1), turn(2, user="bob")])
    member = Identity("local", "bob", "member", PERMISSIONS["member"])

    async def authenticate(*_: object) -> Identity:
        return member

    monkeypatch.setattr("server.identity.office.IdentityOffice.authenticate", authenticate)
    async with served(tmp_path) as server, client(server) as http:
        told = UsageCurrentResponse.model_validate_json((await http.get("/v1/usage/current")).content)
        assert (told.scope, told.user_id, told.today.sums.turns) == ("own", "bob", 1)
        assert (await http.get("/v1/usage/current", params={"scope": "tenant"})).status_code == 403
        for path in ("events", "report", "invoices/2026-09"):
            answer = await http.get(f"/v1/usage/{path}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "auth.forbidden"), path


async def test_another_tenants_usage_is_for_the_operators_keys_only(tmp_path: Path) -> None:
    record(tmp_path, [turn(1, tenant="school"), turn(2, tenant="default")])
    tenants = [{"id": "school", "api_keys": [SCHOOL_KEY]}]
    async with served(tmp_path, api_keys=(KEY,), tenants=tenants) as server:
        async with client(server, SCHOOL_KEY) as http:
            for path in ("current", "events", "report", "invoices/2026-09"):
                assert (await http.get(f"/v1/usage/{path}")).status_code == 200, path
                assert (await http.get(f"/v1/usage/{path}", params={"tenant": "default"})).status_code == 403, path
            own = UsageEventPage.model_validate_json((await http.get("/v1/usage/events")).content)
            assert [event.tenant_id for event in own.events] == ["school"]
        async with client(server) as http:
            theirs = await http.get("/v1/usage/events", params={"tenant": "school"})
            assert [event["tenant_id"] for event in theirs.json()["events"]] == ["school"]
        async with client(server, "wrong") as http:
            assert (await http.get("/v1/usage/current")).status_code == 401


async def test_pages_skip_and_repeat_nothing_while_events_arrive(tmp_path: Path) -> None:
    record(tmp_path, [turn(n) for n in range(5)])
    async with served(tmp_path) as server, client(server) as http:

        async def page(**asked: str) -> UsageEventPage:
            answer = await http.get("/v1/usage/events", params={"limit": "2", **asked})
            return UsageEventPage.model_validate_json(answer.content)

        first = await page()
        newest = await page(order="desc")
        record(tmp_path, [turn(n) for n in range(5, 8)])
        seen = list(first.events)
        at = first
        while at.has_more:
            at = await page(cursor=at.next_cursor or "")
            seen += at.events
        assert [event.request_id for event in seen] == [f"turn_{n}" for n in range(8)]
        record(tmp_path, [turn(8)])
        later = await page(cursor=at.next_cursor or "")
        assert [event.request_id for event in later.events] == ["turn_8"]
        assert not later.has_more
        back = list(newest.events)
        while newest.next_cursor:
            newest = await page(order="desc", cursor=newest.next_cursor)
            back += newest.events
        assert [event.request_id for event in back] == [f"turn_{n}" for n in reversed(range(5))]


async def test_events_are_filtered(tmp_path: Path) -> None:
    record(tmp_path, [turn(n, user="ada" if n < 3 else "bob", at=now_ms() - n * 3_600_000) for n in range(6)])
    record(tmp_path, [as_correction(turn(1), replace(turn(1), output_tokens=7))])
    async with served(tmp_path) as server, client(server) as http:

        async def chosen(**filters: str) -> set[int]:
            answer = await http.get("/v1/usage/events", params=filters)
            return {int(event["request_id"].removeprefix("turn_")) for event in answer.json()["events"]}

        assert await chosen(user="bob") == {3, 4, 5}
        assert await chosen(agent="class-3b") == {1, 3, 5}
        assert await chosen(session="ses_0") == {0, 2, 4}
        assert await chosen(success="false") == {0, 3}
        assert await chosen(transport="webrtc", success="true") == {1, 5}
        assert await chosen(mode="managed") == set()
        assert await chosen(since="150m") >= {0, 2}
        until = datetime.fromtimestamp(now_ms() / 1_000 - 2.5 * 3_600, UTC).isoformat()
        assert await chosen(until=until) == {3, 4, 5}
        both = (await http.get("/v1/usage/events", params={"replaced": "true"})).json()["events"]
        assert [event["request_id"] for event in both].count("turn_1") == 2


@pytest.mark.parametrize(
    ("path", "filters"),
    [
        ("events", {"since": "yesterday"}),
        ("events", {"limit": "1001"}),
        ("events", {"limit": "x"}),
        ("events", {"cursor": "12"}),
        ("events", {"cursor": "a1", "order": "desc"}),
        ("events", {"success": "maybe"}),
        ("events", {"mode": "free"}),
        ("events", {"format": "xml"}),
        ("events", {"format": "csv", "limit": "3"}),
        ("events", {"colour": "red"}),
        ("report", {"by": "moon"}),
        ("report", {"since": "2026-13-01"}),
        ("report", {"since": "2000-01-01"}),
        ("report", {"since": "2026-02-01", "until": "2026-02-01"}),
        ("report", {"month": "2026-02", "since": "2d"}),
        ("report", {"user": "ada"}),
        ("report", {"by": "agent", "limit": "3"}),
        ("report", {"by": "user", "limit": "0"}),
        ("report", {"by": "user", "limit": "1_0"}),
        ("report", {"by": "user", "limit": "٣"}),
        ("report", {"by": "user", "month": "9999-12"}),
        ("report", {"by": "user", "limit": "2001"}),
        ("report", {"by": "user", "limit": "3", "format": "csv"}),
        ("invoices/2026-9", {}),
        ("invoices/1026-09", {}),
        ("current", {"scope": "all"}),
    ],
)
async def test_what_cannot_be_meant_is_refused(tmp_path: Path, path: str, filters: dict[str, str]) -> None:
    async with served(tmp_path) as server, client(server) as http:
        answer = await http.get(f"/v1/usage/{path}", params=filters)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "request.invalid")


async def test_a_file_says_what_it_holds_and_its_checksum_is_its_own(tmp_path: Path) -> None:
    record(tmp_path, [turn(n, user=FORMULA if n == 2 else "ada") for n in range(1, 6)])
    record(tmp_path, [turn(9, tenant="other")])
    async with served(tmp_path) as server, client(server) as http:
        table = await http.get("/v1/usage/events", params={"format": "csv", "since": "2d", "success": "true"})
        lines = await http.get("/v1/usage/events", params={"format": "jsonl"})
        audited = await server.application.host.offices.audit.read(tenant_id="local")
    for answer, form in ((table, "csv"), (lines, "jsonl")):
        told = ExportMetadata.model_validate_json(answer.headers["usage-export"])
        digest = hashlib.sha256(answer.content)
        assert told.sha256 == digest.hexdigest()
        assert answer.headers["repr-digest"] == f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
        assert (told.bytes, told.format, told.tenant_id) == (len(answer.content), form, "local")
        assert answer.headers["content-disposition"].startswith("attachment; ")
    rows = list(csv.DictReader(io.StringIO(table.text)))
    told = ExportMetadata.model_validate_json(table.headers["usage-export"])
    assert told.filters == {"success": "true"}
    assert (told.events, told.sums.turns, told.sums.audio_ms_in) == (4, 4, 240_000)
    assert [row["audio_in_s"] for row in rows] == ["60.000"] * 4
    assert "'" + FORMULA in {row["user_id"] for row in rows}
    whole = [json.loads(line) for line in lines.text.splitlines()]
    assert [event["request_id"] for event in whole] == [f"turn_{n}" for n in range(1, 6)]
    assert [(row.action, row.actor_id) for row in audited] == [("usage.exported", "local")] * 2
    assert hashlib.sha256(lines.content).hexdigest() in audited[1].details


async def test_a_file_that_would_be_too_large_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(tmp_path, [turn(n) for n in range(3)])
    monkeypatch.setattr("server.usage_export.MOST_BYTES", 10)
    async with served(tmp_path) as server, client(server) as http:
        answer = await http.get("/v1/usage/events", params={"format": "csv"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request.too_large")
    assert "tmp" not in {name[:3] for name in os.listdir(tmp_path)}


async def test_reports_are_by_day_person_agent_and_provider(tmp_path: Path) -> None:
    today = now_ms() // DAY_MS * DAY_MS
    record(tmp_path, [turn(n, at=today - n * DAY_MS, user="ada" if n < 3 else "@bob") for n in range(1, 6)])
    record(tmp_path, [turn(7, at=today - DAY_MS, tenant="other")])
    async with served(tmp_path, ledger=sheets(tmp_path / "prices")) as server, client(server) as http:

        async def report(by: str, **asked: str) -> UsageReportResponse:
            answer = await http.get("/v1/usage/report", params={"by": by, "since": "30d"} | asked)
            return UsageReportResponse.model_validate_json(answer.content)

        told = {by: await report(by) for by in ("day", "user", "agent", "provider")}
        narrowed = await report("user", agent="class-4a", user="ada")
        table = await http.get("/v1/usage/report", params={"by": "user", "since": "30d", "format": "csv"})
        audited = await server.application.host.offices.audit.read(tenant_id="local")
    assert [row.action for row in audited] == ["usage.exported"]
    for by, each in told.items():
        assert (each.total.sums.turns, each.total.sums.audio_ms_in) == (5, 300_000), by
        assert [(cost.currency, cost.micros) for cost in each.total.cost] == [("EUR", 300_000)], by
        assert sum(cost.micros for row in each.rows for cost in row.cost) == 300_000, by
        assert [(work.provider, work.meter) for work in each.total.unpriced] == [("openai", "output_tokens")], by
    assert [row.sums.turns for row in told["day"].rows if row.sums] == [1] * 5
    assert [(row.key, row.sums.turns) for row in told["user"].rows if row.sums] == [("@bob", 3), ("ada", 2)]
    assert [(row.key, row.sums.turns) for row in told["agent"].rows if row.sums] == [("class-3b", 3), ("class-4a", 2)]
    heard, thought = told["provider"].rows
    assert (heard.key, heard.model, heard.amounts, heard.complete) == (
        "azure",
        "conversation",
        {"audio_ms_in": 300_000},
        True,
    )
    assert (thought.key, thought.complete, thought.cost) == ("openai", False, ())
    assert [(row.key, row.sums.turns) for row in narrowed.rows if row.sums] == [("ada", 1)]
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert [(row["user"], row["turns"], row["cost"], row["currency"], row["cost_complete"]) for row in rows] == [
        ("'@bob", "3", "0.180000", "EUR", "false"),
        ("ada", "2", "0.120000", "EUR", "false"),
    ]


async def test_a_report_by_person_has_a_row_for_those_who_talked_most_and_the_others_together(tmp_path: Path) -> None:
    today = now_ms() // DAY_MS * DAY_MS
    people = ("ada", "bob", "cleo", "cleo", "bob", "cleo", "dan")
    record(tmp_path, [turn(n, at=today - n * DAY_MS, user=user) for n, user in enumerate(people)])
    record(tmp_path, [turn(n + 20, at=today, tenant="other", user="cleo") for n in range(3)])
    async with served(tmp_path, ledger=sheets(tmp_path / "prices")) as server, client(server) as http:

        async def report(**asked: str) -> UsageReportResponse:
            answer = await http.get("/v1/usage/report", params={"by": "user", "since": "30d"} | asked)
            return UsageReportResponse.model_validate_json(answer.content)

        everybody, some, one = await report(), await report(limit="2"), await report(limit="1", user="dan")
        exactly = await report(limit="4")
    assert (everybody.others, everybody.truncated, exactly.others, exactly.truncated) == (None, False, None, False)
    assert some.rows == everybody.rows[:2]
    assert [row.key for row in some.rows] == ["cleo", "bob"]
    assert some.total == everybody.total
    assert some.truncated
    assert some.others is not None
    assert (some.others.sums.turns, some.others.sums.audio_ms_in, some.others.complete) == (2, 120_000, False)
    assert [cost.micros for cost in some.others.cost] == [120_000]
    assert [(row.key, row.sums.turns) for row in one.rows if row.sums] == [("dan", 1)]
    assert (one.others, one.total.sums.turns) == (None, 1)


async def test_what_a_tenant_pays_its_provider_itself_is_in_the_total_and_not_due(tmp_path: Path) -> None:
    at = 1_790_000_000_000
    managed = replace(turn(2, at=at), mode="managed", audio_ms_in=30_000)
    record(tmp_path, [turn(1, at=at), managed])
    async with served(tmp_path, ledger=sheets(tmp_path / "prices")) as server, client(server) as http:
        answer = InvoiceResponse.model_validate_json((await http.get("/v1/usage/invoices/2026-09")).content)
    assert [(money.currency, money.micros) for money in answer.due] == [("EUR", 30_000)]
    assert [(money.currency, money.micros) for money in answer.total] == [("EUR", 90_000)]


async def test_a_closed_months_invoice_stays_and_what_comes_later_is_told_beside_it(tmp_path: Path) -> None:
    at = 1_790_000_000_000  # in September 2026
    record(tmp_path, [turn(1, at=at), turn(2, at=at), turn(3, at=at, tenant="other")])
    async with served(tmp_path, ledger=sheets(tmp_path / "prices")) as server, client(server) as http:

        async def invoice() -> InvoiceResponse:
            answer = await http.get("/v1/usage/invoices/2026-09")
            return InvoiceResponse.model_validate_json(answer.content)

        opened = await invoice()
        assert (opened.status, [(t.currency, t.micros) for t in opened.total]) == ("open", [("EUR", 120_000)])
        ledger = SqliteLedger(tmp_path / "usage.sqlite3")
        close_month(ledger, "2026-09", price_book(server.application.settings), at + 40 * DAY_MS)
        closed = await invoice()
        assert (closed.status, closed.lines, closed.total) == ("closed", opened.lines, opened.total)
        assert closed.corrections == ()
        ledger.append([as_correction(turn(1, at=at), replace(turn(1, at=at), audio_ms_in=10_000)), turn(4, at=at)])
        dearer = SHEET.replace("0.06", "6").replace("2020-01-01", "2026-08-01")
        (tmp_path / "prices" / "dearer.toml").write_text(dearer)
        late = await invoice()
        ledger.close()
    assert (late.lines, late.total) == (closed.lines, closed.total)
    heard = [line for line in late.corrections if line.meter == "audio_ms_in"]
    assert [(line.amount, line.micros) for line in heard] == [(10_000, 10_000)]  # 50 s less, and a further minute
    assert [(money.currency, money.micros) for money in late.corrections_total] == [("EUR", 10_000)]
