"""The daily sums in the ledger on PostgreSQL: counted in with the events, and made anew from them.

All of it runs inside a transaction that the caller began, under the lock by which appends take turns. What is counted
is ``metering.rollup``'s to say. Driven by ``metering.postgres.ledger`` and, once, by its migrations.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Final

import psycopg

from metering import ledger_sql, user_sums
from metering.codec import dumps
from metering.ledger import TOTAL_FIELDS, PageRequest, UsageQuery
from metering.rollup import Named, Rollup, Tally, change
from metering.usage import UsageEvent

Connection = psycopg.Connection[tuple[Any, ...]]

_PAGE: Final = 2_000
_ROWS: Final = 512
"""Of one statement: in a pipeline the database counts some while the next are made."""
_INTEGERS: Final = frozenset((*TOTAL_FIELDS, *user_sums.SUM_FIELDS, *ledger_sql.AMOUNT_SUMS, "day"))


def from_json(table: str, columns: Sequence[str], types: Sequence[str], where: str = "") -> str:
    """An INSERT of many rows that come as one JSON array of objects, in the order given; those that hold ``where``.

    One text is made and read far faster than an array per column, which the client escapes value by value.
    """
    named = ", ".join(columns)
    typed = ", ".join(f"{name} {kind}" for name, kind in zip(columns, types, strict=True))
    return (
        f"INSERT INTO {table} ({named}) SELECT {named} "  # noqa: S608  (constants)
        f"FROM ROWS FROM (json_to_recordset(%s::json) AS ({typed})) WITH ORDINALITY AS given({named}, place) "
        f"{where}ORDER BY place "
    )


def _upsert(table: str, columns: Sequence[str], sums: Sequence[str]) -> str:
    types = ["bigint" if name in _INTEGERS else "text" for name in columns]
    return from_json(table, columns, types) + ledger_sql.added_up(table, sums)


_COUNT_DAY: Final = _upsert("usage_daily", ledger_sql.DAILY_COLUMNS, TOTAL_FIELDS)
_COUNT_AMOUNT: Final = _upsert("usage_amounts", ledger_sql.AMOUNT_COLUMNS, ledger_sql.AMOUNT_SUMS)
_COUNT_USER: Final = _upsert(user_sums.USER_TABLE, user_sums.USER_COLUMNS, user_sums.SUM_FIELDS)
_COUNT_USER_AMOUNT: Final = _upsert(user_sums.USER_AMOUNT_TABLE, user_sums.USER_AMOUNT_COLUMNS, user_sums.AMOUNT_SUMS)
_REPLACED: Final = "SELECT tenant_id, corrects FROM usage_events WHERE corrects = ANY(%s::text[])"
_ORIGINALS: Final = f"SELECT {ledger_sql.COLUMNS} FROM usage_events WHERE event_id = ANY(%s::text[])"  # noqa: S608


class Counting:
    """Counts events in while the database inserts them: the sums are worked out as if all of them were new.

    Where some are not, or correct anything, they are worked out again. Used inside a pipeline: nothing waits for an
    answer that need not.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._events: list[UsageEvent] = []
        self._tally = Tally()

    def add(self, events: Sequence[UsageEvent]) -> None:
        """These are being inserted; each once."""
        self._events += events
        self._tally.add(events)

    def count_in(self, inserting: Iterable[psycopg.Cursor[tuple[Any, ...]]]) -> int:
        """Count those in whose ids come back, and those out that they replace. Returns how many were inserted."""
        asked = self._connection.execute(_REPLACED, ([event.event_id for event in self._events],))
        inserted = {row[0] for cursor in inserting for row in cursor}
        new = [event for event in self._events if event.event_id in inserted]
        replaced: set[Named] = {(tenant, original) for tenant, original in asked}
        corrected = [event.corrects for event in new if event.corrects is not None]
        rollup = self._tally.rollup
        if replaced or corrected or len(new) < len(self._events):
            found = self._connection.execute(query(_ORIGINALS), (corrected,)).fetchall() if corrected else []
            rollup = change(new, replaced, map(ledger_sql.row_event, found))
        _write(self._connection, rollup)
        return len(new)


def rebuild(connection: Connection) -> None:
    """Make the sums from the events alone."""
    for table in ("usage_daily", "usage_amounts", user_sums.USER_TABLE, user_sums.USER_AMOUNT_TABLE):
        connection.execute(query(f"DELETE FROM {table}"))  # noqa: S608  (constants)
    cursor: int | None = None
    while True:
        sql, values = ledger_sql.page_question(UsageQuery(), PageRequest(cursor=cursor, limit=_PAGE), "%s")
        rows = connection.execute(query(sql), values).fetchall()
        _write(connection, Rollup.of(ledger_sql.row_event(row[1:]) for row in rows[:_PAGE]))
        if len(rows) <= _PAGE:
            return
        cursor = rows[_PAGE - 1][0]


def query(sql: str) -> Any:
    """Text for psycopg, whose types only take literals; ours is put together from constants, values apart."""
    return sql


def _write(connection: Connection, rollup: Rollup) -> None:
    for statement, columns, rows_of in (
        (_COUNT_USER_AMOUNT, user_sums.USER_AMOUNT_COLUMNS, ledger_sql.user_amount_rows),
        (_COUNT_USER, user_sums.USER_COLUMNS, ledger_sql.user_rows),
        (_COUNT_DAY, ledger_sql.DAILY_COLUMNS, ledger_sql.daily_rows),
        (_COUNT_AMOUNT, ledger_sql.AMOUNT_COLUMNS, ledger_sql.amount_rows),
    ):
        rows = rows_of(rollup)
        while portion := [dict(zip(columns, row, strict=True)) for row in islice(rows, _ROWS)]:
            connection.execute(query(statement), (dumps(portion),))
