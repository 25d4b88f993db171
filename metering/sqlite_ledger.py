"""The ledger on SQLite: one file, several processes, nothing but appends.

Owns the file's connections (one that writes, one that reads, each behind a lock, so any thread may call). WAL with
``synchronous=FULL``: a commit that returned survives power loss (https://www.sqlite.org/pragma.html#pragma_synchronous).
Connections open on first use and are dropped after any failure, so a database that was locked, full or taken away
is simply tried again. Knows nothing of journals, threads or retries: ``metering.forwarder`` has those.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metering.codec import COUNT_FIELDS, FIELDS, FLAG_FIELDS, JSON_FIELDS, dumps, from_dict, to_dict
from metering.errors import LedgerUnavailable
from metering.latency_counts import LatencyCounts, counted_texts
from metering.ledger import PageRequest, UsagePage, UsageQuery, UsageTotals
from metering.sqlite_schema import migrate
from metering.usage import UsageEvent

BUSY_TIMEOUT_MS = 250
"""How long a call waits for another process's lock: short, since the journal already holds the events."""

_COLUMNS = ", ".join(FIELDS)
_INSERT = (
    f"INSERT INTO usage_events ({_COLUMNS}) VALUES ({', '.join('?' * len(FIELDS))}) "  # noqa: S608  (constants)
    "ON CONFLICT DO NOTHING"
)
_TOTALS = ", ".join(
    ["count(*)"]
    + [f"coalesce(sum({name}), 0)" for name in COUNT_FIELDS]
    + [f"coalesce(sum({flag}), 0)" for flag in ("1 - success", "interrupted", "estimated")]
)
_NOT_REPLACED = (
    "NOT EXISTS (SELECT 1 FROM usage_events AS later WHERE later.corrects = usage_events.event_id "
    "AND later.tenant_id = usage_events.tenant_id)"
)
_MEASURED = "latency_ms <> '{}'"
_CONDITIONS = (
    ("tenant_id", "tenant_id = ?"),
    ("user_id", "user_id = ?"),
    ("session_id", "session_id = ?"),
    ("agent_id", "agent_id = ?"),
    ("transport", "transport = ?"),
    ("started_from", "started_at >= ?"),
    ("started_before", "started_at < ?"),
)

_Files = tuple[tuple[int, int], tuple[int, int]]


@dataclass(slots=True)
class _Slot:
    """One connection, its lock, and which files it had open."""

    lock: threading.Lock
    connection: sqlite3.Connection | None = None
    files: _Files | None = None


class SqliteLedger:
    """The ledger port on one SQLite file, made when first used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wal = path.with_name(path.name + "-wal")
        self._writing = _Slot(threading.Lock())
        self._reading = _Slot(threading.Lock())

    def append(self, events: Sequence[UsageEvent]) -> int:
        rows = [_row(event) for event in events]
        with self._using(self._writing) as connection:
            connection.execute("BEGIN IMMEDIATE")
            inserted = connection.executemany(_INSERT, rows).rowcount
            connection.execute("COMMIT")
            # A removed file can still be written to, in vain: only what is reachable by its name is recorded.
            if self._writing.files is None or self._files() != self._writing.files:
                raise LedgerUnavailable("the ledger's file was removed or replaced while it was written")
            return max(inserted, 0)

    def read(self, query: UsageQuery, page: PageRequest) -> UsagePage:
        conditions, values = _where(query)
        if page.cursor is not None:
            conditions.append("sequence < ?" if page.newest_first else "sequence > ?")
            values.append(page.cursor)
        order = "DESC" if page.newest_first else "ASC"
        sql = (
            f"SELECT sequence, {_COLUMNS} FROM usage_events {_clause(conditions)} "  # noqa: S608  (constants)
            f"ORDER BY sequence {order} LIMIT ?"
        )
        with self._using(self._reading) as connection:
            rows = connection.execute(sql, (*values, page.limit + 1)).fetchall()
        taken = rows[: page.limit]
        return UsagePage(tuple(_event(row[1:]) for row in taken), taken[-1][0] if len(rows) > len(taken) else None)

    def totals(self, query: UsageQuery) -> UsageTotals:
        conditions, values = _where(query)
        sql = f"SELECT {_TOTALS} FROM usage_events {_clause(conditions)}"  # noqa: S608  (constants)
        with self._using(self._reading) as connection:
            return UsageTotals(*connection.execute(sql, values).fetchone())

    def latencies(self, query: UsageQuery, most: int) -> LatencyCounts:
        conditions, values = _where(query)
        sql = (
            f"SELECT latency_ms FROM usage_events {_clause([*conditions, _MEASURED])} "  # noqa: S608  (constants)
            "ORDER BY started_at DESC LIMIT ?"
        )
        with self._using(self._reading) as connection:
            texts: list[str] = [text for (text,) in connection.execute(sql, (*values, most + 1))]
        return counted_texts(texts, most)

    def close(self) -> None:
        for slot in (self._reading, self._writing):
            with slot.lock:
                _drop(slot)

    @contextmanager
    def _using(self, slot: _Slot) -> Generator[sqlite3.Connection]:
        """The slot's connection, opened if need be; dropped (which rolls back) if anything goes wrong."""
        with slot.lock:
            try:
                if slot.files is None or self._files() != slot.files:
                    _drop(slot)
                if slot.connection is None:
                    slot.connection = self._open(read_only=slot is self._reading)
                    slot.files = self._files()
                yield slot.connection
            except (sqlite3.Error, OSError) as error:
                _drop(slot)
                raise LedgerUnavailable(f"the usage ledger cannot be used: {error}") from error
            except BaseException:
                _drop(slot)
                raise

    def _open(self, *, read_only: bool) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self._path, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            migrate(connection)
            if read_only:
                connection.execute("PRAGMA query_only = ON")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # makes the -wal file exist
        except BaseException:
            connection.close()
            raise
        return connection

    def _files(self) -> _Files | None:
        """Which files are reachable by name now; None if one is missing."""
        try:
            database, wal = self._path.stat(), self._wal.stat()
        except FileNotFoundError:
            return None
        return (database.st_dev, database.st_ino), (wal.st_dev, wal.st_ino)


def _drop(slot: _Slot) -> None:
    connection, slot.connection, slot.files = slot.connection, None, None
    if connection is not None:
        with suppress(sqlite3.Error):
            connection.close()


def _where(query: UsageQuery) -> tuple[list[str], list[Any]]:
    wanted = [(sql, getattr(query, name)) for name, sql in _CONDITIONS]
    conditions = [sql for sql, value in wanted if value is not None]
    if not query.replaced:
        conditions.append(_NOT_REPLACED)
    return conditions, [value for _, value in wanted if value is not None]


def _clause(conditions: list[str]) -> str:
    return "WHERE " + " AND ".join(conditions) if conditions else ""


def _row(event: UsageEvent) -> tuple[Any, ...]:
    plain = to_dict(event)
    for name in JSON_FIELDS:
        plain[name] = dumps(plain[name])
    return tuple(plain.values())


def _event(row: tuple[Any, ...]) -> UsageEvent:
    plain = dict(zip(FIELDS, row, strict=True))
    for name in JSON_FIELDS:
        plain[name] = json.loads(plain[name])
    for name in FLAG_FIELDS:
        plain[name] = bool(plain[name])
    return from_dict(plain)
