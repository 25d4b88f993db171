"""What SQLite's triggers permit to be done to usage events, and the doing of it. See ``metering.erasure``.

Statements on a connection whose transaction is the caller's (``metering.sqlite_ledger``). The trigger that guards
updates names every column, so it is made anew after each migration (``guard``).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from metering import user_sums
from metering.erasure import LEAST_KEPT_MS, PSEUDONYM_PREFIX

_APPEND_ONLY = "the usage ledger is append-only: record a correction instead"
_RENAMING = user_sums.renaming("?", "lower(hex(randomblob(16)))")


def tables(strict: bool) -> tuple[str, ...]:
    """The migration: which months of which tenant are purged, and that only they may be."""
    return (
        f"""
        CREATE TABLE usage_purges (
            tenant_id TEXT NOT NULL, started_before INTEGER NOT NULL, purged_at INTEGER NOT NULL,
            PRIMARY KEY (tenant_id, started_before), CHECK (started_before <= purged_at - {LEAST_KEPT_MS})
        ){" STRICT" if strict else ""}
        """,
        *(
            f"""
            CREATE TRIGGER usage_purges_no_{verb.lower()} BEFORE {verb} ON usage_purges
            BEGIN SELECT RAISE(ABORT, 'what was purged stays purged'); END
            """
            for verb in ("UPDATE", "DELETE")
        ),
        "DROP TRIGGER IF EXISTS usage_events_no_delete",
        """
        CREATE TRIGGER usage_events_no_delete BEFORE DELETE ON usage_events
        WHEN NOT EXISTS (
            SELECT 1 FROM usage_purges AS purged
            WHERE purged.tenant_id = OLD.tenant_id AND purged.started_before > OLD.started_at
        )
        BEGIN SELECT RAISE(ABORT, 'the usage ledger is append-only: record a correction instead'); END
        """,
        # A journal found late would count what is in the sums already.
        """
        CREATE TRIGGER usage_events_purged BEFORE INSERT ON usage_events
        WHEN EXISTS (
            SELECT 1 FROM usage_purges AS purged
            WHERE purged.tenant_id = NEW.tenant_id AND purged.started_before > NEW.started_at
        )
        BEGIN SELECT RAISE(IGNORE); END
        """,
    )


def guard(connection: sqlite3.Connection) -> None:
    """Refuse every update but one: a person's id that becomes a pseudonym, all else staying as it is."""
    columns = [str(row[1]) for row in connection.execute("PRAGMA table_info(usage_events)")]
    same = " AND ".join(f"NEW.{name} IS OLD.{name}" for name in columns if name != "user_id")
    connection.execute("DROP TRIGGER IF EXISTS usage_events_no_update")
    connection.execute(
        f"""
        CREATE TRIGGER usage_events_no_update BEFORE UPDATE ON usage_events
        WHEN NOT (
            NEW.user_id GLOB '{PSEUDONYM_PREFIX}*' AND OLD.user_id NOT GLOB '{PSEUDONYM_PREFIX}*' AND {same}
        )
        BEGIN SELECT RAISE(ABORT, '{_APPEND_ONLY}'); END
        """
    )


def pseudonymise(
    connection: sqlite3.Connection,
    tenant_id: str,
    user_id: str,
    pseudonym: str,
    keep_sessions: Sequence[str],
    at_most: int,
) -> int:
    """See ``ErasableLedger``."""
    renamed = connection.execute(
        "UPDATE usage_events SET user_id = ? WHERE sequence IN (SELECT sequence FROM usage_events "
        "WHERE tenant_id = ? AND user_id = ? AND session_id NOT IN (SELECT value FROM json_each(?)) LIMIT ?)",
        (pseudonym, tenant_id, user_id, json.dumps(list(keep_sessions)), at_most),
    ).rowcount
    if renamed < at_most and not keep_sessions:  # nothing of theirs is left that the sums could be of
        for sql in _RENAMING:
            connection.execute(sql, (pseudonym, tenant_id, user_id))
    return renamed


def purge(connection: sqlite3.Connection, tenant_id: str, started_before: int, now_ms: int, at_most: int) -> int:
    """See ``ErasableLedger``.

    The newest event of all stays until there is a newer one: SQLite gives the number behind the last that is there, and
    who has read up to a number (webhooks, budgets) would pass by an event that got it again.
    """
    connection.execute(
        "INSERT INTO usage_purges VALUES (?, ?, ?) ON CONFLICT DO NOTHING",  # which a CHECK is not
        (tenant_id, started_before, now_ms),
    )
    return connection.execute(
        "DELETE FROM usage_events WHERE sequence IN (SELECT sequence FROM usage_events "
        "WHERE tenant_id = ? AND started_at < ? AND sequence < (SELECT max(sequence) FROM usage_events) "
        "ORDER BY sequence DESC LIMIT ?)",
        (tenant_id, started_before, at_most),
    ).rowcount
