"""The daily sums in the SQLite ledger: counted in with the events, and made anew from them.

Both run inside a transaction that the caller began. What is counted is ``metering.rollup``'s to say. Driven by
``metering.sqlite_ledger`` and, once, by its migrations.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Sequence

from metering import ledger_sql, user_sums
from metering.ledger import TOTAL_FIELDS, PageRequest, UsageQuery
from metering.rollup import Named, Rollup, change
from metering.usage import UsageEvent

_AT_ONCE = 500  # values in one statement: older libraries take 999
_PAGE = 2_000


def _upsert(table: str, columns: Sequence[str], sums: Sequence[str]) -> str:
    marks = ", ".join("?" * len(columns))
    ending = ledger_sql.added_up(table, sums)
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}) {ending}"  # noqa: S608  (constants)


_COUNT_DAY = _upsert("usage_daily", ledger_sql.DAILY_COLUMNS, TOTAL_FIELDS)
_COUNT_AMOUNT = _upsert("usage_amounts", ledger_sql.AMOUNT_COLUMNS, ledger_sql.AMOUNT_SUMS)

_COUNT_USER = _upsert(user_sums.USER_TABLE, user_sums.USER_COLUMNS, user_sums.SUM_FIELDS)
_COUNT_USER_AMOUNT = _upsert(user_sums.USER_AMOUNT_TABLE, user_sums.USER_AMOUNT_COLUMNS, user_sums.AMOUNT_SUMS)


def count_in(connection: sqlite3.Connection, new: Sequence[UsageEvent]) -> None:
    """Count events in that have just been inserted, and those out that they replace."""
    if not new:
        return
    ids = [event.event_id for event in new]
    corrected = [event.corrects for event in new if event.corrects is not None]
    replaced: set[Named] = {
        (tenant, original) for tenant, original in _select(connection, "tenant_id, corrects", "corrects", ids)
    }
    originals = [ledger_sql.row_event(row) for row in _select(connection, ledger_sql.COLUMNS, "event_id", corrected)]
    _write(connection, change(new, replaced, originals))


def rebuild(connection: sqlite3.Connection) -> None:
    """Make the sums from the events alone."""
    for table in ("usage_daily", "usage_amounts", user_sums.USER_TABLE, user_sums.USER_AMOUNT_TABLE):
        connection.execute(f"DELETE FROM {table}")  # noqa: S608  (constants)
    cursor: int | None = None
    while True:
        page = PageRequest(cursor=cursor, limit=_PAGE)
        rows = connection.execute(*ledger_sql.page_question(UsageQuery(), page, "?")).fetchall()
        _write(connection, Rollup.of(ledger_sql.row_event(row[1:]) for row in rows[:_PAGE]))
        if len(rows) <= _PAGE:
            return
        cursor = rows[_PAGE - 1][0]


def _write(connection: sqlite3.Connection, rollup: Rollup) -> None:
    connection.executemany(_COUNT_DAY, ledger_sql.daily_rows(rollup))
    connection.executemany(_COUNT_AMOUNT, ledger_sql.amount_rows(rollup))
    connection.executemany(_COUNT_USER, ledger_sql.user_rows(rollup))
    connection.executemany(_COUNT_USER_AMOUNT, ledger_sql.user_amount_rows(rollup))


def _select(
    connection: sqlite3.Connection, columns: str, where: str, values: Sequence[str]
) -> Generator[tuple[str, ...]]:
    for start in range(0, len(values), _AT_ONCE):
        some = values[start : start + _AT_ONCE]
        marks = ", ".join("?" * len(some))
        yield from connection.execute(
            f"SELECT {columns} FROM usage_events WHERE {where} IN ({marks})",  # noqa: S608  (constants)
            some,
        )
