from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from usage_events import TICKS, WHOLE, numbered, older

from metering import ledger_sql, sqlite_ledger, sqlite_schema
from metering.codec import FIELDS, from_dict, to_dict
from metering.errors import LedgerIncompatible, LedgerUnavailable
from metering.identity import as_correction, event_id
from metering.ledger import DayQuery, PageRequest, PeriodClosing, UsageQuery, UsageTotals, read_all
from metering.rollup import Rollup
from metering.sqlite_ledger import SqliteLedger
from metering.usage import ProviderShare, UsageEvent

APPENDING_PROCESS = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from usage_events import numbered
from metering.errors import LedgerUnavailable
from metering.sqlite_ledger import SqliteLedger
ledger = SqliteLedger(Path({path!r}))
for number in range({first}, {first} + 60):
    while True:
        try:
            ledger.append([numbered(number), numbered(number % 10)])
            break
        except LedgerUnavailable:
            pass
ledger.close()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "usage.db"


def contents(path: Path) -> set[str]:
    ledger = SqliteLedger(path)
    found = {event.request_id for event in read_all(ledger, UsageQuery())}
    ledger.close()
    return found


def test_the_database_is_wal_full_versioned_and_strict(path: Path) -> None:
    ledger = SqliteLedger(path)
    ledger.append([numbered(1)])
    connection = ledger._writing.connection
    assert connection is not None
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA user_version").fetchone() == (9,)
    (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'usage_events'").fetchone()
    assert sql.rstrip().endswith("STRICT") == (sqlite3.sqlite_version_info >= (3, 37))
    ledger.close()


def test_an_older_library_gets_the_same_table_without_strict() -> None:
    connection = sqlite3.connect(":memory:")
    for statement in sqlite_schema.migrations(strict=False)[0]:
        connection.execute(statement)
    assert len(connection.execute("PRAGMA table_info(usage_events)").fetchall()) == 26
    connection.close()


SINCE = {"shares": 2, "transport": 3, "latency_start_ms": 3, "breaches": 5, "overtaken_tokens": 5}
SINCE |= dict.fromkeys((*WHOLE, *TICKS), 6)
"""Which version brought which column."""


def made_by_version(path: Path, version: int, events: Sequence[UsageEvent]) -> list[UsageEvent]:
    """A ledger that an older version made, with what it could keep of these events; and what that is."""
    path.parent.mkdir(exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN")
    for step in sqlite_schema.migrations(strict=sqlite3.sqlite_version_info >= (3, 37))[:version]:
        for statement in step:
            connection.execute(statement)
    names = [column[1] for column in connection.execute("PRAGMA table_info(usage_events)")][1:]
    assert set(FIELDS) - set(names) == {name for name, since in SINCE.items() if since > version}
    insert = f"INSERT INTO usage_events ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    for event in events:
        row = dict(zip(FIELDS, ledger_sql.event_row(event), strict=True))
        connection.execute(insert, [row[name] for name in names])
    connection.execute(f"PRAGMA user_version = {version}")
    connection.execute("COMMIT")
    connection.close()
    kept = [{name: value for name, value in to_dict(event).items() if name in names} for event in events]
    return [from_dict(plain) for plain in kept]


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_ledger_of_an_older_version_keeps_its_events_and_gets_their_daily_sums(path: Path, version: int) -> None:
    heard = numbered(2).audio_ms_in
    share = ProviderShare("stt", "azure", "conversation", audio_ms_in=heard)
    shared = replace(numbered(2), shares=(share,), transport="webrtc", latency_start_ms={"stt": 40})
    shared = replace(shared, breaches={"stt": "use_partial"}, overtaken_tokens=shared.output_tokens)
    others = [numbered(n) for n in range(3, 2_100)]  # more than are read at once
    kept = made_by_version(path, version, [shared, *others, as_correction(numbered(7), numbered(9))])
    ledger = SqliteLedger(path)
    assert list(read_all(ledger, UsageQuery(replaced=True))) == kept
    assert (kept[0].breaches, kept[0].overtaken_tokens) == ({}, 0)
    current = [event for event in kept if event.event_id != numbered(7).event_id]
    assert ledger.daily(DayQuery()) == Rollup.of(current).days()
    assert ledger.amounts(DayQuery()) == Rollup.of(current).quantities()
    assert [row.amount for row in ledger.amounts(DayQuery()) if row.provider == "azure"] == [heard] * (version > 1)
    new = replace(shared, request_id="req_new", event_id=event_id(shared.tenant_id, "req_new"))
    assert ledger.append([kept[0], new]) == 1
    assert ledger.read(UsageQuery(), PageRequest(limit=1, newest_first=True)).events == (new,)
    assert ledger.totals(UsageQuery()) == UsageTotals.of([*current, new])
    assert ledger.latencies(UsageQuery(transport="webrtc"), 10).turns == 1 + (version > 2)
    ledger.close()


def test_a_ledger_of_the_version_before_breaches_keeps_its_events_and_sums(path: Path) -> None:
    first, second = older(numbered(1)), older(numbered(2))
    ledger = SqliteLedger(path)
    ledger.append([first, second])
    ledger.close()
    connection = sqlite3.connect(path)
    for name in ("no_update", "no_delete", "purged"):
        connection.execute(f"DROP TRIGGER usage_events_{name}")
    connection.execute("DROP TABLE usage_purges")
    for name in ("breaches", "overtaken_tokens", *WHOLE, *TICKS):
        connection.execute(f"ALTER TABLE usage_events DROP COLUMN {name}")
    for name in WHOLE:
        connection.execute(f"ALTER TABLE usage_daily DROP COLUMN {name}")
    for table in ("usage_users_daily", "usage_users_amounts"):
        connection.execute(f"DROP TABLE {table}")
    connection.execute("PRAGMA user_version = 4")
    connection.close()
    late = replace(numbered(6), breaches={"agent": "hedge"}, overtaken_tokens=6)
    assert ledger.append([late, second]) == 1
    assert list(read_all(ledger, UsageQuery())) == [first, second, late]
    assert ledger.totals(UsageQuery()) == UsageTotals.of([first, second, late])
    ledger.close()


def test_shares_written_before_tokens_were_divided_are_still_read(path: Path) -> None:
    share = ProviderShare("stt", "azure", "conversation", audio_ms_in=numbered(1).audio_ms_in)
    ledger = SqliteLedger(path)
    ledger.append([replace(numbered(1), shares=(share,))])
    ledger.close()
    speech = ("stage", "provider", "model", "audio_ms_in", "audio_ms_synthesized", "tts_characters")
    old = json.dumps([{name: getattr(share, name) for name in speech}])
    connection = sqlite3.connect(path)
    connection.execute("DROP TRIGGER IF EXISTS usage_events_no_update")
    connection.execute("UPDATE usage_events SET shares = ?", (old,))
    connection.commit()
    connection.close()
    ledger = SqliteLedger(path)
    [event] = read_all(ledger, UsageQuery())
    ledger.close()
    assert event.shares == (share,)


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE usage_events SET audio_ms_in = 0",
        "DELETE FROM usage_events",
        "UPDATE usage_events SET tenant_id = 'other' WHERE sequence = 1",
    ],
)
def test_nothing_can_be_changed_or_deleted_even_around_the_ledger(path: Path, tampering: str) -> None:
    ledger = SqliteLedger(path)
    ledger.append([numbered(1)])
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(tampering)
    connection.close()
    assert list(read_all(ledger, UsageQuery())) == [numbered(1)]
    ledger.close()


