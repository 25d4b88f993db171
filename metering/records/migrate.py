"""Bring the records' tables up to date, with Alembic, under a lock. Driven by ``metering.records.database``.

Alembic is only imported where there is something to migrate: a database that is up to date opens in one question.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Engine, inspect, text

from metering.alembic_turn import ALEMBIC_TURN
from metering.records.area import Area
from metering.records.errors import RecordsIncompatible

VERSION_TABLE: Final = "convergio_records_version"
MIGRATION_LOCK: Final = 0x636F6E7665726703  # of PostgreSQL's advisory locks; the ledger has 01 and 02


def migrate(engine: Engine, areas: Sequence[Area]) -> None:
    """Make the tables of these areas, or bring them up to date. Raises RecordsIncompatible, SQLAlchemyError."""
    there = _versions(engine)
    wanted = {area.name: area.head for area in areas}
    for version in there:
        name, _, number = version.rpartition("_")
        if name in wanted and number > wanted[name].rpartition("_")[2]:
            raise RecordsIncompatible(f"the records have schema {version}, this program knows {wanted[name]}")
    if not set(wanted.values()) <= there:
        _upgrade(engine, areas)


def _versions(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        if not inspect(connection).has_table(VERSION_TABLE):
            return set()
        rows = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608 - a constant
        return {str(row[0]) for row in rows}


def _upgrade(engine: Engine, areas: Sequence[Area]) -> None:
    from alembic import command  # noqa: PLC0415 - half a second of imports, once in a database's life
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "metering:records")
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", "\n".join(_location(area) for area in areas))
    with ALEMBIC_TURN, engine.connect() as connection, connection.execution_options(records_writes=True).begin():
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "heads")


def _location(area: Area) -> str:
    package, _, name = area.package.rpartition(".")
    return f"{package}:{name}"
