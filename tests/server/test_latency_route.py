"""``GET /v1/latency/report`` and ``convergio-voice latency``: the same answer from a server and from the ledger."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import get_args

import anyio.to_thread
import httpx
import pytest
from click.testing import CliRunner
from postgres_server import PostgresServer

from agents.core.budget_profiles import profile
from metering.identity import event_id
from metering.latency_report import STAGES
from metering.sqlite_ledger import SqliteLedger
from metering.usage import StageProvider, UsageEvent
from server.cli.main import cli
from server.contracts.latency import LatencyReportResponse
from server.contracts.server_messages import StageName
from server.ledgers import open_ledger
from server.settings import load_settings
from tests.scripted_server import Served, served

KEY = "a-long-random-secret"
HOUR_MS = 3_600_000


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def turn(number: int, total_ms: int, *, ago_ms: int = 1_000, tenant: str = "local") -> UsageEvent:
    request = f"turn_{number}"
    began = now_ms() - ago_ms
    return UsageEvent(
        event_id=event_id(tenant, request),
        request_id=request,
        tenant_id=tenant,
        user_id="somebody",
        session_id="ses_1",
        agent_id="default" if number % 2 else "other",
        mode="byok",
        started_at=began,
        ended_at=began + 10,
        providers={"agent": StageProvider("azure_openai", "gpt")},
        latency_ms={"endpoint": 380, "agent": total_ms - 380, "total": total_ms},
        latency_start_ms={"endpoint": 0, "agent": 380, "total": 0},
        transport="webrtc" if number % 2 else "websocket",
    )


def record(data_dir: Path, *events: UsageEvent) -> None:
    ledger = SqliteLedger(data_dir / "usage.sqlite3")
    ledger.append(events)
    ledger.close()


async def ask(server: Served, **filters: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        return await http.get("/v1/latency/report", params=filters, headers={"Authorization": f"Bearer {KEY}"})


def test_the_reports_stages_are_the_contracts() -> None:
    assert get_args(StageName) == STAGES


async def test_the_report_tells_percentiles_and_breaches_of_ones_own_turns_only(tmp_path: Path) -> None:
    record(tmp_path, *(turn(number, 500 + 100 * number) for number in range(1, 5)), turn(5, 9_000))
    record(tmp_path, replace(turn(8, 700), breaches={"agent": "filler"}))
    record(tmp_path, turn(6, 90_000, tenant="somebody else"), turn(7, 90_000, ago_ms=25 * HOUR_MS))
    async with served(tmp_path) as server:
        answer = await ask(server, turns="2")
    report = LatencyReportResponse.model_validate_json(answer.content)
    assert (report.turns, report.truncated) == (6, False)
    assert [stage.stage for stage in report.stages] == ["endpoint", "agent", "total"]
    total = report.stages[-1]
    assert (total.p50_ms, total.p95_ms, total.max_ms) == (700, 9_000, 9_000)
    embedded = profile("embedded").stages["total"]
    assert (total.target_ms, total.deadline_ms) == (embedded.target_ms, embedded.deadline_ms)
    assert (total.over_target, total.over_deadline) == (1, 1)
    assert [(breach.stage, breach.action, breach.turns) for breach in report.breaches] == [
        ("agent", "filler", 1),
        ("agent", "none", 1),
        ("total", "none", 1),
    ]
    assert [recent.turn_id for recent in report.recent] == ["turn_8", "turn_5"]
    agent = report.recent[1].stages[1]
    assert (agent.stage, agent.start_ms, agent.duration_ms, agent.provider) == ("agent", 380, 8_620, "azure_openai")


async def test_turns_are_held_against_the_budget_the_operator_chose_for_whoever_asks(tmp_path: Path) -> None:
    record(tmp_path, turn(1, 650))
    stages = {"agent": {"target_ms": 100, "deadline_ms": 200}, "total": {"target_ms": 1_100}}
    async with served(tmp_path, latency={"stages": stages}) as server:
        report = LatencyReportResponse.model_validate_json((await ask(server)).content)
    assert [(stage.target_ms, stage.over_target) for stage in report.stages[1:]] == [(100, 1), (1_100, 0)]
    assert [(breach.stage, breach.turns) for breach in report.breaches] == [("agent", 1)]


async def test_filters_choose_turns_and_stages(tmp_path: Path) -> None:
    record(tmp_path, turn(1, 600), turn(2, 700), turn(3, 800, ago_ms=3 * HOUR_MS))
    async with served(tmp_path) as server:
        told = {
            name: LatencyReportResponse.model_validate_json((await ask(server, **filters)).content)
            for name, filters in {
                "agent": {"agent": "other"},
                "transport": {"transport": "webrtc"},
                "span": {"since": "2h"},
                "moment": {"since": "2020-01-01T00:00:00Z"},
                "stage": {"stage": "total"},
            }.items()
        }
    assert {name: report.turns for name, report in told.items()} == {
        "agent": 1,
        "transport": 2,
        "span": 2,
        "moment": 3,
        "stage": 3,
    }
    assert [stage.stage for stage in told["stage"].stages] == ["total"]


@pytest.mark.parametrize(
    "filters",
    [
        {"since": "yesterday"},
        {"stage": "thinking"},
        {"transport": "pigeon"},
        {"turns": "51"},
        {"turns": "x"},
        {"x": "1"},
    ],
)
async def test_filters_that_mean_nothing_are_refused(tmp_path: Path, filters: dict[str, str]) -> None:
    async with served(tmp_path) as server:
        answer = await ask(server, **filters)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "request.invalid")


async def test_a_real_turn_is_in_the_report_with_how_it_came(tmp_path: Path) -> None:
    async with served(tmp_path) as server, httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        await http.post("/v1/chat", json={"prompt": "hi"})
        report = LatencyReportResponse.model_validate_json((await ask(server, turns="1", transport="http")).content)
    (recent,) = report.recent
    assert {stage.stage: stage.start_ms for stage in recent.stages} == {"agent": 0, "total": 0}


async def test_a_key_is_needed_where_there_are_keys(tmp_path: Path) -> None:
    async with served(tmp_path, api_keys=(KEY,)) as server, httpx.AsyncClient(base_url=server.url) as http:
        assert (await http.get("/v1/latency/report")).status_code == 401
        assert (await ask(server)).status_code == 200


# --- the command ---


def run(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(cli, ["latency", *arguments], standalone_mode=False)
    if code:
        assert done.exception is not None
        return str(getattr(done.exception, "message", done.exception))
    assert done.exception is None, done.exception
    return done.output


def test_the_command_draws_the_stages_and_the_newest_turns(tmp_path: Path) -> None:
    record(tmp_path, turn(1, 600), turn(2, 1_200), replace(turn(3, 4_000), interrupted=True))
    text = run("--data-dir", str(tmp_path), "--turns", "1")
    lines = text.splitlines()
    assert lines[0].startswith("3 turns since ")
    row = next(line.split() for line in lines if line.strip().startswith("total"))
    assert row[:6] == ["total", "3", "1200", "4000", "4000", "4000"]
    assert "1 × total over its deadline: nothing was done" in text
    assert "interrupted" in text
    bars = {line.split()[0]: line for line in lines if "█" in line or "▓" in line}
    assert bars.keys() == {"endpoint", "agent", "total"}
    assert bars["agent"].index("█") > bars["endpoint"].index("█")  # it begins where the wait ended
    assert bars["agent"].count("█") > bars["endpoint"].count("█")


def test_the_command_reads_a_ledger_on_postgresql(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVERGIO_LEDGER__URL", postgres.database())
    ledger = open_ledger(load_settings())
    ledger.append([turn(1, 600), turn(2, 1_200)])
    ledger.close()
    document = json.loads(run("--data-dir", str(tmp_path / "none"), "--json", "--turns", "1"))
    total = next(stage for stage in document["stages"] if stage["stage"] == "total")
    assert (document["turns"], total["p50_ms"], total["max_ms"]) == (2, 600, 1_200)
    assert [recent["turn_id"] for recent in document["recent"]] == ["turn_2"]


async def test_a_server_and_the_ledger_give_the_same_json(tmp_path: Path) -> None:
    record(tmp_path, turn(1, 600, tenant="default"), turn(2, 700, tenant="default"))
    async with served(tmp_path, api_keys=(KEY,)) as server:
        from_ledger = json.loads(run("--data-dir", str(tmp_path), "--json"))
        refused = await anyio.to_thread.run_sync(lambda: run("--url", server.url, "--api-key", "wrong", code=1))
        told = await anyio.to_thread.run_sync(lambda: run("--url", server.url, "--api-key", KEY, "--json"))
    from_server = json.loads(told)
    assert "credentials" in refused
    assert from_server["stages"] == from_ledger["stages"]
    assert [recent["turn_id"] for recent in from_server["recent"]] == ["turn_2", "turn_1"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--since", "soon"), "Since must be a span"),
        (("--stage", "thinking"), "Stage must be one of"),
        (("--url", "http://127.0.0.1:9"), "cannot be asked"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    record(tmp_path, turn(1, 600))
    assert words in run("--data-dir", str(tmp_path), *arguments, code=1)


def test_without_a_ledger_it_says_so(tmp_path: Path) -> None:
    assert "there is no ledger" in run("--data-dir", str(tmp_path / "none"), code=1)
