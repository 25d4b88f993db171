"""Prices, costs and closed months on the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from postgres_server import PostgresServer

from metering.identity import event_id
from metering.usage import StageProvider, UsageEvent
from server.cli import examination, price, usage
from server.ledgers import open_ledger
from server.offices import open_records
from server.settings import Settings, SettingsError, load_settings

SHEET = """
schema = 1
provider = "azure"
currency = "EUR"
valid_from = 2020-01-01
status = "{status}"
source = "a test"
[[price]]
meter = "audio_ms_in"
per = "hour"
price = "{amount}"
"""
JANUARY_MS = 1_767_225_600_000  # 2026-01-01


def event(number: int, provider: str = "azure") -> UsageEvent:
    request = f"req_{number}"
    return UsageEvent(
        event_id=event_id("local", request),
        request_id=request,
        tenant_id="local",
        user_id="local",
        session_id="ses",
        agent_id="default",
        mode="byok",
        started_at=JANUARY_MS,
        ended_at=JANUARY_MS,
        providers={"stt": StageProvider(provider, "conversation")},
        audio_ms_in=1_800_000,
    )


def configured(directory: Path, *events: UsageEvent, amount: str = "2", url: str | None = None) -> Path:
    """Settings with one sheet, and these events in the ledger."""
    sheets = directory / "prices"
    sheets.mkdir(exist_ok=True)
    (sheets / "azure.toml").write_text(SHEET.format(status="confirmed", amount=amount))
    config = directory / "convergio.toml"
    where = "" if url is None else f'url = "{url}"\n'
    config.write_text(f'data_dir = "{directory / "data"}"\n[ledger]\nprice_sheets = "{sheets}"\n{where}')
    ledger = open_ledger(load_settings(config))
    ledger.append(events)
    ledger.close()
    return config


def run(command: object, *arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(command, [*map(str, arguments)], standalone_mode=False)  # pyright: ignore[reportArgumentType]
    if done.exception is not None:
        raise done.exception
    return done.return_value, done.stdout, done.stderr


def test_usage_shows_the_cost_and_what_has_no_price(tmp_path: Path) -> None:
    config = configured(tmp_path, event(1), event(2), event(3, "elsewhere"), event(4, "whisper"))
    code, out, err = run(usage.command, "--config", config)
    assert code == 0
    assert "cost 2.000000 EUR" in out
    assert "XXX" not in out
    assert err == "not in the cost: elsewhere conversation: no price for audio_ms_in\n"


def test_usage_and_closing_work_on_postgresql(tmp_path: Path, postgres: PostgresServer) -> None:
    config = configured(tmp_path, event(1), url=postgres.database())
    assert "cost 1.000000 EUR" in run(usage.command, "--config", config)[1]
    assert not (tmp_path / "data" / "usage.sqlite3").exists()
    assert "total 1.000000 EUR" in run(price.command, "close", "2026-01", "--config", config)[1]


def test_doctor_looks_at_the_ledger_and_the_prices(tmp_path: Path, postgres: PostgresServer) -> None:
    def found(config: Path) -> tuple[str, str]:
        finding = examination._ledger(load_settings(config))
        return finding.verdict, finding.found

    assert found(configured(tmp_path)) == ("ok", "SQLite")
    config = configured(tmp_path, url=postgres.database())
    assert found(config) == ("ok", "PostgreSQL")
    config.write_text(config.read_text().replace(str(postgres.port), "1"))
    verdict, words = found(config)
    assert (verdict, words.startswith("the usage ledger cannot be used: ")) == ("wrong", True)
    (tmp_path / "prices" / "azure.toml").write_text("schema = 0")
    assert "schema must be 1" in found(config)[1]


def test_a_closed_month_keeps_its_prices(tmp_path: Path) -> None:
    config = configured(tmp_path, event(1))
    code, out, _ = run(price.command, "close", "2026-01", "--config", config, "--json")
    statement = json.loads(out)
    assert code == 0
    assert [(line["amount"], line["currency"], line["micros"]) for line in statement["lines"]] == [
        (1_800_000, "EUR", 1_000_000)
    ]
    configured(tmp_path, amount="50")
    assert json.loads(run(price.command, "close", "2026-01", "--config", config, "--json")[1]) == statement
    assert "cost 1.000000 EUR" in run(usage.command, "--config", config)[1]
    records = open_records(load_settings(config))
    with records.read() as connection:
        told = connection.execute(sa.text("SELECT action, target, actor_id FROM audit_log")).all()
    records.close()
    assert [tuple(row) for row in told] == [("period.closed", "2026-01", "cli")], "once"


@pytest.mark.parametrize("month", ["2026-13", "january", "2026-1"])
def test_what_is_no_month_is_told(tmp_path: Path, month: str) -> None:
    with pytest.raises(Exception, match="is not a month such as 2026-09"):
        run(price.command, "close", month, "--config", configured(tmp_path))


def test_check_says_what_is_wrong_and_fails(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text(SHEET.format(status="example", amount="1"))
    bad.write_text(SHEET.format(status="confirmed", amount="-1"))
    code, out, err = run(price.command, "check", good)
    assert (code, err) == (0, "")
    assert "good.toml: azure, 1 price in EUR from 2020-01-01 (an example" in out
    code, _, err = run(price.command, "check", tmp_path)
    assert code == 1
    assert 'bad.toml: price 1: price must be an amount such as "0.15"' in err


def test_check_finds_sheets_that_contradict_each_other(tmp_path: Path) -> None:
    config = configured(tmp_path)
    (tmp_path / "prices" / "again.toml").write_text(SHEET.format(status="confirmed", amount="3"))
    code, _, err = run(price.command, "check", "--config", config)
    assert code == 1
    assert "prices azure from 2020-01-01 too" in err


def test_list_tells_every_price_and_whether_it_counts(tmp_path: Path) -> None:
    code, out, _ = run(price.command, "list", "--config", configured(tmp_path))
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert any(row[:4] == ["azure", "*", "audio_ms_in", "2"] and "confirmed" in row for row in rows)
    assert any(row[0] == "openai" and "example" in row for row in rows)


@pytest.mark.parametrize(
    ("ledger", "words"),
    [
        ({"url": "mysql://somebody:a-secret@host/usage"}, "ledger.url must start with postgresql://"),
        ({"price_sheets": "/nowhere/at/all"}, "there is no directory /nowhere/at/all"),
    ],
)
def test_settings_that_cannot_be_meant_are_told_without_the_secret(ledger: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(ledger=ledger)
    assert words in str(caught.value)
    assert "a-secret" not in str(caught.value)


def test_the_ledgers_address_is_a_secret() -> None:
    settings = Settings(ledger={"url": "postgresql://somebody:a-secret@host/usage"})  # pyright: ignore[reportArgumentType]
    assert "a-secret" not in repr(settings) + str(settings.model_dump())


def test_events_without_a_price_do_not_stop_a_closing(tmp_path: Path) -> None:
    config = configured(tmp_path, replace(event(1), providers={}))
    assert "no price" in run(price.command, "close", "2026-01", "--config", config)[1]
