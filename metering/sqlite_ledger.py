"""The ledger on SQLite: one file, several processes, nothing but appends.

Owns the file's connections (one that writes, one that reads, each behind a lock, so any thread may call). WAL with
``synchronous=FULL``: a commit that returned survives power loss (https://www.sqlite.org/pragma.html#pragma_synchronous).
Connections open on first use and are dropped after any failure, so a database that was locked, full or taken away
is simply tried again. Knows nothing of journals, threads or retries: ``metering.forwarder`` has those.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metering import ledger_sql, sqlite_erasure, sqlite_rollup
from metering.codec import FIELDS
from metering.errors import LedgerUnavailable
from metering.ledger import PeriodClosing, SumsReader
from metering.sql_reader import Snapshot, SqlReader
from metering.sqlite_schema import migrate
from metering.usage import UsageEvent

BUSY_TIMEOUT_MS = 250
"""How long a call waits for another process's lock: short, since the journal already holds the events."""

_INSERT = (
    f"INSERT INTO usage_events ({ledger_sql.COLUMNS}) VALUES ({', '.join('?' * len(FIELDS))}) "  # noqa: S608
    "ON CONFLICT DO NOTHING"
)

_Files = tuple[tuple[int, int], tuple[int, int]]


@dataclass(slots=True)
class _Slot:
    """One connection, its lock, and which files it had open."""

    lock: threading.Lock
    connection: sqlite3.Connection | None = None
    files: _Files | None = None


class SqliteLedger(SqlReader):
    """The ledger port on one SQLite file, made when first used."""

    _MARK = "?"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wal = path.with_name(path.name + "-wal")
        self._writing = _Slot(threading.Lock())
        self._reading = _Slot(threading.Lock())

    def append(self, events: Sequence[UsageEvent]) -> int:
        rows = [ledger_sql.event_row(event) for event in events]
        with self._changing() as connection:
            new = [
                event for event, row in zip(events, rows, strict=True) if connection.execute(_INSERT, row).rowcount == 1
            ]
            sqlite_rollup.count_in(connection, new)
            return len(new)

    def close_period(self, closing: PeriodClosing) -> PeriodClosing:
        with self._changing() as connection:
            connection.execute(*ledger_sql.closing_question(closing, self._MARK))
        return self._standing(closing.period)

    def pseudonymise(
        self, tenant_id: str, user_id: str, pseudonym: str, keep_sessions: Sequence[str], at_most: int
    ) -> int:
        with self._changing() as connection:
            return sqlite_erasure.pseudonymise(connection, tenant_id, user_id, pseudonym, keep_sessions, at_most)

    def purge(self, tenant_id: str, started_before: int, now_ms: int, at_most: int) -> int:
        with self._changing() as connection:
            return sqlite_erasure.purge(connection, tenant_id, started_before, now_ms, at_most)

    @contextmanager
    def snapshot(self) -> Generator[SumsReader]:
        with self._using(self._reading) as connection:
            connection.execute("BEGIN")
            yield Snapshot(self._MARK, lambda sql, values: connection.execute(sql, values).fetchall())
            connection.execute("COMMIT")

    def compact(self) -> None:
        with self._using(self._reading), self._using(self._writing) as connection:
            connection.execute("VACUUM")
            if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                raise LedgerUnavailable("the usage ledger is being read; what was taken out is still in its log")

    def close(self) -> None:
        for slot in (self._reading, self._writing):
            with slot.lock:
                _drop(slot)

    def _ask(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with self._using(self._reading) as connection:
            return connection.execute(sql, values).fetchall()

    @contextmanager
    def _changing(self) -> Generator[sqlite3.Connection]:
        """One transaction; what it did is in the file that the ledger's name leads to when this ends."""
        with self._using(self._writing) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
            # A removed file can still be written to, in vain: only what is reachable by its name is recorded.
            if self._writing.files is None or self._files() != self._writing.files:
                raise LedgerUnavailable("the ledger's file was removed or replaced while it was written")

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
            connection.execute("PRAGMA secure_delete = ON")
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