@pytest.mark.parametrize("same", ["sequence", "event_id", "request_id", "corrects"])
def test_insert_or_replace_replaces_nothing(path: Path, same: str) -> None:
    original, correction = numbered(1), as_correction(numbered(1), numbered(1))
    ledger = SqliteLedger(path)
    ledger.append([original, correction])
    connection = sqlite3.connect(path)
    table = [row[1] for row in connection.execute("PRAGMA table_info(usage_events)")]
    source = 2 if same == "corrects" else 1
    changed = {"sequence": "99", "event_id": "'evt_other'", "request_id": "'req_other'", "audio_ms_in": "7"}
    changed.pop(same, None)
    if same == "corrects":
        changed.pop("request_id")
    columns = ", ".join(changed.get(name, name) for name in table)
    connection.execute(
        f"INSERT OR REPLACE INTO usage_events SELECT {columns} FROM usage_events WHERE sequence = ?", (source,)
    )
    connection.commit()
    connection.close()
    assert list(read_all(ledger, UsageQuery(replaced=True))) == [original, correction]
    ledger.close()


def test_a_closed_month_cannot_be_changed_around_the_ledger(path: Path) -> None:
    ledger = SqliteLedger(path)
    kept = ledger.close_period(PeriodClosing("2026-09", 1, "{}"))
    connection = sqlite3.connect(path)
    for tampering in ("UPDATE closed_periods SET statement = ''", "DELETE FROM closed_periods"):
        with pytest.raises(sqlite3.IntegrityError, match="stays as it is"):
            connection.execute(tampering)
    connection.execute("INSERT OR REPLACE INTO closed_periods VALUES ('2026-09', 2, '')")
    connection.commit()
    connection.close()
    assert ledger.closings() == (kept,)
    ledger.close()


