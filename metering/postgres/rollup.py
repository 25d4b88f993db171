"""The daily sums in the ledger on PostgreSQL: counted in with the events, and made anew from them.

All of it runs inside a transaction that the caller began, under the lock by which appends take turns. What is counted
is ``metering.rollup``'s to say. Driven by ``metering.postgres.ledger`` and, once, by its migrations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import psycopg

from metering import ledger_sql, user_sums
from metering.codec import JSON_FIELDS
from metering.ledger import TOTAL_FIELDS, PageRequest, UsageQuery
from metering.rollup import Named, Rollup, change
from metering.usage import UsageEvent

Connection = psycopg.Connection[tuple[Any, ...]]

_PAGE: Final = 2_000
_INTEGERS: Final = frozenset((*TOTAL_FIELDS, *user_sums.SUM_FIELDS, *ledger_sql.AMOUNT_SUMS, "day"))


def from_arrays(table: str, columns: Sequence[str], types: Sequence[str]) -> str:
    """An INSERT of many rows whose values are one array per column, in the order given."""
    arrays = ", ".join(f"%s::{kind}[]" for kind in types)
    selected = ", ".join(f"{name}::jsonb" if name in JSON_FIELDS else name for name in columns)
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {selected} "  # noqa: S608  (constants)
        f"FROM unnest({arrays}) WITH ORDINALITY AS given({', '.join(columns)}, place) ORDER BY place "
    )


def _upsert(table: str, columns: Sequence[str], sums: Sequence[str]) -> str:
    types = ["bigint" if name in _INTEGERS else "text" for name in columns]
    return from_arrays(table, columns, types) + ledger_sql.added_up(table, sums)


_COUNT_DAY: Final = _upsert("usage_daily", ledger_sql.DAILY_COLUMNS, TOTAL_FIELDS)
_COUNT_AMOUNT: Final = _upsert("usage_amounts", ledger_sql.AMOUNT_COLUMNS, ledger_sql.AMOUNT_SUMS)
_COUNT_USER: Final = _upsert(user_sums.USER_TABLE, user_sums.USER_COLUMNS, user_sums.SUM_FIELDS)
_COUNT_USER_AMOUNT: Final = _upsert(user_sums.USER_AMOUNT_TABLE, user_sums.USER_AMOUNT_COLUMNS, user_sums.AMOUNT_SUMS)
_REPLACED: Final = "SELECT tenant_id, corrects FROM usage_events WHERE corrects = ANY(%s::text[])"
_ORIGINALS: Final = f"SELECT {ledger_sql.COLUMNS} FROM usage_events WHERE event_id = ANY(%s::text[])"  # noqa: S608


def count_in(connection: Connection, new: Sequence[UsageEvent]) -> None:
    """Count events in that have just been inserted, and those out that they replace."""
    found = connection.execute(_REPLACED, ([event.event_id for event in new],)).fetchall()
    replaced: set[Named] = {(tenant, original) for tenant, original in found}
    corrected = [event.corrects for event in new if event.corrects is not None]
    originals = connection.execute(query(_ORIGINALS), (corrected,)).fetchall() if corrected else []
    _write(connection, change(new, replaced, map(ledger_sql.row_event, originals)))


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


def columns_of(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    """Rows as one list per column."""
    return [list(column) for column in zip(*rows, strict=True)]


def _write(connection: Connection, rollup: Rollup) -> None:
    for statement, rows in (
        (_COUNT_DAY, ledger_sql.daily_rows(rollup)),
        (_COUNT_AMOUNT, ledger_sql.amount_rows(rollup)),
        (_COUNT_USER, ledger_sql.user_rows(rollup)),
        (_COUNT_USER_AMOUNT, ledger_sql.user_amount_rows(rollup)),
    ):
        if rows:
            connection.execute(query(statement), columns_of(rows))
