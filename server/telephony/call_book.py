"""Calls on record: which there were, what became of them, and which request asked for them. Survives a restart.

A request to call somebody is written down, durably, before anybody is dialled; the same request then finds what was
written, whatever happened since. One SQLite file; all methods block, and are called in worker threads.
"""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from metering.rollup import DAY_MS
from server.telephony.control import CallStatus
from server.telephony.port import CallDirection

KEEP_MS: Final = 30 * DAY_MS
OPEN: Final = ("dialling", "ringing", "active")
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS calls (
    call_id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, request_id TEXT, fingerprint TEXT NOT NULL DEFAULT '',
    carrier TEXT NOT NULL, carrier_call_id TEXT NOT NULL DEFAULT '', direction TEXT NOT NULL,
    number TEXT NOT NULL DEFAULT '', status TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '',
    created_ms INTEGER NOT NULL, ended_ms INTEGER, session_id TEXT, call_ms INTEGER, UNIQUE (tenant_id, request_id)
)
"""
_FIELDS: Final = (
    "call_id, tenant_id, request_id, fingerprint, carrier, carrier_call_id, direction, number, status, reason, "
    "created_ms, ended_ms, session_id, call_ms"
)


@dataclass(frozen=True, slots=True)
class BookedCall:
    """One call. ``number`` is masked; ``fingerprint`` tells one request from another with the same id."""

    call_id: str
    tenant_id: str
    request_id: str | None
    fingerprint: str
    carrier: str
    carrier_call_id: str
    direction: CallDirection
    number: str
    status: CallStatus
    reason: str
    created_ms: int
    ended_ms: int | None = None
    session_id: str | None = None
    call_ms: int | None = None


class CallBook:
    """The file. Raises sqlite3.Error where it cannot be used."""

    def __init__(self, path: Path, now_ms: int) -> None:
        """Calls that were open when the last process ended are over: nobody knows how."""
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=5.0)
        run = self._connection.execute
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")
        run(_TABLE)
        self._swept_ms = 0
        self._sweep(now_ms)
        run("UPDATE calls SET status = 'unknown' WHERE status = 'dialling'")
        # What rang by SIP rang through the process that died; other carriers still tell what became of theirs.
        run(
            "UPDATE calls SET status = 'ended', reason = 'lost', ended_ms = ? "
            "WHERE status = 'active' OR (status = 'ringing' AND carrier = 'sip')",
            (now_ms,),
        )

    def begin(self, call: BookedCall) -> BookedCall:
        """Write a call down; where its request was written before, that call instead.

        What a request asks for is durable when this returns: nobody is dialled before. The rest survives a process that
        dies, which is enough for what only tells of calls.
        """
        with self._lock:
            marks = ", ".join("?" * len(_FIELDS.split(", ")))
            self._sweep(call.created_ms)
            durable = call.request_id is not None
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._connection.execute(
                f"INSERT INTO calls ({_FIELDS}) VALUES ({marks}) ON CONFLICT DO NOTHING",  # noqa: S608 - our own names
                [getattr(call, name) for name in _FIELDS.split(", ")],
            )
            if call.request_id is None:
                return call
            return self._requested(call.tenant_id, call.request_id) or call

    def requested(self, tenant_id: str, request_id: str) -> BookedCall | None:
        """The call that a tenant's request asked for."""
        with self._lock:
            return self._requested(tenant_id, request_id)

    def _requested(self, tenant_id: str, request_id: str) -> BookedCall | None:
        query = f"SELECT {_FIELDS} FROM calls WHERE tenant_id = ? AND request_id = ?"  # noqa: S608
        return _read(self._connection.execute(query, (tenant_id, request_id)).fetchone())

    def _sweep(self, now_ms: int) -> None:
        """Forget what is older than 30 days, once a day."""
        if now_ms - self._swept_ms >= DAY_MS:
            self._swept_ms = now_ms
            self._connection.execute("DELETE FROM calls WHERE created_ms < ?", (now_ms - KEEP_MS,))

    def find(self, call_id: str) -> BookedCall | None:
        """A call by its id."""
        with self._lock:
            query = f"SELECT {_FIELDS} FROM calls WHERE call_id = ?"  # noqa: S608
            return _read(self._connection.execute(query, (call_id,)).fetchone())

    def placed(self, call_id: str, carrier_call_id: str) -> None:
        """The carrier has taken the call, and calls it so."""
        with self._lock:
            self._connection.execute(
                "UPDATE calls SET carrier_call_id = ?, status = CASE status WHEN 'dialling' THEN 'ringing' ELSE status "
                "END WHERE call_id = ?",
                (carrier_call_id, call_id),
            )

    def became(self, call_id: str, status: CallStatus, reason: str, now_ms: int) -> None:
        """A call has come to this; what is over stays as it was."""
        over_ms = None if status in OPEN else now_ms
        with self._lock:
            self._connection.execute(
                "UPDATE calls SET status = ?, reason = ?, ended_ms = ? WHERE call_id = ? AND status IN "
                "('dialling', 'ringing', 'active', 'unknown') AND NOT (status = 'active' AND ? = 'ringing')",
                (status, reason, over_ms, call_id, status),
            )

    def held(self, call_id: str, session_id: str | None, call_ms: int) -> None:
        """Which conversation it was, and how long."""
        with self._lock:
            self._connection.execute(
                "UPDATE calls SET session_id = ?, call_ms = ? WHERE call_id = ?", (session_id, call_ms, call_id)
            )

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


def _read(row: tuple[object, ...] | None) -> BookedCall | None:
    return None if row is None else BookedCall(*cast("tuple[Any, ...]", row))
