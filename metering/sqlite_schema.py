"""The usage ledger's SQLite schema and its ordered migrations. Driven by ``metering.sqlite_ledger``.

``PRAGMA user_version`` counts the migrations applied; each runs once, in a transaction, whichever of several
processes comes first. A released migration never changes: append the next one.
"""

from __future__ import annotations

import sqlite3

from metering import sqlite_erasure, sqlite_rollup, user_sums
from metering.errors import LedgerIncompatible

_FIRST_SUMS = (
    "events audio_ms_in audio_ms_out audio_ms_synthesized tts_characters input_tokens cached_input_tokens "
    "output_tokens speculative_tokens tool_calls failed interrupted estimated unclaimed"
).split()
_USERS = "usage_users_daily"
"""The newest table of sums: where it is missing, all sums are made from the events."""
_APPEND_ONLY = "the usage ledger is append-only: record a correction instead"


def _first(strict: bool) -> tuple[str, ...]:
    return (
        f"""
        CREATE TABLE usage_events (
            sequence INTEGER PRIMARY KEY,
            event_id TEXT NOT NULL UNIQUE,
            request_id TEXT NOT NULL,
            tenant_id TEXT NOT NULL,
            user_id TEXT NOT NULL,
            session_id TEXT NOT NULL,
            agent_id TEXT NOT NULL,
            mode TEXT NOT NULL,
            started_at INTEGER NOT NULL,
            ended_at INTEGER NOT NULL,
            providers TEXT NOT NULL,
            audio_ms_in INTEGER NOT NULL CHECK (audio_ms_in >= 0),
            audio_ms_out INTEGER NOT NULL CHECK (audio_ms_out >= 0),
            audio_ms_synthesized INTEGER NOT NULL CHECK (audio_ms_synthesized >= 0),
            tts_characters INTEGER NOT NULL CHECK (tts_characters >= 0),
            input_tokens INTEGER NOT NULL CHECK (input_tokens >= 0),
            cached_input_tokens INTEGER NOT NULL CHECK (cached_input_tokens >= 0),
            output_tokens INTEGER NOT NULL CHECK (output_tokens >= 0),
            speculative_tokens INTEGER NOT NULL CHECK (speculative_tokens >= 0),
            tool_calls INTEGER NOT NULL CHECK (tool_calls >= 0),
            latency_ms TEXT NOT NULL,
            interrupted INTEGER NOT NULL CHECK (interrupted IN (0, 1)),
            success INTEGER NOT NULL CHECK (success IN (0, 1)),
            error_code TEXT,
            estimated INTEGER NOT NULL CHECK (estimated IN (0, 1)),
            corrects TEXT
        ){" STRICT" if strict else ""}
        """,
        # One event per request, and one correction per event (see metering.ledger).
        "CREATE UNIQUE INDEX usage_events_request ON usage_events (tenant_id, request_id) WHERE corrects IS NULL",
        "CREATE UNIQUE INDEX usage_events_correction ON usage_events (corrects) WHERE corrects IS NOT NULL",
        "CREATE INDEX usage_events_time ON usage_events (tenant_id, started_at)",
        "CREATE INDEX usage_events_session ON usage_events (session_id)",
        f"""
        CREATE TRIGGER usage_events_no_update BEFORE UPDATE ON usage_events
        BEGIN SELECT RAISE(ABORT, '{_APPEND_ONLY}'); END
        """,
        f"""
        CREATE TRIGGER usage_events_no_delete BEFORE DELETE ON usage_events
        BEGIN SELECT RAISE(ABORT, '{_APPEND_ONLY}'); END
        """,
        # INSERT OR REPLACE deletes without firing the delete trigger, so it is caught before it replaces anything.
        """
        CREATE TRIGGER usage_events_no_replace BEFORE INSERT ON usage_events
        WHEN EXISTS (SELECT 1 FROM usage_events WHERE sequence = NEW.sequence)
          OR EXISTS (SELECT 1 FROM usage_events WHERE event_id = NEW.event_id)
          OR EXISTS (SELECT 1 FROM usage_events WHERE corrects = NEW.corrects)
          OR NEW.corrects IS NULL AND EXISTS (
              SELECT 1 FROM usage_events
              WHERE tenant_id = NEW.tenant_id AND request_id = NEW.request_id AND corrects IS NULL
          )
        BEGIN SELECT RAISE(IGNORE); END
        """,
    )


_SHARES = ("ALTER TABLE usage_events ADD COLUMN shares TEXT NOT NULL DEFAULT '[]'",)

