"""``convergio-voice usage --by`` and ``convergio-voice webhooks``."""

from __future__ import annotations

import csv
import io
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from metering.rollup import DAY_MS
from metering.sqlite_ledger import SqliteLedger
from metering.usage import UsageEvent
from server.cli.main import cli
from server.offices import Offices, open_records
from server.settings import load_settings
from server.webhooks import store
from tests.metering.usage_events import numbered
from tests.server.webhooks.webhook_receiver import SECRET

TODAY = time.time_ns() // 1_000_000 // DAY_MS * DAY_MS


def run(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(cli, list(arguments), standalone_mode=False)
    if code:
        assert done.exception is not None
        return str(getattr(done.exception, "message", done.exception))
    assert done.exception is None, done.exception
    return done.stdout


def turn(number: int, day: int = 0, user: str = "ada") -> UsageEvent:
    event = numbered(number, tenant="school")
    return replace(event, started_at=TODAY - day * DAY_MS, user_id=user, audio_ms_in=60_000, audio_ms_out=0)


def record(data_dir: Path, *events: UsageEvent) -> None:
    ledger = SqliteLedger(data_dir / "usage.sqlite3")
    ledger.append(events)
    ledger.close()


@pytest.fixture
def where(tmp_path: Path) -> tuple[str, str]:
    record(tmp_path, turn(1), turn(2, 1, "[red]bob"), turn(3, 1, "=cmd()"), turn(4, 45))
    return "--data-dir", str(tmp_path)


def test_sums_are_shown_as_a_table_by_person_with_nothing_taken_for_markup(where: tuple[str, str]) -> None:
    lines = run("usage", *where, "--by", "user", "--since", "30d").splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["=cmd()", "[red]bob", "ada"]
    assert lines[-1].split()[:3] == ["total", "3", "180.000"]


def test_of_many_people_those_who_talked_most_are_shown_and_the_others_together(where: tuple[str, str]) -> None:
    record(Path(where[1]), turn(5, 1), turn(6, 2))
    asked = ("usage", *where, "--by", "user", "--since", "30d", "--most", "1")
    lines = run(*asked).splitlines()
    assert [" ".join(line.split()[:2]) for line in lines[1:3]] == ["ada school", "everybody else"]
    assert (lines[1].split()[2], lines[2].split()[2]) == ("3", "2")
    assert lines[-1].split()[:3] == ["total", "5", "300.000"]
    assert [line.split("  ")[0] for line in run(*asked, "--chart").splitlines()] == ["ada", "everybody else"]
    told = json.loads(run(*asked, "--json"))
    assert [row["key"] for row in told["rows"]] == ["ada"]
    assert told["others"]["sums"]["audio_ms_in"] == 120_000
    assert "others" not in json.loads(run(*asked[:-2], "--json"))
    assert "by user" in run("usage", *where, "--by", "day", "--most", "1", code=1)
    assert "everybody" in run(*asked, "--csv", code=1)


def test_people_of_one_name_in_two_tenants_are_told_apart_in_the_chart(where: tuple[str, str]) -> None:
    record(Path(where[1]), replace(numbered(9, tenant="club"), started_at=TODAY, user_id="ada", audio_ms_in=60_000))
    lines = run("usage", *where, "--by", "user", "--since", "30d", "--chart").splitlines()
    assert {line.split("  ")[0] for line in lines if line.startswith("ada")} == {"ada (club)", "ada (school)"}


def test_sums_are_drawn_by_day(where: tuple[str, str]) -> None:
    one, two = run("usage", *where, "--by", "day", "--since", "2d", "--chart").splitlines()
    assert (one.count("█"), two.count("█")) == (40, 20)
    assert one.endswith("2.0 min")
    assert "--by" in run("usage", *where, "--chart", code=1)


def test_sums_are_written_as_csv_and_json(where: tuple[str, str]) -> None:
    rows = list(csv.DictReader(io.StringIO(run("usage", *where, "--by", "user", "--since", "30d", "--csv"))))
    assert {(row["user"], row["audio_in_s"]) for row in rows} == {
        ("'=cmd()", "60.000"),
        ("[red]bob", "60.000"),
        ("ada", "60.000"),
    }
    document = json.loads(run("usage", *where, "--by", "provider", "--since", "30d", "--json"))
    assert {(row["key"], row["model"]) for row in document["rows"]} == {
        ("piper", "joe"),
        ("whisper", "base.en"),
        ("unknown", "unknown"),
    }
    assert document["total"]["sums"]["audio_ms_in"] == 180_000


def test_a_month_or_the_last_days_choose_events_too(where: tuple[str, str]) -> None:
    day = time.strftime("%Y-%m", time.gmtime((TODAY - 45 * DAY_MS) / 1_000))
    assert len(run("usage", *where, "--month", day, "--json").splitlines()) == 1
    assert len(run("usage", *where, "--since", "2d", "--csv").splitlines()) == 4
    assert len(run("usage", *where, "--since", "2d", "--tenant", "nobody", "--json").splitlines()) == 0
    assert "is written like" in run("usage", *where, "--month", "2026-13", code=1)


# --- webhooks ---


@pytest.fixture
def webhooks(tmp_path: Path) -> tuple[str, ...]:
    record(tmp_path, *(turn(number) for number in range(5)))
    config = tmp_path / "convergio.toml"
    config.write_text(
        f'[[webhooks.endpoints]]\nid = "billing"\nurl = "https://billing.example.org/"\nsecrets = ["{SECRET}"]\n'
    )
    return "--config", str(config), "--data-dir", str(tmp_path)


def begun(where: tuple[str, ...], position: int) -> None:
    settings = load_settings(Path(where[1]), data_dir=Path(where[3]))
    records = open_records(settings)
    with records.write() as connection:
        store.ensure(connection, "billing", position)
        at = store.progress(connection, "billing")
        assert at is not None
        store.disable(connection, at, "it answered 410")
        letter = store.DeadLetter("billing", 2, "evt_dead", "school", 8, "it answered 422", 1, resend=False)
        store.bury(connection, letter)
    records.close()


async def audited(where: tuple[str, ...]) -> list[str]:
    settings = load_settings(Path(where[1]), data_dir=Path(where[3]))
    records = open_records(settings)
    try:
        return [row.action for row in await Offices(settings, records, lambda: 1).audit.read(tenant_id=None)]
    finally:
        records.close()


def test_the_status_tells_what_waits_and_why_and_shows_no_secret(webhooks: tuple[str, ...]) -> None:
    assert "not begun" in run("webhooks", "status", *webhooks)
    assert "not begun yet" in run("webhooks", "enable", "billing", *webhooks, code=1)
    begun(webhooks, 3)
    (told,) = json.loads(run("webhooks", "status", *webhooks, "--json"))
    assert (told["state"], told["waiting"], told["dead_letters"]) == ("disabled", 2, 1)
    assert told["letters"] == [{"event_id": "evt_dead", "attempts": 8, "reason": "it answered 422"}]
    text = run("webhooks", "status", *webhooks)
    assert "it answered 410" in text
    assert SECRET not in text


async def test_dead_letters_and_whole_stretches_are_sent_again_with_a_line_in_the_audit_log(
    webhooks: tuple[str, ...],
) -> None:
    begun(webhooks, 5)
    assert "1 dead letter will" in run("webhooks", "resend", "billing", *webhooks)
    assert "0 dead letters will" in run("webhooks", "resend", "billing", *webhooks)
    assert "is enabled" in run("webhooks", "enable", "billing", *webhooks)
    assert "will be sent again" in run("webhooks", "resend", "billing", "--since", "2d", *webhooks)
    (told,) = json.loads(run("webhooks", "status", *webhooks, "--json"))
    assert (told["state"], told["waiting"]) == ("active", 5)
    assert await audited(webhooks) == ["webhook.resend", "webhook.resend", "webhook.enabled", "webhook.resend"]


def test_a_receiver_that_is_not_in_the_settings_is_told(webhooks: tuple[str, ...]) -> None:
    assert "no receiver called other" in run("webhooks", "resend", "other", *webhooks, code=1)
    assert "span" in run_since(webhooks)


def run_since(webhooks: tuple[str, ...]) -> str:
    begun(webhooks, 5)
    return run("webhooks", "resend", "billing", "--since", "soon", *webhooks, code=1)
