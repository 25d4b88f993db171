"""Sums by person, further filters, places in the ledger: what ledgers promise to reports and webhooks."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from postgres_server import PostgresServer
from test_ledger_contract import KINDS, all_events, corrected, new_ledger, turn

from metering.identity import as_correction
from metering.ledger import Ledger, PageRequest, UsageQuery
from metering.postgres.ledger import PostgresLedger
from metering.pricing.book import PriceBook
from metering.rollup import DAY_MS, Rollup
from metering.sql_reader import Snapshot
from metering.sqlite_ledger import SqliteLedger
from metering.usage_report import ReportQuery, usage_report
from metering.user_sums import UserQuery, folded_amounts, folded_users


@pytest.fixture(params=KINDS)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    opened = new_ledger(request.param, request, tmp_path)
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", "postgres"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqliteLedger | PostgresLedger]:
    opened = new_ledger(request.param, request, tmp_path)
    assert isinstance(opened, SqliteLedger | PostgresLedger)
    yield opened
    opened.close()


def test_what_people_used_is_summed_and_corrections_count_in_place_of_what_they_replace(ledger: Ledger) -> None:
    ledger.append([turn(1), turn(2), turn(3), turn(4, "business")])
    ledger.append([corrected(1, 1), corrected(1, 2)])
    told = {(row.tenant_id, row.user_id): row.sums for row in ledger.users(UserQuery())}
    assert list(told) == [("business", "user_0"), ("school", "user_0"), ("school", "user_1")]
    mended = told["school", "user_1"]
    assert (mended.events, mended.turns, mended.audio_ms_in, mended.output_tokens) == (2, 2, 1 + 200 + 3, 2 + 6)
    heard = [row for row in ledger.user_amounts(UserQuery("school")) if row.meter == "audio_ms_in"]
    assert [(row.user_id, row.provider, row.amount, row.whole_seconds) for row in heard] == [
        ("user_0", "whisper", 2, 1),
        ("user_1", "whisper", 204, 2),
    ]


def test_a_correction_that_comes_before_what_it_corrects_counts_once(ledger: Ledger) -> None:
    ledger.append([corrected(3, 1)])
    ledger.append([turn(3)])
    (row,) = ledger.users(UserQuery())
    assert (row.sums.events, row.sums.audio_ms_in) == (1, 103)


def test_sums_are_asked_for_by_person_agent_and_period(ledger: Ledger) -> None:
    ledger.append([replace(turn(n), started_at=n * DAY_MS) for n in range(8)])
    ledger.append([as_correction(turn(1), turn(1))])  # of an event that began on another day than it says: a new fact

    def events(query: UserQuery) -> dict[str, int]:
        return {row.user_id: row.sums.events for row in ledger.users(query)}

    assert events(UserQuery(first_day=2, day_before=6)) == {"user_0": 2, "user_1": 2}
    assert events(UserQuery(user_ids=("user_1",), first_day=2, day_before=6)) == {"user_1": 2}
    assert events(UserQuery(agent_id="agent_2", first_day=2)) == {"user_0": 2}
    assert events(UserQuery(tenant_id="nobody")) == {}
    assert {row.user_id for row in ledger.user_amounts(UserQuery(user_ids=("user_0",)))} == {"user_0"}


def test_those_who_talked_most_are_named_first(ledger: Ledger) -> None:
    """``turn`` speaks as long as its number."""
    whose = ("ada", "bob", "cleo", "dan", "bob")
    ledger.append([replace(turn(n, "school"), user_id=who) for n, who in enumerate(whose, start=1)])
    ledger.append([replace(turn(9, "business"), user_id="ada"), replace(turn(8, "business"), started_at=9 * DAY_MS)])
    spoken = {who: sum(n for n, each in enumerate(whose, start=1) if each == who) for who in whose}
    ranked = [("school", who) for who in sorted(spoken, key=lambda who: -spoken[who])]
    everybody = UserQuery(first_day=0, day_before=1)
    assert ledger.busiest(UserQuery("school"), 10) == tuple(ranked)
    assert ledger.busiest(UserQuery("school"), 2) == tuple(ranked[:2])
    assert ledger.busiest(everybody, 3) == (("business", "ada"), *ranked[:2])
    assert ledger.busiest(UserQuery("nobody"), 3) == ()
    for tenant, who in ledger.busiest(everybody, 3):
        for days in ((0, 1), (0, 5_000), (None, None)):
            (row,) = ledger.users(UserQuery(tenant, None, (who,), *days))
            assert (row.tenant_id, row.user_id) == (tenant, who)
            assert {each.user_id for each in ledger.user_amounts(UserQuery(tenant, None, (who,), *days))} == {who}
    several = ledger.users(UserQuery("school", user_ids=("dan", "ada", "nobody"), first_day=0, day_before=3))
    assert [row.user_id for row in several] == ["ada", "dan"]
    assert ledger.users(UserQuery("school", user_ids=())) == ()


def test_a_report_is_of_one_moment_whoever_talks_meanwhile(
    kept: SqliteLedger | PostgresLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.append([turn(1), turn(2), turn(4)])  # ``user_1``, and ``user_0`` twice
    later, ask = itertools.count(6, 2), Snapshot._ask

    def meanwhile(seen: Snapshot, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        kept.append([turn(next(later)), corrected(4, 1) if sql.startswith("SELECT user_id") else turn(2)])
        return ask(seen, sql, values)

    monkeypatch.setattr(Snapshot, "_ask", meanwhile)
    report = usage_report(kept, ReportQuery("user", 0, 1, "school", most=1), PriceBook([]))
    assert report.others is not None
    assert report.others.sums is not None
    assert (report.others.sums.events, report.others.sums.audio_ms_in) == (1, 1)
    (row,) = report.rows
    assert row.sums is not None
    assert report.totals == row.sums.plus(report.others.sums)
    assert kept.totals(UsageQuery()).events > report.totals.events


def test_events_are_chosen_by_lane_and_outcome_and_so_are_their_totals(ledger: Ledger) -> None:
    ledger.append([turn(4), turn(5), replace(turn(6), mode="embedded")])
    assert all_events(ledger, UsageQuery(success=False)) == [turn(5)]
    assert all_events(ledger, UsageQuery(mode="byok", success=True)) == [turn(4)]
    assert ledger.totals(UsageQuery(mode="embedded")).events == 1
    assert ledger.totals(UsageQuery(success=False)).failed == 1


def test_every_event_has_a_place_from_which_reading_goes_on_and_what_waits_behind_it_is_counted(
    ledger: Ledger,
) -> None:
    ledger.append([turn(n) for n in range(1, 5)])
    page = ledger.read(UsageQuery(), PageRequest())
    assert page.cursor is None
    assert len(page.sequences) == 4
    assert list(page.sequences) == sorted(page.sequences)
    ledger.append([turn(5), turn(6, "business")])
    onwards = ledger.read(UsageQuery(tenant_id="school"), PageRequest(cursor=page.sequences[-1]))
    assert onwards.events == (turn(5),)
    assert ledger.backlog(UsageQuery(), page.sequences[1], 100) == 4
    assert ledger.backlog(UsageQuery(), page.sequences[1], 3) == 3
    assert ledger.backlog(UsageQuery(tenant_id="business"), 0, 100) == 1


def expected_of(ledger: Ledger) -> None:
    rollup = Rollup.of(all_events(ledger))
    assert ledger.users(UserQuery()) == folded_users(rollup.users, UserQuery()) != ()
    assert ledger.user_amounts(UserQuery()) == folded_amounts(rollup.user_amounts, UserQuery()) != ()


def test_a_file_of_the_version_before_gets_the_sums_of_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    ledger = SqliteLedger(path)
    ledger.append([turn(n) for n in range(5)])
    ledger.append([corrected(2, 1)])
    ledger.close()
    connection = sqlite3.connect(path)
    for name in ("no_update", "no_delete", "purged"):
        connection.execute(f"DROP TRIGGER usage_events_{name}")
    for table in ("usage_users_daily", "usage_users_amounts", "usage_purges"):
        connection.execute(f"DROP TABLE {table}")
    connection.execute("PRAGMA user_version = 6")
    connection.commit()
    connection.close()
    ledger = SqliteLedger(path)
    expected_of(ledger)
    ledger.close()


def test_a_database_of_the_version_before_gets_the_sums_of_what_it_holds(postgres: PostgresServer) -> None:
    url = postgres.database()
    ledger = PostgresLedger(url)
    ledger.append([turn(n) for n in range(5)])
    ledger.append([corrected(2, 1)])
    ledger.close()
    with psycopg.connect(url) as connection:
        connection.execute("DROP TABLE usage_users_daily, usage_users_amounts, usage_purges")
        for trigger in ("pseudonyms_only", "purged_only"):
            connection.execute(f"DROP FUNCTION convergio_usage_{trigger} CASCADE")
        connection.execute("UPDATE convergio_usage_version SET version_num = '0003'")
    ledger = PostgresLedger(url)
    expected_of(ledger)
    ledger.close()
