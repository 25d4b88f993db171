"""Who is shown which budgets, and what is said while their accounts cannot be asked. On a real server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.scripted_server import served


def limit(scope: str, turns: str) -> dict[str, str]:
    return {"scope": scope, "period": "daily", "measure": "turns", "amount": turns}


async def test_what_everybody_may_spend_is_the_operators_to_know(tmp_path: Path) -> None:
    secrets = {"operator": "an-operators-long-secret", "tenant": "a-tenants-long-secret"}
    everybodys = [limit("global", "7"), limit("tenant", "3")]
    tenants = [{"id": "acme", "type": "business", "api_keys": [secrets["tenant"]]}]
    settings: dict[str, Any] = {
        "budgets": {"limits": everybodys},
        "api_keys": [secrets["operator"]],
        "tenants": tenants,
    }
    async with (
        served(tmp_path, **settings) as server,
        httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=20) as http,
    ):
        heads = {who: {"Authorization": f"Bearer {secret}"} for who, secret in secrets.items()}
        more = {"scope": "global", "minutes": 5, "percent": 150, "reason": "ours to know"}
        given = await http.post("/v1/budgets/overrides", json=more, headers=heads["operator"])
        assert given.status_code == httpx.codes.CREATED
        operators = (await http.get("/v1/budgets", headers=heads["operator"])).json()
        assert [item["scope"] for item in operators["budgets"]] == ["global", "tenant"]
        assert len(operators["overrides"]) == 1
        tenants_own = (await http.get("/v1/budgets", headers=heads["tenant"])).json()
        assert [item["scope"] for item in tenants_own["budgets"]] == ["tenant"]
        assert tenants_own["overrides"] == []


async def test_while_the_accounts_are_away_reports_can_be_asked_again(tmp_path: Path) -> None:
    pytest.importorskip("redis", reason="an extra")
    nowhere: dict[str, Any] = {"limits": [limit("tenant", "3")], "redis_url": "redis://127.0.0.1:1/0"}
    async with (
        served(tmp_path, budgets=nowhere) as server,
        httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=20) as http,
    ):
        for path in ("/v1/usage/current", "/v1/budgets"):
            answer = await http.get(path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "server.overloaded"), path
            assert "retry-after" in answer.headers
