"""Connections to the ledger's PostgreSQL, on which every wait has a limit: to connect, for a lock, for a statement, for
a network that swallows everything, for a server that is there and says nothing. Driven by ``metering.postgres.ledger``.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict

from metering.errors import LedgerIncompatible

CONNECT_TIMEOUT_S: Final = 5
STATEMENT_TIMEOUT_MS: Final = 10_000
LOCK_TIMEOUT_MS: Final = 5_000
NETWORK_TIMEOUT_MS: Final = 10_000
ANSWER_TIMEOUT_S = 15.0
"""Longer than the server's own limits, for a server that is there and says nothing: stopped, or out of memory."""
MIGRATION_LIMIT_S: Final = 3_600
"""For one statement of a migration: an index of a large ledger takes its time, and the journal waits."""
_LOOK_EVERY_S: Final = 0.1  # while waiting, for an interrupt

T = TypeVar("T")


class LimitedConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that gives up on an answer that does not come; the limits in the server are no help then."""

    _limit_s: float | None = None

    @contextmanager
    def patient(self) -> Generator[None]:
        """Inside a transaction: its statements may take as long as those of a migration do."""
        self.execute("SELECT set_config('statement_timeout', %s, true)", (f"{MIGRATION_LIMIT_S}s",))
        self._limit_s = MIGRATION_LIMIT_S + ANSWER_TIMEOUT_S
        try:
            yield
        finally:
            self._limit_s = None

    def wait(self, gen: PQGen[T], interval: float = _LOOK_EVERY_S, timeout: float | None = None) -> T:
        limit_s = ANSWER_TIMEOUT_S if self._limit_s is None else self._limit_s
        return super().wait(gen, interval, limit_s if timeout is None else timeout)


def connect(url: str) -> LimitedConnection:
    """A connection that commits by itself. Raises psycopg.Error; LedgerIncompatible where ``url`` is none."""
    return LimitedConnection.connect(**_parameters(url), autocommit=True)


def _parameters(url: str) -> dict[str, Any]:
    """What the URL says, and the limits where it is silent."""
    try:
        given: dict[str, Any] = conninfo_to_dict(url)
    except psycopg.Error:
        raise LedgerIncompatible("the ledger's address is no PostgreSQL URL") from None
    limits = {
        "application_name": "convergio-voice",
        "client_encoding": "UTF8",
        "connect_timeout": CONNECT_TIMEOUT_S,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": NETWORK_TIMEOUT_MS,
    }
    options = (
        f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c lock_timeout={LOCK_TIMEOUT_MS} "
        f"-c idle_in_transaction_session_timeout={STATEMENT_TIMEOUT_MS} -c synchronous_commit=on "
        "-c default_transaction_isolation=read\\ committed"
    )
    given["options"] = f"{given.get('options', '')} {options}".strip()
    return limits | given
