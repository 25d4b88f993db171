"""The records' database: one SQLAlchemy engine on SQLite or PostgreSQL, and how it is used from the event loop.

Owns the connections. Knows no table: each area (``metering.records.area``) has its own, written with SQLAlchemy Core,
which is what makes one set of statements right for both databases. Work is a plain function of a connection, run in a
worker thread of a small pool, within a limit. Whoever composes the server opens and closes it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
import anyio.to_thread
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from metering.records.area import Area
from metering.records.errors import RecordConflict, RecordsError, RecordsUnavailable
from metering.records.migrate import migrate

T = TypeVar("T")

WORKERS: Final = 4
BUSY_LIMIT_S: Final = 5.0
"""How long a writer waits for another, and a connection to be made."""
RUN_LIMIT_S: Final = 10.0
_WRITES: Final = "records_writes"


class Records:
    """See the module. ``write`` and ``read`` block: threads only; ``run_write`` and ``run_read`` are for the loop."""

    def __init__(self, url: str) -> None:
        """``url`` as SQLAlchemy has it, ``sqlite:///`` or ``postgresql+psycopg://``. Connects when first used."""
        self._engine = _engine(url)
        self._closed = False
        event.listen(self._engine, "checkin", self._given_back)
        self._limiter: anyio.CapacityLimiter | None = None

    @classmethod
    def in_file(cls, path: Path) -> Records:
        """Records in a SQLite file, made (readable by its owner only) when it is not there."""
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        return cls(f"sqlite:///{path}")

    @property
    def is_sqlite(self) -> bool:
        """Whether they are in a file of this machine."""
        return self._engine.dialect.name == "sqlite"

    def migrate(self, areas: Sequence[Area]) -> None:
        """Bring the tables of these areas up to date. Raises RecordsError."""
        with _translated():
            migrate(self._engine, areas)

    @contextmanager
    def write(self) -> Generator[Connection]:
        """One transaction that may write, committed at the body's end and rolled back if it raises.

        On SQLite writers take turns from its beginning; on PostgreSQL it reads committed data, and rows that are to
        change are locked with ``with_for_update``. Raises RecordsError.
        """
        with _translated(), self._engine.connect() as connection:
            writing = connection.execution_options(**{_WRITES: True})
            with writing.begin():
                yield writing

    @contextmanager
    def read(self) -> Generator[Connection]:
        """One transaction that reads. Raises RecordsError."""
        with _translated(), self._engine.connect() as connection, connection.begin():
            yield connection

    async def run_write(self, work: Callable[[Connection], T], limit_s: float = RUN_LIMIT_S) -> T:
        """``work`` in a transaction that may write. Raises RecordsError; after ``limit_s``, RecordsUnavailable.

        Work that is given up may still be done: what it does must bear being done twice.
        """

        def run() -> T:
            with self.write() as connection:
                return work(connection)

        return await self._run(run, limit_s)

    async def run_read(self, work: Callable[[Connection], T], limit_s: float = RUN_LIMIT_S) -> T:
        """``work`` in a transaction that reads. Raises RecordsError; after ``limit_s``, RecordsUnavailable."""

        def run() -> T:
            with self.read() as connection:
                return work(connection)

        return await self._run(run, limit_s)

    def compact(self) -> None:
        """Leave nothing of what was deleted in SQLite's write-ahead log (the file itself is overwritten as it goes).

        Blocks. On PostgreSQL there is nothing to do: it takes back room, and files its log, by its own rules. Raises
        RecordsError; RecordsUnavailable while somebody reads.
        """
        if not self.is_sqlite:
            return
        with _translated():
            connection = self._engine.raw_connection()
            try:
                busy = connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            except sqlite3.Error as error:
                raise RecordsUnavailable(f"the records' database fails: {error}") from None
            finally:
                connection.close()
        if busy:
            raise RecordsUnavailable("the records are being read; what was deleted is still in their log")

    def close(self) -> None:
        """Close its connections: at once those nobody uses, the others (of work that was given up) when it is done."""
        self._closed = True
        self._engine.dispose()

    def _given_back(self, _connection: object, record: ConnectionPoolEntry) -> None:
        if self._closed:  # the pool it goes back to is nobody's any more
            record.invalidate()

    async def _run(self, work: Callable[[], T], limit_s: float) -> T:
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(WORKERS)
        try:
            with anyio.fail_after(limit_s):
                return await anyio.to_thread.run_sync(work, limiter=self._limiter, abandon_on_cancel=True)
        except TimeoutError:
            raise RecordsUnavailable("the records' database does not answer in time") from None


@contextmanager
def _translated() -> Generator[None]:
    """SQLAlchemy's errors as ours; statements and their values never stand in a message."""
    try:
        yield
    except RecordsError:
        raise
    except IntegrityError as error:
        raise RecordConflict(_reason(error)) from None
    except (DBAPIError, PoolTimeout) as error:
        raise RecordsUnavailable(f"the records' database fails: {_reason(error)}") from None
    except SQLAlchemyError as error:
        raise RecordsError(type(error).__name__) from error


def _reason(error: SQLAlchemyError) -> str:
    original = getattr(error, "orig", None)
    lines = str(original or type(error).__name__).splitlines()
    return lines[0] if lines else type(error).__name__


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        arguments = {"connect_timeout": int(BUSY_LIMIT_S), "application_name": "convergio-voice"}
        return create_engine(
            url,
            connect_args=arguments,
            pool_size=WORKERS,
            max_overflow=1,
            pool_timeout=BUSY_LIMIT_S,
            pool_pre_ping=True,
            hide_parameters=True,
        )
    engine = create_engine(
        url,
        connect_args={"timeout": BUSY_LIMIT_S, "check_same_thread": False},
        pool_size=WORKERS,
        max_overflow=1,
        pool_timeout=BUSY_LIMIT_S,
        hide_parameters=True,
    )
    # The driver's own transactions begin too late, and never at once for writing
    # (https://docs.sqlalchemy.org/en/20/dialects/sqlite.html, "Enabling Non-Legacy SQLite Transactional Modes").
    event.listen(engine, "connect", _open_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _open_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
