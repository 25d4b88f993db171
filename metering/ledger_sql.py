"""What the ledgers on SQL databases have in common: tables, columns, conditions and rows. Pure.

Owns the names and the questions, so that two databases cannot come to answer differently; each adapter owns its
connection, its transactions and its way of inserting. ``mark`` is the driver's placeholder (``?`` or ``%s``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any

from metering.codec import COUNT_FIELDS, FIELDS, FLAG_FIELDS, JSON_FIELDS, dumps, from_dict, to_dict
from metering.latency_counts import LatencyCounts, counted_texts
from metering.ledger import (
    TOTAL_FIELDS,
    UNCLAIMED_SUFFIX,
    DailyAmount,
    DailyUsage,
    DayQuery,
    PageRequest,
    PeriodClosing,
    UsageQuery,
    UsageTotals,
)
from metering.rollup import DAY_MS, Rollup, row_id
from metering.usage import UsageEvent
from metering.user_sums import SUM_FIELDS, where_clause

COLUMNS = ", ".join(FIELDS)
DAY_KEY = ("day", "tenant_id", "agent_id", "mode")
AMOUNT_KEY = (*DAY_KEY, "provider", "model", "meter")
AMOUNT_SUMS = ("amount", "whole_seconds")
DAILY_COLUMNS = ("row_id", *DAY_KEY, *TOTAL_FIELDS)
AMOUNT_COLUMNS = ("row_id", *AMOUNT_KEY, *AMOUNT_SUMS)

Question = tuple[str, tuple[Any, ...]]
"""A statement and its values."""

_CONDITIONS = (
    ("tenant_id", "tenant_id = "),
    ("user_id", "user_id = "),
    ("session_id", "session_id = "),
    ("agent_id", "agent_id = "),
    ("transport", "transport = "),
    ("mode", "mode = "),
    ("success", "success = "),
    ("started_from", "started_at >= "),
    ("started_before", "started_at < "),
)
_DAY_CONDITIONS = (
    ("tenant_id", "tenant_id = "),
    ("agent_id", "agent_id = "),
    ("first_day", "day >= "),
    ("day_before", "day < "),
)
_NOT_REPLACED = (
    "NOT EXISTS (SELECT 1 FROM usage_events AS later WHERE later.corrects = usage_events.event_id "
    "AND later.tenant_id = usage_events.tenant_id)"
)


def page_question(query: UsageQuery, page: PageRequest, mark: str) -> Question:
    """``sequence`` and the event's columns; one row more than the page holds tells that there are more."""
    conditions, values = _where(query, mark)
    if page.cursor is not None:
        conditions.append(f"sequence {'<' if page.newest_first else '>'} {mark}")
        values.append(page.cursor)
    order = "DESC" if page.newest_first else "ASC"
    sql = (
        f"SELECT sequence, {COLUMNS} FROM usage_events{where_clause(conditions)} "  # noqa: S608  (constants)
        f"ORDER BY sequence {order} LIMIT {mark}"
    )
    return sql, (*values, page.limit + 1)


