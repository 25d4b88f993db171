"""The ledger on a real PostgreSQL: what only a database server can do to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from postgres_server import PostgresServer, running_postgres
from usage_events import TICKS, WHOLE, numbered, older

from metering.errors import LedgerIncompatible, LedgerUnavailable
from metering.ledger import DayQuery, PageRequest, UsageQuery, UsageTotals, read_all
from metering.postgres import connection as postgres_connection
from metering.postgres import migrate
from metering.postgres.ledger import PostgresLedger
from metering.rollup import Rollup

APPENDING_PROCESS = """
import sys
sys.path.insert(0, {here!r})
from usage_events import numbered
from metering.postgres.ledger import PostgresLedger
ledger = PostgresLedger({url!r})
for number in range({first}, {first} + 20):
    ledger.append([numbered(number), numbered(number % 10)])
ledger.close()
"""


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.database()


@pytest.fixture
def ledger(url: str) -> Iterator[PostgresLedger]:
    ledger = PostgresLedger(url)
    yield ledger
    ledger.close()


def execute(url: str, sql: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(sql)  # pyright: ignore[reportArgumentType, reportCallIssue]
        return cursor.fetchall() if cursor.description else []


def test_the_newest_migration_is_the_one_the_program_knows() -> None:
    config = Config()
    config.set_main_option("script_location", "metering:postgres")
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_current_head() == migrate.HEAD
    assert {script.revision for script in scripts.walk_revisions()} == migrate.KNOWN


def test_a_ledger_of_an_older_version_keeps_its_events_and_sums(url: str, ledger: PostgresLedger) -> None:
    first, second = older(numbered(1)), older(numbered(2))
    ledger.append([first, second])
    ledger.close()
    later = ("breaches", "overtaken_tokens", *WHOLE, *TICKS)
    execute(url, f"ALTER TABLE usage_events {', '.join(f'DROP COLUMN {name}' for name in later)}")
    execute(url, f"ALTER TABLE usage_daily {', '.join(f'DROP COLUMN {name}' for name in WHOLE)}")
    execute(url, "DROP TABLE usage_users_daily, usage_users_amounts")
    execute(url, "DROP TABLE usage_purges")
    for trigger in ("pseudonyms_only", "purged_only"):
        execute(url, f"DROP FUNCTION convergio_usage_{trigger} CASCADE")
    execute(url, "UPDATE convergio_usage_version SET version_num = '0001'")
    assert list(read_all(ledger, UsageQuery())) == [first, second]
    late = replace(numbered(6), breaches={"agent": "hedge"}, overtaken_tokens=6)
    assert ledger.append([late, second]) == 1
    assert list(read_all(ledger, UsageQuery())) == [first, second, late]
    assert ledger.totals(UsageQuery()) == UsageTotals.of([first, second, late])


def test_a_ledger_that_is_up_to_date_opens_without_the_migration_tool(url: str, ledger: PostgresLedger) -> None:
    ledger.append([numbered(1)])
    program = (
        "import sys; from metering.postgres.ledger import PostgresLedger; from metering.ledger import UsageQuery\n"
        f"assert PostgresLedger({url!r}).totals(UsageQuery()).events == 1\n"
        "assert not {'alembic', 'sqlalchemy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=50)


def test_several_processes_migrate_and_append_at_once(url: str) -> None:
    here = str(Path(__file__).parent)
    programs = [APPENDING_PROCESS.format(here=here, url=url, first=100 * n) for n in range(2)]
    children = [subprocess.Popen([sys.executable, "-c", program]) for program in programs]
    assert [child.wait(timeout=55) for child in children] == [0] * 2
    ledger = PostgresLedger(url)
    events = list(read_all(ledger, UsageQuery()))
    assert {event.request_id for event in events} == {
        numbered(100 * n + k).request_id for n in range(2) for k in range(20)
    }
    assert ledger.daily(DayQuery()) == Rollup.of(events).days()
    assert ledger.totals(UsageQuery()) == UsageTotals.of(events)
    ledger.close()


def test_a_page_never_passes_by_an_event_that_is_committed_later(url: str, ledger: PostgresLedger) -> None:
    ledger.append([numbered(0)])
    with psycopg.connect(url) as slow, ThreadPoolExecutor(1) as pool:
        slow.execute("SELECT pg_advisory_xact_lock(%s)", (migrate.APPEND_LOCK,))  # another server, amid an append
        waiting = pool.submit(ledger.append, [numbered(1)])
        page = ledger.read(UsageQuery(), PageRequest())
        assert page.events == (numbered(0),)
        assert not waiting.done()
        slow.rollback()
        assert waiting.result(timeout=30) == 1


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE usage_events SET audio_ms_in = 0",
        "DELETE FROM usage_events",
        "TRUNCATE usage_events",
        "DELETE FROM closed_periods",
    ],
)
def test_nothing_can_be_changed_or_deleted_even_around_the_ledger(
    url: str, ledger: PostgresLedger, tampering: str
) -> None:
    ledger.append([numbered(1)])
    with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
        execute(url, tampering)
    assert list(read_all(ledger, UsageQuery())) == [numbered(1)]


def test_a_database_of_a_newer_version_is_left_alone(url: str, ledger: PostgresLedger) -> None:
    ledger.append([numbered(1)])
    ledger.close()
    execute(url, "UPDATE convergio_usage_version SET version_num = '9999'")
    with pytest.raises(LedgerIncompatible, match="9999"):
        ledger.append([numbered(2)])


def test_a_database_that_cannot_hold_every_name_is_refused(postgres: PostgresServer) -> None:
    execute(
        postgres.url("postgres"),
        "CREATE DATABASE narrow ENCODING 'LATIN1' TEMPLATE template0",
    )
    with pytest.raises(LedgerIncompatible, match="UTF8"):
        PostgresLedger(postgres.url("narrow")).append([numbered(1)])


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://somebody:a-secret@127.0.0.1:1/usage",
        "postgresql://somebody:a-secret@/usage?host=/nowhere",
        "postgresql://somebody:a-secret@127.0.0.1/usage?port=none",
        "postgresql://somebody:a-secret@127.0.0.1/usage?what=is-this",
    ],
)
def test_no_error_tells_the_password(address: str) -> None:
    with pytest.raises((LedgerUnavailable, LedgerIncompatible)) as caught:
        PostgresLedger(address).append([numbered(1)])
    error: BaseException | None = caught.value
    assert "a-secret" not in str(error)
    assert error.__cause__ is None
    assert error.__suppress_context__


def test_a_lock_held_too_long_is_unavailable_and_nothing_is_appended(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_connection, "LOCK_TIMEOUT_MS", 50)
    ledger = PostgresLedger(url)
    ledger.append([numbered(1)])
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE usage_events IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(LedgerUnavailable, match="lock timeout"):
            ledger.append([numbered(2)])
    assert ledger.totals(UsageQuery()).events == 1
    assert ledger.append([numbered(2)]) == 1
    ledger.close()


def test_a_server_that_says_nothing_is_given_up_on(
    url: str, ledger: PostgresLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.append([numbered(1)])
    connection = ledger._writing.connection
    assert connection is not None
    backend = connection.info.backend_pid
    monkeypatch.setattr(postgres_connection, "ANSWER_TIMEOUT_S", 0.2)
    os.kill(backend, signal.SIGSTOP)
    try:
        with pytest.raises(LedgerUnavailable):
            ledger.append([numbered(2)])
    finally:
        os.kill(backend, signal.SIGCONT)
    monkeypatch.undo()
    assert ledger.append([numbered(1), numbered(2)]) == 1
    assert ledger.totals(UsageQuery()) == UsageTotals.of([numbered(1), numbered(2)])


def test_whoever_reads_can_write_nothing(ledger: PostgresLedger) -> None:
    ledger.totals(UsageQuery())
    connection = ledger._reading.connection
    assert connection is not None
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute("DROP TABLE usage_daily")


def test_a_connection_cut_amid_an_append_leaves_all_or_nothing(url: str, ledger: PostgresLedger) -> None:
    """The database ends our session at some instant of every append; what was told to be there is."""
    ledger.append([numbered(0)])
    kill = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'convergio-voice' AND datname = current_database()"
    )
    failures = 0
    with (
        psycopg.connect(url, autocommit=True, application_name="executioner") as executioner,
        ThreadPoolExecutor(1) as pool,
    ):
        for number in range(1, 25):
            cut = pool.submit(executioner.execute, kill)
            try:
                ledger.append([numbered(number), numbered(number + 1000)])
            except LedgerUnavailable:
                failures += 1
            cut.result(timeout=30)
            while True:  # the session is gone, and the next append finds that out
                try:
                    ledger.append([numbered(number), numbered(number + 1000)])
                    break
                except LedgerUnavailable:
                    failures += 1
    events = list(read_all(ledger, UsageQuery()))
    assert events == [numbered(0), *(numbered(n + more) for n in range(1, 25) for more in (0, 1000))]
    assert ledger.daily(DayQuery()) == Rollup.of(events).days()
    assert failures > 0


def test_what_was_acknowledged_survives_a_crash_of_the_database() -> None:
    with running_postgres() as server:
        ledger = PostgresLedger(server.database())
        ledger.append([numbered(n) for n in range(50)])
        server.stop("immediate")
        with pytest.raises(LedgerUnavailable):
            ledger.append([numbered(50)])
        server.start()
        assert ledger.append([numbered(n) for n in range(51)]) == 1
        assert ledger.totals(UsageQuery()) == UsageTotals.of(numbered(n) for n in range(51))
        ledger.close()
