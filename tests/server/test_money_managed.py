"""The managed lane on a real server: whose keys pay, what it costs to the micro-unit, and models nobody can price."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from money_talk import ask, limits, used

from agents.models.port import ModelProfile
from metering.ledger import PageRequest, UsageQuery
from tests.scripted_server import EchoModel, Served, scripted_engines, served


class Service(EchoModel):
    """A model elsewhere, on the operator's key."""

    @property
    def profile(self) -> ModelProfile:
        return ModelProfile("openai", "gpt-x", tools=False)


SCHOOL = "a-key-of-the-school-1"
PRICES = """
schema = 1
provider = "openai"
currency = "EUR"
valid_from = 2020-01-01
status = "confirmed"
source = "a test"
[[price]]
meter = "input_tokens"
per = "thousand"
price = "1.00"
[[price]]
meter = "output_tokens"
per = "thousand"
price = "2.00"
"""


@asynccontextmanager
async def school(
    tmp_path: Path, prices: str = PRICES, **budgets: Any
) -> AsyncGenerator[tuple[Served, httpx.AsyncClient]]:
    """A tenant that brought no keys, on a service that costs money."""
    sheets = tmp_path / "prices"
    sheets.mkdir()
    (sheets / "openai.toml").write_text(prices)
    tenants = [{"id": "school", "api_keys": [SCHOOL]}]
    given = {"tenants": tenants, "ledger": {"price_sheets": sheets}, "budgets": {"consent": "auto"} | budgets}
    async with (
        served(tmp_path, scripted_engines(Service()), **given) as server,
        httpx.AsyncClient(
            base_url=server.url, trust_env=False, timeout=20, headers={"Authorization": f"Bearer {SCHOOL}"}
        ) as http,
    ):
        yield server, http


async def test_asking_for_anothers_keys_is_refused_by_name_and_the_lane_is_in_the_usage(tmp_path: Path) -> None:
    async with school(tmp_path) as (server, http):
        refused = await ask(http, mode="byok")
        assert refused.json()["error"]["code"] == "byok.missing_key"
        assert (await ask(http)).status_code == httpx.codes.OK
        events = server.application.host.ledger.read(UsageQuery(), PageRequest()).events
        assert [event.mode for event in events] == ["managed"]


async def test_money_of_the_managed_lane_is_counted_to_the_micro_unit_and_ends_with_payment_required(
    tmp_path: Path,
) -> None:
    async with school(tmp_path, limits=limits(("tenant", "monthly", "money", "100"))) as (_, http):
        assert (await ask(http)).status_code == httpx.codes.OK
        (item,) = await used(http)
        assert (item["used"], item["currency"]) == ("0.018", "EUR")  # 10 tokens asked, 4 answered
        operator = {"limits": [{"scope": "tenant", "period": "monthly", "measure": "money", "amount": "0.02"}]}
        assert (await http.put("/v1/budgets", json=operator)).status_code == httpx.codes.OK
        refused = await ask(http)
        assert refused.status_code == httpx.codes.PAYMENT_REQUIRED
        assert refused.json()["error"]["code"] == "billing.payment_required"
        assert [each["used"] for each in await used(http)] == ["0.018"]


@pytest.mark.parametrize(
    ("prices", "reason"),
    [
        (PRICES.replace("confirmed", "example"), "openai gpt-x has no price for output_tokens"),
        (PRICES.replace("EUR", "USD"), "openai gpt-x is priced in USD, not in EUR"),
    ],
)
async def test_with_a_budget_a_model_without_a_usable_price_is_closed_and_that_is_said(
    tmp_path: Path, prices: str, reason: str
) -> None:
    async with school(tmp_path, prices, limits=limits(("tenant", "monthly", "money", "100"))) as (_, http):
        refused = await ask(http)
        assert refused.status_code == httpx.codes.PAYMENT_REQUIRED
        assert refused.json()["error"]["details"] == {"reason": reason}
