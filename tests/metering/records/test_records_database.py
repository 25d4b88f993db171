"""One set of statements on SQLite and PostgreSQL: transactions, conflicts, migrations of areas apart, unreachable
databases, and words that never stand in a message."""

from __future__ import annotations

import sqlite3
import stat
import sys
import threading
from collections.abc import Iterator
from importlib import import_module
from importlib.resources import files
from pathlib import Path

import anyio
import psycopg
import pytest
import sqlalchemy as sa

from metering.records import Area, RecordConflict, Records, RecordsIncompatible, RecordsUnavailable
from metering.records.database import WORKERS
from server.audit import AUDIT
from server.offices import AREAS


@pytest.fixture(params=["sqlite", "postgres"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Records]:
    if request.param == "sqlite":
        opened = Records.in_file(tmp_path / "records.sqlite3")
    else:
        url: str = request.getfixturevalue("postgres").database()
        opened = Records("postgresql+psycopg" + url.removeprefix("postgresql"))
    yield opened
    opened.close()


class Meeting:
    """Work that ends once so many are at it."""

    def __init__(self, parties: int) -> None:
        self._barrier = threading.Barrier(parties)

    def meet(self, _connection: sa.Connection) -> None:
        self._barrier.wait(10)


def things(records: Records) -> sa.Table:
    table = sa.Table(
        "things", sa.MetaData(), sa.Column("name", sa.Text, primary_key=True), sa.Column("n", sa.BigInteger)
    )
    with records.write() as connection:
        table.create(connection)
    return table


def names(records: Records, table: sa.Table) -> list[str]:
    with records.read() as connection:
        return [row.name for row in connection.execute(sa.select(table.c.name).order_by(table.c.name))]


def test_what_is_written_is_there_and_what_raised_is_not(records: Records) -> None:
    table = things(records)
    with records.write() as connection:
        connection.execute(table.insert().values(name="kept", n=1))
    with pytest.raises(RecordConflict), records.write() as connection:
        connection.execute(table.insert(), [{"name": "lost", "n": 1}, {"name": "kept", "n": 1}])
    assert names(records, table) == ["kept"]


def test_a_record_that_is_there_already_is_a_conflict_and_its_values_stay_out_of_the_words(records: Records) -> None:
    table = things(records)
    with records.write() as connection:
        connection.execute(table.insert().values(name="twice", n=1))
    with pytest.raises(RecordConflict) as told, records.write() as connection:
        connection.execute(table.insert().values(name="twice", n=424242))
    assert "424242" not in str(told.value)


async def test_writers_at_once_take_turns_and_none_is_lost(records: Records) -> None:
    table = things(records)
    with records.write() as connection:
        connection.execute(table.insert().values(name="count", n=0))

    def more(connection: sa.Connection) -> None:
        n = connection.execute(sa.select(table.c.n).with_for_update()).scalar_one()
        connection.execute(table.update().values(n=n + 1))

    async def ten() -> None:
        for _ in range(10):
            await records.run_write(more)

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(ten)
    total = await records.run_read(lambda connection: connection.execute(sa.select(table.c.n)).scalar_one())
    assert total == 80


def test_areas_are_migrated_apart_and_again_without_a_change(records: Records) -> None:
    records.migrate(AREAS)
    records.migrate(AREAS)
    with records.read() as connection:
        assert sa.inspect(connection).has_table("audit_log")
        versions = connection.execute(sa.text("SELECT version_num FROM convergio_records_version")).scalars().all()
    assert sorted(versions) == sorted(area.head for area in AREAS)


def test_a_database_that_is_up_to_date_is_opened_without_alembic(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    records.migrate([AUDIT])
    monkeypatch.setitem(sys.modules, "alembic", None)
    records.migrate([AUDIT])


def test_a_newer_schema_is_refused_and_an_area_this_program_does_not_have_is_left_alone(records: Records) -> None:
    records.migrate([AUDIT])
    with records.write() as connection:
        connection.execute(sa.text("INSERT INTO convergio_records_version VALUES ('later_0007')"))
    records.migrate([AUDIT])
    with records.write() as connection:
        connection.execute(
            sa.text("UPDATE convergio_records_version SET version_num = 'audit_0002' WHERE version_num = 'audit_0001'")
        )
    with pytest.raises(RecordsIncompatible, match="audit_0002"):
        records.migrate([AUDIT])


@pytest.mark.parametrize("area", AREAS, ids=lambda area: area.name)
def test_an_areas_head_is_its_newest_migration(area: Area) -> None:
    found = sorted(
        path.name.removesuffix(".py") for path in files(area.package).iterdir() if path.name.startswith(area.name)
    )
    assert found[-1] == area.head
    first = import_module(f"{area.package}.{found[0]}")
    assert first.down_revision is None
    assert area.name in first.branch_labels


async def test_a_database_that_is_not_there_is_told_in_time() -> None:
    records = Records("postgresql+psycopg://nobody@127.0.0.1:1/none")
    with pytest.raises(RecordsUnavailable):
        await records.run_read(lambda connection: connection.execute(sa.text("SELECT 1")).scalar_one())
    records.close()


async def test_work_that_does_not_end_is_given_up(records: Records) -> None:
    go_on = anyio.Event()

    def slow(_connection: sa.Connection) -> None:
        anyio.from_thread.run(go_on.wait)

    with pytest.raises(RecordsUnavailable, match="in time"):
        await records.run_read(slow, limit_s=0.05)
    go_on.set()
    together = Meeting(WORKERS)
    async with anyio.create_task_group() as tasks:  # as many as there are workers: the slow one is through, too
        for _ in range(WORKERS):
            tasks.start_soon(records.run_read, together.meet)


def test_what_was_still_at_work_when_it_closed_closes_its_connection_after_it(records: Records) -> None:
    with records.read() as connection:
        driver = connection.connection.dbapi_connection
        assert driver is not None
        records.close()
        assert connection.execute(sa.text("SELECT 1")).scalar_one() == 1
    with pytest.raises((sqlite3.ProgrammingError, psycopg.OperationalError), match="closed"):
        driver.cursor().execute("SELECT 1")


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    Records.in_file(tmp_path / "records.sqlite3").close()
    assert stat.S_IMODE((tmp_path / "records.sqlite3").stat().st_mode) == 0o600