_ARRIVALS = (
    "ALTER TABLE usage_events ADD COLUMN transport TEXT",
    "ALTER TABLE usage_events ADD COLUMN latency_start_ms TEXT NOT NULL DEFAULT '{}'",
)
"""How a conversation came, and when its stages began; unknown for what was recorded before."""

_BREACHES = (
    "ALTER TABLE usage_events ADD COLUMN breaches TEXT NOT NULL DEFAULT '{}'",
    "ALTER TABLE usage_events ADD COLUMN overtaken_tokens INTEGER NOT NULL DEFAULT 0 CHECK (overtaken_tokens >= 0)",
)
"""What was late and what was done about it, and what went to models in vain: none, for what was recorded before."""

_WHOLE_SUMS = ("audio_ms_received", "audio_ms_speech", "audio_ms_sent", "reasoning_tokens", "tool_ms", "call_ms")
_WHOLE = (
    *(
        f"ALTER TABLE usage_events ADD COLUMN {name} INTEGER NOT NULL DEFAULT 0 CHECK ({name} >= 0)"
        for name in (*_WHOLE_SUMS, "audio_ticks_received", "audio_ticks_sent")
    ),
    *(f"ALTER TABLE usage_daily ADD COLUMN {name} INTEGER NOT NULL DEFAULT 0" for name in _WHOLE_SUMS),
)
"""Audio by every stage, reasoning, and the time of tools and calls; unknown, hence 0, for what was recorded before."""


def _sums(strict: bool) -> tuple[str, ...]:
    """Daily sums beside the events (``migrate`` makes them from those that are there), and closed months."""
    end = " STRICT" if strict else ""
    totals = ", ".join(f"{name} INTEGER NOT NULL" for name in _FIRST_SUMS)
    day = "day INTEGER NOT NULL, tenant_id TEXT NOT NULL, agent_id TEXT NOT NULL, mode TEXT NOT NULL"
    return (
        f"CREATE TABLE usage_daily (row_id TEXT PRIMARY KEY, {day}, {totals}){end}",
        f"""
        CREATE TABLE usage_amounts (
            row_id TEXT PRIMARY KEY, {day}, provider TEXT NOT NULL, model TEXT NOT NULL, meter TEXT NOT NULL,
            amount INTEGER NOT NULL, whole_seconds INTEGER NOT NULL
        ){end}
        """,
        "CREATE INDEX usage_events_started ON usage_events (started_at)",  # everybody's newest turns
        "CREATE INDEX usage_daily_day ON usage_daily (day)",
        "CREATE INDEX usage_amounts_day ON usage_amounts (day)",
        f"""
        CREATE TABLE closed_periods (
            period TEXT PRIMARY KEY, closed_at INTEGER NOT NULL, statement TEXT NOT NULL
        ){end}
        """,
        *(
            f"""
            CREATE TRIGGER closed_periods_no_{verb.lower()} BEFORE {verb} ON closed_periods
            BEGIN SELECT RAISE(ABORT, 'a closed month stays as it is'); END
            """
            for verb in ("UPDATE", "DELETE")
        ),
        """
        CREATE TRIGGER closed_periods_no_replace BEFORE INSERT ON closed_periods
        WHEN EXISTS (SELECT 1 FROM closed_periods WHERE period = NEW.period)
        BEGIN SELECT RAISE(IGNORE); END
        """,
    )


def migrations(strict: bool) -> tuple[tuple[str, ...], ...]:
    """Every migration's statements, oldest first. ``strict``: the library knows STRICT tables (3.37 and later)."""
    users = user_sums.tables("INTEGER", "TEXT", " STRICT" if strict else "")
    erasure = sqlite_erasure.tables(strict)
    people = user_sums.INDEXES_BY_PERSON
    return (_first(strict), _SHARES, _ARRIVALS, _sums(strict), _BREACHES, _WHOLE, users, erasure, people)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the database to the newest schema. Raises LedgerIncompatible, sqlite3.Error."""
    steps = migrations(sqlite3.sqlite_version_info >= (3, 37))
    if _version(connection) == len(steps):
        return
    connection.execute("BEGIN IMMEDIATE")
    version = _version(connection)  # another process may have been first
    if version > len(steps):
        raise LedgerIncompatible(f"the ledger has schema {version}, this program knows {len(steps)}")
    summed = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (_USERS,)).fetchone() is not None
    for step in steps[version:]:
        for statement in step:
            connection.execute(statement)
    if not summed:  # once all columns are there that a row is read with
        sqlite_rollup.rebuild(connection)
    sqlite_erasure.guard(connection)  # names every column there is now
    connection.execute(f"PRAGMA user_version = {len(steps)}")
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
