"""The ledger on PostgreSQL: several servers, one ledger, nothing but appends.

Owns its connections (one that writes, one that reads, each behind a lock, so any thread may call). They open on first
use and are dropped after any failure, so a database that was down, full or restarted is simply tried again. Every wait
has a limit (``metering.postgres.connection``). Knows nothing of journals, threads or retries: ``metering.forwarder``
has those.

Appends take turns (an advisory lock for the length of a transaction), in whatever process: so the order of
``sequence`` is the order of commits, and a reader that pages never passes by an event that is committed later.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from metering import ledger_sql, user_sums
from metering.codec import COUNT_FIELDS, FIELDS, FLAG_FIELDS, JSON_FIELDS, PART_FIELDS, TIME_FIELDS, dumps, to_dict
from metering.errors import LedgerIncompatible, LedgerUnavailable
from metering.ledger import PeriodClosing, SumsReader
from metering.postgres.connection import LimitedConnection, connect
from metering.postgres.migrate import APPEND_LOCK, migrate
from metering.postgres.rollup import Counting, from_json, query
from metering.sql_reader import Snapshot, SqlReader
from metering.usage import UsageEvent

CLOSE_TIMEOUT_S: Final = 2.0
_PORTION: Final = 128
"""Events of one statement: while the database inserts some, they are counted and the next put into JSON."""

_INTEGERS = frozenset((*COUNT_FIELDS, *PART_FIELDS, *TIME_FIELDS))
_EVENT_TYPES = [
    "boolean" if name in FLAG_FIELDS else "bigint" if name in _INTEGERS else "jsonb" if name in JSON_FIELDS else "text"
    for name in FIELDS
]
# What was purged is in the sums already, so it is not taken again.
_NOT_PURGED = (
    "WHERE NOT EXISTS (SELECT 1 FROM usage_purges AS purged WHERE purged.tenant_id = given.tenant_id "
    "AND purged.started_before > given.started_at) "
)
_INSERT = from_json("usage_events", FIELDS, _EVENT_TYPES, _NOT_PURGED) + "ON CONFLICT DO NOTHING RETURNING event_id"


_PSEUDONYMISE = (
    "UPDATE usage_events SET user_id = %s WHERE sequence IN (SELECT sequence FROM usage_events "
    "WHERE tenant_id = %s AND user_id = %s AND session_id <> ALL(%s::text[]) LIMIT %s)"
)
_RENAMING = user_sums.renaming("%s", "gen_random_uuid()::text")
_PURGE = (
    "DELETE FROM usage_events WHERE sequence IN (SELECT sequence FROM usage_events "
    "WHERE tenant_id = %s AND started_at < %s ORDER BY sequence DESC LIMIT %s)"
)


@dataclass(slots=True)
class _Slot:
    """One connection and its lock."""

    lock: threading.Lock
    connection: LimitedConnection | None = None


class PostgresLedger(SqlReader):
    """The ledger port on a PostgreSQL database (15 or newer), its tables made when first used.

    ``url`` is libpq's (``postgresql://user:password@host:5432/database?sslmode=verify-full``) and stays secret: no
    error repeats it.
    """

    _MARK = "%s"

    def __init__(self, url: str) -> None:
        self._url = url
        self._writing = _Slot(threading.Lock())
        self._reading = _Slot(threading.Lock())

    def append(self, events: Sequence[UsageEvent]) -> int:
        if not events:
            return 0
        first: dict[str, UsageEvent] = {}
        for event in events:  # of two with one id, the first is inserted
            first.setdefault(event.event_id, event)
        batch = list(first.values())
        with self._using(self._writing) as connection, connection.transaction(), connection.pipeline():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
            counting = Counting(connection)
            inserting: list[psycopg.Cursor[tuple[Any, ...]]] = []
            for at in range(0, len(batch), _PORTION):
                some = batch[at : at + _PORTION]
                inserting.append(connection.execute(query(_INSERT), (dumps([to_dict(event) for event in some]),)))
                counting.add(some)
            return counting.count_in(inserting)

    def close_period(self, closing: PeriodClosing) -> PeriodClosing:
        sql, values = ledger_sql.closing_question(closing, self._MARK)
        with self._using(self._writing) as connection:
            connection.execute(query(sql), values)
        return self._standing(closing.period)

    def pseudonymise(
        self, tenant_id: str, user_id: str, pseudonym: str, keep_sessions: Sequence[str], at_most: int
    ) -> int:
        values = (pseudonym, tenant_id, user_id, list(keep_sessions), at_most)
        with self._using(self._writing) as connection, connection.transaction():
            renamed = connection.execute(_PSEUDONYMISE, values).rowcount
            if renamed < at_most and not keep_sessions:  # nothing of theirs is left that the sums could be of
                for sql in _RENAMING:
                    connection.execute(query(sql), (pseudonym, tenant_id, user_id))
            return renamed

    def purge(self, tenant_id: str, started_before: int, now_ms: int, at_most: int) -> int:
        with self._using(self._writing) as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
            connection.execute(
                "INSERT INTO usage_purges VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                (tenant_id, started_before, now_ms),
            )
            return connection.execute(_PURGE, (tenant_id, started_before, at_most)).rowcount

    @contextmanager
    def snapshot(self) -> Generator[SumsReader]:
        with self._using(self._reading) as connection:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield Snapshot(self._MARK, lambda sql, values: connection.execute(query(sql), values).fetchall())
            connection.execute("COMMIT")

    def compact(self) -> None:
        """Nothing: the database takes back room, and files its log, by its own rules (and in its own time, which on a
        large ledger is longer than any limit here)."""

    def close(self) -> None:
        for slot in (self._reading, self._writing):
            if slot.lock.acquire(
                timeout=CLOSE_TIMEOUT_S
            ):  # else a call still waits for the database, and has its limits
                try:
                    _drop(slot)
                finally:
                    slot.lock.release()

    def _ask(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with self._using(self._reading) as connection:
            return connection.execute(query(sql), values).fetchall()

    @contextmanager
    def _using(self, slot: _Slot) -> Generator[LimitedConnection]:
        """The slot's connection, opened if need be; dropped (which rolls back) if anything goes wrong."""
        with slot.lock:
            try:
                if slot.connection is None:
                    slot.connection = self._open(read_only=slot is self._reading)
                yield slot.connection
            except psycopg.Error as error:
                _drop(slot)
                raise LedgerUnavailable(f"the usage ledger cannot be used: {_words(error)}") from None
            except BaseException:
                _drop(slot)
                raise

    def _open(self, *, read_only: bool) -> LimitedConnection:
        connection = connect(self._url)
        try:
            _require_unicode(connection)
            migrate(connection)
            if read_only:
                connection.execute("SET default_transaction_read_only = on")
        except BaseException:
            connection.close()
            raise
        return connection


def _require_unicode(connection: LimitedConnection) -> None:
    if connection.info.parameter_status("server_encoding") != "UTF8":
        raise LedgerIncompatible("the ledger's database must be encoded in UTF8")


def _words(error: psycopg.Error) -> str:
    """The first line of what happened; never a connection's settings."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _drop(slot: _Slot) -> None:
    connection, slot.connection = slot.connection, None
    if connection is not None:
        with suppress(psycopg.Error):
            connection.close()
