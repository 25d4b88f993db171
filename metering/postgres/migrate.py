"""Bring a database to the newest schema, with Alembic, under a lock. Driven by ``metering.postgres.ledger``.

Alembic and SQLAlchemy are only imported where there is something to migrate: a ledger that is up to date opens in one
question.
"""

from __future__ import annotations

from typing import Final

import psycopg

from metering.alembic_turn import ALEMBIC_TURN
from metering.errors import LedgerIncompatible
from metering.postgres.connection import LimitedConnection
from metering.postgres.rollup import Connection, rebuild

HEAD: Final = "0007"
"""The newest migration in ``versions``; a test holds the two together."""
KNOWN: Final = frozenset({"0001", "0002", "0003", "0004", "0005", "0006", HEAD})
MIGRATION_LOCK: Final = 0x636F6E7665726701  # "converg", 1: of PostgreSQL's advisory locks
APPEND_LOCK: Final = 0x636F6E7665726702


def migrate(connection: LimitedConnection) -> None:
    """Make the tables, or bring them up to date. Raises LedgerIncompatible, psycopg.Error.

    ``connection`` is used and left open, outside any transaction.
    """
    version = _version(connection)
    if version == HEAD:
        return
    if version is not None and version not in KNOWN:
        raise LedgerIncompatible(f"the ledger has schema {version}, this program knows {HEAD}")
    _upgrade(connection)


def _version(connection: Connection) -> str | None:
    if connection.execute("SELECT to_regclass('convergio_usage_version') IS NULL").fetchone() == (True,):
        return None
    row = connection.execute("SELECT version_num FROM convergio_usage_version").fetchone()
    return None if row is None else str(row[0])


def _has_user_sums(connection: Connection) -> bool:
    return connection.execute("SELECT to_regclass('usage_users_daily') IS NOT NULL").fetchone() == (True,)


def _upgrade(connection: LimitedConnection) -> None:
    from alembic import command  # noqa: PLC0415 - half a second of imports, once in a ledger's life
    from alembic.config import Config  # noqa: PLC0415
    from sqlalchemy import create_engine  # noqa: PLC0415
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415
    from sqlalchemy.pool import StaticPool  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "metering:postgres")
    engine = create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=StaticPool)
    autocommit = connection.autocommit
    connection.autocommit = False
    try:
        with ALEMBIC_TURN, engine.begin() as shared, connection.patient():  # all of it, or nothing
            shared.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
            summed = _has_user_sums(connection)
            config.attributes["connection"] = shared
            command.upgrade(config, "head")
            if not summed:  # once all columns are there that a row is read with
                rebuild(connection)
    except DBAPIError as error:
        raise psycopg.OperationalError(f"the ledger's tables cannot be made: {error.orig}") from None
    finally:
        if not connection.closed:
            connection.rollback()
            connection.autocommit = autocommit
