"""How far each receiver has got, in the records. Plain functions of a connection, each of which may be done twice.

A receiver's ``position`` is the place in the ledger up to which everything was delivered or became a dead letter. It
is only ever moved from where it is believed to be, by whoever holds the lease: one server at a time delivers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from metering.records import Area
from metering.records.upsert import upsert

WEBHOOKS: Final = Area("webhooks", "server.webhooks.versions", "webhooks_0001")
ACTIVE: Final = "active"
DISABLED: Final = "disabled"

_metadata = sa.MetaData()
_endpoints = sa.Table(
    "webhook_endpoints",
    _metadata,
    sa.Column("endpoint_id", sa.Text, primary_key=True),
    sa.Column("position", sa.BigInteger),
    sa.Column("state", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("attempts", sa.BigInteger),
    sa.Column("next_attempt_ms", sa.BigInteger),
    sa.Column("failing_since_ms", sa.BigInteger),
    sa.Column("delivered_ms", sa.BigInteger),
    sa.Column("lease_owner", sa.Text),
    sa.Column("lease_until_ms", sa.BigInteger),
)
_letters = sa.Table(
    "webhook_dead_letters",
    _metadata,
    sa.Column("endpoint_id", sa.Text, primary_key=True),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("event_id", sa.Text),
    sa.Column("tenant_id", sa.Text),
    sa.Column("attempts", sa.BigInteger),
    sa.Column("reason", sa.Text),
    sa.Column("at_ms", sa.BigInteger),
    sa.Column("resend", sa.Boolean),
)


@dataclass(frozen=True, slots=True)
class Progress:
    """How a receiver stands. ``attempts`` are those at the event behind ``position``; times are epoch milliseconds."""

    endpoint_id: str
    position: int
    state: str
    reason: str
    attempts: int
    next_attempt_ms: int
    failing_since_ms: int
    delivered_ms: int
    lease_owner: str
    lease_until_ms: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that a receiver did not take."""

    endpoint_id: str
    sequence: int
    event_id: str
    tenant_id: str
    attempts: int
    reason: str
    at_ms: int
    resend: bool


@dataclass(frozen=True, slots=True)
class Lease:
    """Who delivers, and until when nobody else may."""

    owner: str
    until_ms: int


def ensure(connection: Connection, endpoint_id: str, position: int) -> None:
    """A receiver that is new begins at ``position``."""
    new = Progress(
        endpoint_id=endpoint_id,
        position=position,
        state=ACTIVE,
        reason="",
        attempts=0,
        next_attempt_ms=0,
        failing_since_ms=0,
        delivered_ms=0,
        lease_owner="",
        lease_until_ms=0,
    )
    upsert(connection, _endpoints, [asdict(new)])


def progress(connection: Connection, endpoint_id: str) -> Progress | None:
    """How it stands; None where it has never been."""
    row = connection.execute(_endpoints.select().where(_endpoints.c.endpoint_id == endpoint_id)).mappings().first()
    return None if row is None else Progress(**row)


def take(connection: Connection, endpoint_id: str, lease: Lease, now_ms: int) -> Progress | None:
    """Take (or keep) the lease; None where another server has it."""
    free = sa.or_(_endpoints.c.lease_owner == lease.owner, _endpoints.c.lease_until_ms < now_ms)
    taking = _endpoints.update().where(_endpoints.c.endpoint_id == endpoint_id, free)
    done = connection.execute(taking.values(lease_owner=lease.owner, lease_until_ms=lease.until_ms))
    return progress(connection, endpoint_id) if done.rowcount else None


def advance(connection: Connection, at: Progress, position: int, now_ms: int, reason: str = "") -> bool:
    """Everything up to ``position`` is settled; False where the receiver no longer stands where it was."""
    settled = {"position": position, "attempts": 0, "next_attempt_ms": 0, "failing_since_ms": 0, "reason": reason}
    if not reason:
        settled["delivered_ms"] = now_ms
    return _from(connection, at, settled)


def failed(connection: Connection, at: Progress, reason: str, next_attempt_ms: int, now_ms: int) -> bool:
    """It was tried in vain."""
    since = at.failing_since_ms or now_ms
    values: dict[str, Any] = {"attempts": at.attempts + 1, "next_attempt_ms": next_attempt_ms, "reason": reason}
    return _from(connection, at, values | {"failing_since_ms": since})


def disable(connection: Connection, at: Progress, reason: str) -> bool:
    """Send nothing more until somebody enables it."""
    return _from(connection, at, {"state": DISABLED, "reason": reason})


def bury(connection: Connection, letter: DeadLetter) -> None:
    """Keep a dead letter (its place once)."""
    row = asdict(letter)
    upsert(connection, _letters, [row], [name for name in row if name not in _letters.primary_key.columns])


def forget(connection: Connection, endpoint_id: str, sequence: int) -> None:
    """A dead letter was delivered after all."""
    connection.execute(_letters.delete().where(_letters.c.endpoint_id == endpoint_id, _letters.c.sequence == sequence))


def letters(
    connection: Connection, endpoint_id: str, *, resend: bool | None = None, limit: int = 1_000
) -> list[DeadLetter]:
    """Its dead letters, oldest first; only those that are to be sent again, or are not."""
    asked = _letters.select().where(_letters.c.endpoint_id == endpoint_id).order_by(_letters.c.sequence).limit(limit)
    if resend is not None:
        asked = asked.where(_letters.c.resend == resend)
    return [DeadLetter(**row) for row in connection.execute(asked).mappings()]


def letter_count(connection: Connection, endpoint_id: str) -> int:
    """How many there are."""
    asked = sa.select(sa.func.count()).select_from(_letters).where(_letters.c.endpoint_id == endpoint_id)
    return int(connection.execute(asked).scalar_one())


def resend_letters(connection: Connection, endpoint_id: str) -> int:
    """Have all of its dead letters sent again; how many that are."""
    asked = _letters.update().where(_letters.c.endpoint_id == endpoint_id, sa.not_(_letters.c.resend))
    return connection.execute(asked.values(resend=True)).rowcount


def rewind(connection: Connection, endpoint_id: str, position: int) -> bool:
    """Send everything behind ``position`` again; False where the receiver has not even got there."""
    asked = _endpoints.update().where(_endpoints.c.endpoint_id == endpoint_id, _endpoints.c.position > position)
    return bool(connection.execute(asked.values(position=position, attempts=0, next_attempt_ms=0)).rowcount)


def enable(connection: Connection, endpoint_id: str) -> bool:
    """Go on where it stood; False where there is no such receiver."""
    asked = _endpoints.update().where(_endpoints.c.endpoint_id == endpoint_id)
    values = {"state": ACTIVE, "reason": "", "attempts": 0, "next_attempt_ms": 0, "failing_since_ms": 0}
    return bool(connection.execute(asked.values(**values)).rowcount)


def _from(connection: Connection, at: Progress, values: dict[str, Any]) -> bool:
    still = sa.and_(
        _endpoints.c.endpoint_id == at.endpoint_id,
        _endpoints.c.position == at.position,
        _endpoints.c.lease_owner == at.lease_owner,
    )
    return bool(connection.execute(_endpoints.update().where(still).values(**values)).rowcount)