def totals_questions(query: UsageQuery, mark: str) -> tuple[Question, ...]:
    """Each answers with the columns of ``UsageTotals``, of a part of the events; together they are all of them.

    Whole days come from the daily sums where they can tell, the rest of a period from its events: at most two days of
    them, however long it is. A correction stands on its original's day, so no part misses what another has.
    """
    finer = (query.user_id, query.session_id, query.transport, query.mode, query.success)
    if query.replaced or any(wanted is not None for wanted in finer):
        return (_events_totals(query, mark),)
    start, end = query.started_from, query.started_before
    first = None if start is None else -(-start // DAY_MS)
    before = None if end is None else end // DAY_MS
    if first is not None and before is not None and first >= before:
        return (_events_totals(query, mark),)
    parts = [_days_totals(DayQuery(query.tenant_id, query.agent_id, first, before), mark)]
    if start is not None and first is not None and start < first * DAY_MS:
        parts.append(_events_totals(replace(query, started_before=first * DAY_MS), mark))
    if end is not None and before is not None and before * DAY_MS < end:
        parts.append(_events_totals(replace(query, started_from=before * DAY_MS), mark))
    return tuple(parts)


def _days_totals(days: DayQuery, mark: str) -> Question:
    conditions, values = _day_where(days, mark)
    sums = ", ".join(f"coalesce(sum({name}), 0)" for name in TOTAL_FIELDS)
    return f"SELECT {sums} FROM usage_daily{where_clause(conditions)}", tuple(values)  # noqa: S608


def _events_totals(query: UsageQuery, mark: str) -> Question:
    conditions, values = _where(query, mark)
    stray = f"substr(request_id, length(request_id) - {len(UNCLAIMED_SUFFIX) - 1}) = '{UNCLAIMED_SUFFIX}'"
    counted = ["NOT success", "interrupted", "estimated", stray]
    sums = ", ".join(
        ["count(*)"]
        + [f"coalesce(sum({name}), 0)" for name in COUNT_FIELDS]
        + [f"coalesce(sum(CASE WHEN {condition} THEN 1 ELSE 0 END), 0)" for condition in counted]
    )
    return f"SELECT {sums} FROM usage_events{where_clause(conditions)}", tuple(values)  # noqa: S608


def backlog_question(query: UsageQuery, cursor: int, most: int, mark: str) -> Question:
    """How many of the query's events there are behind a cursor, counted up to ``most``."""
    conditions, values = _where(query, mark)
    behind = where_clause([*conditions, f"sequence > {mark}"])
    return f"SELECT count(*) FROM (SELECT 1 FROM usage_events{behind} LIMIT {mark}) AS behind", (*values, cursor, most)  # noqa: S608


def latencies_question(query: UsageQuery, most: int, mark: str) -> Question:
    """``latency_ms`` and ``breaches`` as text, of one turn more than asked for, which tells that there are more."""
    conditions, values = _where(query, mark)
    latency, breaches = (f"CAST({name} AS text)" for name in ("latency_ms", "breaches"))
    told = f"({latency} <> '{{}}' OR {breaches} <> '{{}}')"
    sql = (
        f"SELECT {latency}, {breaches} FROM usage_events{where_clause([*conditions, told])} "  # noqa: S608
        f"ORDER BY started_at DESC LIMIT {mark}"
    )
    return sql, (*values, most + 1)


def daily_question(query: DayQuery, mark: str) -> Question:
    """The columns of ``DailyUsage``, its totals at the end."""
    return _day_question("usage_daily", (*DAY_KEY, *TOTAL_FIELDS), query, mark)


def amounts_question(query: DayQuery, mark: str) -> Question:
    """The columns of ``DailyAmount``."""
    return _day_question("usage_amounts", (*AMOUNT_KEY, *AMOUNT_SUMS), query, mark)


def closing_question(closing: PeriodClosing, mark: str) -> Question:
    """Closes a period, unless it is closed."""
    sql = (
        "INSERT INTO closed_periods (period, closed_at, statement) "  # noqa: S608  (constants)
        f"VALUES ({mark}, {mark}, {mark}) ON CONFLICT DO NOTHING"
    )
    return sql, (closing.period, closing.closed_at, closing.statement)


CLOSINGS = "SELECT period, closed_at, statement FROM closed_periods ORDER BY period"


def totals(row: Sequence[Any]) -> UsageTotals:
    """The answer to one of ``totals_questions``; some databases sum into decimals."""
    return UsageTotals(*map(int, row))


def latencies(rows: Sequence[Sequence[Any]], most: int) -> LatencyCounts:
    """The answer to ``latencies_question``."""
    return counted_texts([(latency_ms, breaches) for latency_ms, breaches in rows], most)


def daily(rows: Sequence[Sequence[Any]]) -> tuple[DailyUsage, ...]:
    """The answer to ``daily_question``, ordered the same everywhere (databases compare text each in their own way)."""
    return tuple(
        DailyUsage(day, tenant, agent, mode, UsageTotals(*sums))
        for day, tenant, agent, mode, *sums in sorted(map(tuple, rows))
    )


def amounts(rows: Sequence[Sequence[Any]]) -> tuple[DailyAmount, ...]:
    """The answer to ``amounts_question``."""
    return tuple(DailyAmount(*row) for row in sorted(map(tuple, rows)))


def closings(rows: Sequence[Sequence[Any]]) -> tuple[PeriodClosing, ...]:
    """The answer to ``CLOSINGS``."""
    return tuple(PeriodClosing(period, closed_at, statement) for period, closed_at, statement in rows)


def event_row(event: UsageEvent) -> tuple[Any, ...]:
    """The event's columns, its parts as JSON text. Raises InvalidUsageEvent."""
    plain = to_dict(event)
    for name in JSON_FIELDS:
        plain[name] = dumps(plain[name])
    return tuple(plain.values())


def row_event(row: Sequence[Any]) -> UsageEvent:
    """The event of its columns."""
    plain = dict(zip(FIELDS, row, strict=True))
    for name in JSON_FIELDS:
        if isinstance(plain[name], str):
            plain[name] = json.loads(plain[name])
    for name in FLAG_FIELDS:
        plain[name] = bool(plain[name])
    return from_dict(plain)


_totals = attrgetter(*TOTAL_FIELDS)
_turn_sums = attrgetter(*SUM_FIELDS)


def daily_rows(rollup: Rollup) -> Iterator[tuple[Any, ...]]:
    """Rows of ``DAILY_COLUMNS``, in the order of their keys, which is the same for every writer."""
    return ((row_id(key), *key, *_totals(rollup.usage[key])) for key in sorted(rollup.usage))


def amount_rows(rollup: Rollup) -> Iterator[tuple[Any, ...]]:
    """Rows of ``AMOUNT_COLUMNS``, likewise."""
    return ((row_id(key), *key, *rollup.amounts[key]) for key in sorted(rollup.amounts))


def user_rows(rollup: Rollup) -> Iterator[tuple[Any, ...]]:
    """Rows of ``user_sums.USER_COLUMNS``, likewise."""
    return ((row_id(key), *key, *_turn_sums(rollup.users[key])) for key in sorted(rollup.users))


def user_amount_rows(rollup: Rollup) -> Iterator[tuple[Any, ...]]:
    """Rows of ``user_sums.USER_AMOUNT_COLUMNS``, likewise."""
    return ((row_id(key), *key, *rollup.user_amounts[key]) for key in sorted(rollup.user_amounts))


def added_up(table: str, sums: Sequence[str]) -> str:
    """The end of an INSERT that counts a row's sums into the one that is there."""
    return "ON CONFLICT (row_id) DO UPDATE SET " + ", ".join(
        f"{name} = {table}.{name} + excluded.{name}" for name in sums
    )


def _day_question(table: str, columns: Sequence[str], query: DayQuery, mark: str) -> Question:
    conditions, values = _day_where(query, mark)
    return f"SELECT {', '.join(columns)} FROM {table}{where_clause([*conditions, _NOT_EMPTY[table]])}", tuple(values)  # noqa: S608


_NOT_EMPTY = {"usage_daily": "events <> 0", "usage_amounts": "amount <> 0"}
"""Corrections may leave rows without anything in them."""


def _where(query: UsageQuery, mark: str) -> tuple[list[str], list[Any]]:
    wanted = [(sql + mark, getattr(query, name)) for name, sql in _CONDITIONS]
    conditions = [sql for sql, value in wanted if value is not None]
    if not query.replaced:
        conditions.append(_NOT_REPLACED)
    return conditions, [value for _, value in wanted if value is not None]


def _day_where(query: DayQuery, mark: str) -> tuple[list[str], list[Any]]:
    wanted = [(sql + mark, getattr(query, name)) for name, sql in _DAY_CONDITIONS]
    return [sql for sql, value in wanted if value is not None], [value for _, value in wanted if value is not None]
