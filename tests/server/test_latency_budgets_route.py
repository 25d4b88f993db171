"""``GET /v1/latency-budgets`` and ``convergio-voice budgets``: what a server's budgets are, and for whom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from agents.core.budget import STAGES
from agents.core.budget_profiles import PROFILES, profile
from server.cli.main import cli
from server.contracts.latency_budget import LatencyBudgetList
from tests.scripted_server import Served, served

OWN, SCHOOL, CLINIC = "the-servers-own-key-1", "a-key-of-the-school-1", "a-key-of-the-clinic-1"
TENANTS = ({"id": "school", "api_keys": [SCHOOL]}, {"id": "clinic", "api_keys": [CLINIC]})
LATENCY = {
    "profile": "azure",
    "rules": [
        {"tenant": "school", "locale": "de", "stages": {"agent": {"deadline_ms": 1_200, "on_breach": ["filler"]}}}
    ],
}
PATH = "/v1/latency-budgets"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


async def asked(server: Served, key: str | None = None, **query: str) -> httpx.Response:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, trust_env=False, timeout=10) as http:
        return await http.get(PATH, params=query)


def told(answer: httpx.Response) -> LatencyBudgetList:
    assert answer.status_code == 200, answer.text
    return LatencyBudgetList.model_validate_json(answer.content)


async def test_the_profiles_are_shown_whole_with_what_may_be_changed(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        shown = told(await asked(server))
    assert (shown.enforced, shown.speculates, shown.default.profile) == (True, True, "embedded")
    assert [each.profile for each in shown.profiles] == list(PROFILES)
    for each in shown.profiles:
        budget = profile(each.profile)  # type: ignore[arg-type]
        assert each.version == budget.version
        assert list(each.stages) == list(STAGES)
        assert all(each.stages[stage].deadline_ms == budget.stages[stage].deadline_ms for stage in STAGES)
    agent = shown.permitted["agent"]
    assert (agent.shortest_deadline_ms, agent.longest_deadline_ms) == (750, 4_500)
    assert agent.on_breach == profile("embedded").stages["agent"].on_breach
    assert shown.permitted["barge_in"].on_breach == ()


async def test_everybody_is_shown_their_own_and_the_operator_anybodys(tmp_path: Path) -> None:
    async with served(tmp_path, tenants=TENANTS, api_keys=(OWN,), latency=LATENCY) as server:
        german = told(await asked(server, SCHOOL, locale="de-CH"))
        english = told(await asked(server, SCHOOL))
        operators = told(await asked(server, OWN, tenant="school", locale="de", agent="default"))
        patient = told(await asked(server, CLINIC, patience="patient"))
        strangers = await asked(server, CLINIC, tenant="school")
        nobody = await asked(server)
    assert german.default.stages["agent"].deadline_ms == 1_200
    assert german.permitted["agent"].on_breach == ("filler",)
    assert german.default.version == operators.default.version != english.default.version == "1"
    assert patient.default.profile == "accessibility"
    assert (strangers.status_code, nobody.status_code) == (403, 401)
    assert strangers.json()["error"]["code"] == "auth.forbidden"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"agent": "nobody"}, "no agent of that name"),
        ({"tenant": "nobody"}, "no tenant of that name"),
        ({"locale": "not a tag"}, "locale must be"),
        ({"patience": "endless"}, "patience must be one of"),
        ({"profile": "azure"}, "no filter called profile"),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(tmp_path: Path, query: dict[str, str], words: str) -> None:
    async with served(tmp_path) as server:
        answer = await asked(server, **query)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


async def test_the_command_line_shows_the_same_as_the_server(tmp_path: Path) -> None:
    file = tmp_path / "convergio.toml"
    file.write_text('[latency]\nenforce = false\n[latency.stages.agent]\non_breach = ["filler"]\n')
    run = CliRunner().invoke(cli, ["budgets", "--config", str(file), "--patient", "--json"])
    latency: dict[str, Any] = {"enforce": False, "stages": {"agent": {"on_breach": ["filler"]}}}
    async with served(tmp_path / "data", latency=latency) as server:
        answer = (await asked(server, patience="patient")).json()
    assert answer.pop("request_id")
    assert json.loads(run.output) == answer


def test_the_table_names_every_stage_and_profile(tmp_path: Path) -> None:
    run = CliRunner().invoke(cli, ["budgets"])
    assert run.exit_code == 0
    for word in (*STAGES, *PROFILES, "750-4500", "hedge, fallback, shorten, filler, apologize"):
        assert word in run.output
    assert "no tenant called school" in CliRunner().invoke(cli, ["budgets", "--tenant", "school"]).output