def test_a_database_of_a_newer_version_is_left_alone(path: Path) -> None:
    ledger = SqliteLedger(path)
    ledger.append([numbered(1)])
    ledger.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(LedgerIncompatible):
        ledger.append([numbered(2)])
    with pytest.raises(LedgerIncompatible):
        ledger.totals(UsageQuery())
    ledger.close()


def test_a_file_that_is_no_database_is_unavailable(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(LedgerUnavailable):
        SqliteLedger(path).append([numbered(1)])


def test_a_lock_held_too_long_is_unavailable_and_nothing_is_appended(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_ledger, "BUSY_TIMEOUT_MS", 10)
    ledger = SqliteLedger(path)
    ledger.append([numbered(1)])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerUnavailable):
        ledger.append([numbered(2)])
    assert ledger.totals(UsageQuery()).events == 1  # readers are not in the way of a writer
    other.execute("ROLLBACK")
    other.close()
    assert ledger.append([numbered(2)]) == 1
    ledger.close()


@pytest.mark.parametrize("what", ["usage.db", "usage.db-wal", "everything"])
def test_a_removed_file_is_noticed_before_anything_is_acknowledged(path: Path, what: str) -> None:
    ledger = SqliteLedger(path)
    ledger.append([numbered(1)])

    def remove(sql: str) -> None:
        if sql.startswith("COMMIT"):
            shutil.rmtree(path.parent) if what == "everything" else (path.parent / what).unlink()

    connection = ledger._writing.connection
    assert connection is not None
    connection.set_trace_callback(remove)
    with pytest.raises(LedgerUnavailable):
        ledger.append([numbered(2)])
    assert ledger.append([numbered(2)]) in (0, 1)
    ledger.close()
    assert numbered(2).request_id in contents(path)


def test_a_file_removed_between_calls_is_made_anew(path: Path) -> None:
    ledger = SqliteLedger(path)
    ledger.append([numbered(1)])
    assert ledger.totals(UsageQuery()).events == 1
    shutil.rmtree(path.parent)
    assert ledger.totals(UsageQuery()).events == 0
    assert ledger.append([numbered(2)]) == 1
    assert ledger.read(UsageQuery(), PageRequest()).events == (numbered(2),)
    ledger.close()


def test_threads_may_append_and_read_at_once(path: Path) -> None:
    ledger = SqliteLedger(path)
    with ThreadPoolExecutor(8) as pool:
        new = sum(pool.map(lambda n: ledger.append([numbered(n // 2)]), range(200)))
        seen = list(pool.map(lambda _: ledger.totals(UsageQuery()).events, range(8)))
    assert new == 100
    assert seen == [100] * 8
    ledger.close()


def test_several_processes_open_and_append_at_once(path: Path) -> None:
    here = str(Path(__file__).parent)
    programs = [APPENDING_PROCESS.format(here=here, path=str(path), first=100 * n) for n in range(4)]
    children = [subprocess.Popen([sys.executable, "-c", program]) for program in programs]
    assert [child.wait(timeout=50) for child in children] == [0] * 4
    expected = {numbered(100 * n + k).request_id for n in range(4) for k in range(60)}
    assert contents(path) == expected
