"""What may be done to events that are in a ledger: a person's id replaced, months that are over purged; and no more."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from usage_events import numbered

from metering.erasure import ErasableLedger, months_before, new_pseudonym
from metering.errors import LedgerUnavailable
from metering.identity import as_correction
from metering.ledger import DayQuery, Ledger, PageRequest, UsageQuery, UsageTotals, read_all
from metering.postgres.ledger import PostgresLedger
from metering.sqlite_ledger import SqliteLedger
from metering.usage import UsageEvent
from metering.user_sums import UserQuery

NOW_MS = 1_900_000_000_000  # years behind the numbered events
PERSON = "user_1"


class Kept:
    """A ledger, and a way around it."""

    def __init__(self, ledger: SqliteLedger | PostgresLedger, place: Path | str) -> None:
        self.ledger: Any = ledger
        self._place = place

    @property
    def is_sqlite(self) -> bool:
        return isinstance(self._place, Path)

    def tamper(self, sql: str) -> None:
        if isinstance(self._place, Path):
            with sqlite3.connect(self._place) as connection:
                connection.execute(sql)
            return
        with psycopg.connect(self._place) as other:
            other.execute(sql)  # pyright: ignore[reportArgumentType, reportCallIssue]

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        if isinstance(self._place, Path):
            with sqlite3.connect(self._place) as connection:
                return connection.execute(sql).fetchall()
        with psycopg.connect(self._place) as other:
            return other.execute(sql).fetchall()  # pyright: ignore[reportArgumentType, reportCallIssue]


@pytest.fixture(params=["sqlite", "postgres"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    if request.param == "sqlite":
        path = tmp_path / "usage.sqlite3"
        opened: Kept = Kept(SqliteLedger(path), path)
    else:
        url: str = request.getfixturevalue("postgres").database()
        opened = Kept(PostgresLedger(url), url)
    yield opened
    opened.ledger.close()


def of_person(ledger: Ledger, user_id: str) -> list[UsageEvent]:
    return list(read_all(ledger, UsageQuery(user_id=user_id, replaced=True)))


def test_a_persons_id_becomes_a_pseudonym_in_portions_and_every_sum_stays(kept: Kept) -> None:
    ledger: SqliteLedger = kept.ledger
    erasable: ErasableLedger = ledger
    events = [numbered(n) for n in range(30)]
    ledger.append([*events, as_correction(events[4], events[7])])
    before = (ledger.totals(UsageQuery()), ledger.daily(DayQuery()), ledger.amounts(DayQuery()))
    name, portions = new_pseudonym(), list[int]()
    while not portions or portions[-1] == 4:
        portions.append(erasable.pseudonymise("tenant_a", PERSON, name, (), 4))
    assert portions == [4, 4, 3]
    assert of_person(ledger, PERSON) == []
    assert len(of_person(ledger, name)) == 11
    assert (ledger.totals(UsageQuery()), ledger.daily(DayQuery()), ledger.amounts(DayQuery())) == before
    assert ledger.append(events) == 0, "what is sent again is known, whoever it belongs to now"
    mended = as_correction(of_person(ledger, name)[0], numbered(2))
    assert mended.user_id == name


def test_what_a_person_does_afterwards_is_not_counted_into_their_pseudonym(kept: Kept) -> None:
    ledger: SqliteLedger = kept.ledger
    ledger.append([numbered(1)])
    ids = {str(row[0]) for row in kept.rows("SELECT row_id FROM usage_users_daily")}
    ledger.pseudonymise("tenant_a", PERSON, "erased_once", (), 10)
    renamed = kept.rows("SELECT row_id FROM usage_users_daily UNION SELECT row_id FROM usage_users_amounts")
    assert renamed
    assert not ids & {str(row[0]) for row in renamed}, "the id tells whose pseudonym it is"
    ledger.append([numbered(1, prefix="later")])
    for name in ("erased_once", PERSON):
        (used,) = ledger.users(UserQuery(tenant_id="tenant_a", user_ids=(name,)))
        assert used.sums.events == 1, name
        assert ledger.user_amounts(UserQuery(tenant_id="tenant_a", user_ids=(name,))), name
    assert [row.user_id for row in ledger.users(UserQuery())] == ["erased_once", PERSON]


def test_events_of_sessions_that_are_held_keep_their_person(kept: Kept) -> None:
    ledger: SqliteLedger = kept.ledger
    ledger.append([numbered(n) for n in range(30)])
    ledger.pseudonymise("tenant_a", PERSON, new_pseudonym(), ("session_1", "session_2"), 100)
    assert {event.session_id for event in of_person(ledger, PERSON)} == {"session_1", "session_2"}


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE usage_events SET user_id = 'somebody'",
        "UPDATE usage_events SET user_id = 'erased_twice' WHERE user_id = 'erased_once'",
        "UPDATE usage_events SET user_id = 'erased_1', overtaken_tokens = 0, audio_ms_in = 0",
        "UPDATE usage_events SET user_id = 'erased_1', error_code = 'internal'",
        "DELETE FROM usage_events",
        "UPDATE usage_purges SET started_before = 0",
        "DELETE FROM usage_purges",
        "INSERT INTO usage_purges VALUES ('tenant_a', 1900000000000, 1900000000001)",
    ],
)
def test_the_database_refuses_everything_else(kept: Kept, tampering: str) -> None:
    ledger: SqliteLedger = kept.ledger
    ledger.append([numbered(1), numbered(2)])
    ledger.purge("tenant_b", 1_000, NOW_MS, 10)
    ledger.pseudonymise("tenant_a", "user_2", "erased_once", (), 10)
    with pytest.raises((sqlite3.IntegrityError, psycopg.Error)):
        kept.tamper(tampering)
    assert [event.user_id for event in read_all(ledger, UsageQuery())] == ["user_1", "erased_once"]


def test_every_column_but_the_persons_is_guarded(kept: Kept) -> None:
    """A column added later must not slip through."""
    ledger: SqliteLedger = kept.ledger
    ledger.append([numbered(1)])
    for name in UsageEvent.__slots__:
        if name != "user_id":
            other = "'x'" if getattr(numbered(1), name) is None else "NULL"
            with pytest.raises((sqlite3.IntegrityError, psycopg.Error)):
                kept.tamper(f"UPDATE usage_events SET user_id = 'erased_1', {name} = {other}")


def test_months_that_are_over_are_purged_and_their_sums_stay(kept: Kept) -> None:
    ledger: SqliteLedger = kept.ledger
    events = [numbered(n) for n in range(20)]
    ledger.append([*events, numbered(1, tenant="tenant_b")])
    sums, cut = ledger.daily(DayQuery()), events[12].started_at
    portions = [ledger.purge("tenant_a", cut, NOW_MS, 5) for _ in range(4)]
    assert portions == [5, 5, 2, 0]
    assert list(read_all(ledger, UsageQuery(tenant_id="tenant_a"))) == events[12:]
    assert len(list(read_all(ledger, UsageQuery(tenant_id="tenant_b")))) == 1
    assert ledger.daily(DayQuery()) == sums
    assert ledger.append([*events, as_correction(events[3], events[4])]) == 0, "what comes late is not counted again"
    assert ledger.daily(DayQuery()) == sums
    assert ledger.totals(UsageQuery()) == UsageTotals.of([*events, numbered(1, tenant="tenant_b")])
    assert ledger.tenants() == ("tenant_a", "tenant_b")


def test_a_purge_never_makes_a_place_in_the_ledger_be_used_again(kept: Kept) -> None:
    """Who has read up to a place would pass by the event that got it again."""
    ledger: SqliteLedger = kept.ledger
    events = [numbered(n) for n in range(8)]
    ledger.append(events)
    read_up_to = ledger.read(UsageQuery(), PageRequest()).sequences[-1]
    while ledger.purge("tenant_a", events[-1].started_at + 1, NOW_MS, 3):
        pass
    assert len(list(read_all(ledger, UsageQuery()))) <= 1
    ledger.append([numbered(1, tenant="tenant_b"), numbered(2, tenant="tenant_b")])
    behind = ledger.read(UsageQuery(), PageRequest(cursor=read_up_to)).events
    assert [event.tenant_id for event in behind] == ["tenant_b", "tenant_b"]
    assert ledger.purge("tenant_a", events[-1].started_at + 1, NOW_MS, 3) == (1 if kept.is_sqlite else 0)


def test_on_postgresql_there_is_nothing_to_compact_not_even_a_database_to_be_reached() -> None:
    PostgresLedger("postgresql:///nothing?host=/nowhere").compact()


def test_a_year_of_accounts_cannot_be_purged(kept: Kept) -> None:
    ledger: SqliteLedger = kept.ledger
    ledger.append([numbered(1)])
    with pytest.raises(LedgerUnavailable):
        ledger.purge("tenant_a", NOW_MS, NOW_MS + 1, 10)
    assert len(list(read_all(ledger, UsageQuery()))) == 1


def test_nothing_of_a_person_is_left_in_the_files(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "usage.sqlite3")
    ledger.append([numbered(n) for n in range(4_000)])
    while ledger.pseudonymise("tenant_a", PERSON, new_pseudonym(), (), 500) == 500:
        pass
    ledger.compact()
    for file in tmp_path.iterdir():
        assert PERSON.encode() not in file.read_bytes(), file.name
    assert len(list(read_all(ledger, UsageQuery(user_id="user_2")))) == 1_333
    ledger.close()


@pytest.mark.parametrize(
    ("now", "months", "first"),
    [("2026-11-28", 24, "2024-11-01"), ("2026-01-01", 12, "2025-01-01"), ("2026-12-31", 84, "2019-12-01")],
)
def test_a_purge_takes_whole_months(now: str, months: int, first: str) -> None:
    assert months_before(epoch(now), months) == epoch(first)


def epoch(day: str) -> int:
    return round(time.mktime(time.strptime(f"{day} UTC", "%Y-%m-%d %Z")) - time.timezone) * 1_000
