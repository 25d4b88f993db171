"""Legal holds: what of a tenant may neither be purged nor deleted until somebody lifts it.

A hold is on a whole tenant, a person or one conversation. It stays as a record after it is lifted. Placing and lifting
are audited. ``standing`` and ``held_sessions`` are for whoever deletes, in the transaction that does. Owned by the
privacy office.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from metering.records import Records
from server.audit import AuditEntry, AuditLog
from server.conversations.tables import conversations
from server.guard import Identity
from server.ids import new_id
from server.privacy import tables
from server.privacy.errors import Unknown


@dataclass(frozen=True, slots=True)
class Hold:
    """One hold; of a tenant where it names neither person nor conversation."""

    hold_id: str
    tenant_id: str
    user_id: str | None
    session_id: str | None
    reason: str
    placed_at_ms: int
    placed_by: str
    lifted_at_ms: int | None = None
    lifted_by: str | None = None


class Holds:
    """See the module."""

    def __init__(self, records: Records, audit: AuditLog, epoch_ms: Callable[[], int]) -> None:
        self._records = records
        self._audit = audit
        self._epoch_ms = epoch_ms

    async def place(
        self,
        actor: Identity,
        tenant_id: str,
        reason: str,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        request_id: str = "",
    ) -> Hold:
        """Place a hold. Raises RecordsError."""
        hold_id = new_id("hold")
        hold = Hold(hold_id, tenant_id, user_id, session_id, reason, self._epoch_ms(), actor.user_id)
        what = "session" if session_id is not None else "user" if user_id is not None else "tenant"
        entry = AuditEntry(actor, "hold.placed", tenant_id, hold_id, {"on": what}, request_id)

        def write(connection: sa.Connection) -> None:
            lock_holds(connection, tenant_id)
            connection.execute(tables.holds.insert().values(**{name: getattr(hold, name) for name in _FIELDS}))
            self._audit.append(connection, entry)

        await self._records.run_write(write)
        return hold

    async def lift(self, actor: Identity, tenant_id: str, hold_id: str, request_id: str = "") -> Hold:
        """Lift a hold that stands. Raises Unknown, RecordsError."""
        table = tables.holds
        mine = sa.and_(table.c.hold_id == hold_id, table.c.tenant_id == tenant_id)

        def write(connection: sa.Connection) -> Hold:
            standing = mine & table.c.lifted_at_ms.is_(None)
            change = table.update().where(standing).values(lifted_at_ms=self._epoch_ms(), lifted_by=actor.user_id)
            if connection.execute(change).rowcount:
                self._audit.append(connection, AuditEntry(actor, "hold.lifted", tenant_id, hold_id, {}, request_id))
            row = connection.execute(sa.select(table).where(mine)).mappings().one_or_none()
            if row is None:
                raise Unknown("There is no such hold.")
            return Hold(**row)

        return await self._records.run_write(write)

    async def list(self, tenant_id: str) -> list[Hold]:
        """A tenant's holds, lifted ones too, oldest first. Raises RecordsError."""
        table = tables.holds
        question = sa.select(table).where(table.c.tenant_id == tenant_id).order_by(table.c.placed_at_ms)
        rows = await self._records.run_read(lambda connection: connection.execute(question).mappings().all())
        return [Hold(**row) for row in rows]


def lock_holds(connection: sa.Connection, tenant_id: str) -> None:
    """Until the transaction ends nobody places a hold in this tenant, or deletes anything of it, beside it.

    SQLite's writers take turns anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(
            sa.text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": f"convergio-holds:{tenant_id}"}
        )


def standing(connection: sa.Connection, tenant_id: str) -> list[Hold]:
    """The holds of a tenant that have not been lifted."""
    table = tables.holds
    question = sa.select(table).where(table.c.tenant_id == tenant_id, table.c.lifted_at_ms.is_(None))
    return [Hold(**row) for row in connection.execute(question).mappings()]


def holding(holds: list[Hold], user_id: str | None, session_id: str | None = None) -> list[str]:
    """Which of a tenant's standing holds keep this person's data as a whole, or this conversation."""
    return [
        hold.hold_id
        for hold in holds
        if (hold.session_id is None and hold.user_id in (None, user_id))
        or (hold.session_id is not None and hold.session_id == session_id)
    ]


def not_held(tenant_id: str) -> sa.ColumnElement[bool]:
    """Of ``conversations`` of this tenant: those that no hold keeps."""
    table = tables.holds
    held = sa.select(sa.literal(1)).where(
        table.c.tenant_id == tenant_id,
        table.c.lifted_at_ms.is_(None),
        sa.or_(
            sa.and_(table.c.user_id.is_(None), table.c.session_id.is_(None)),
            sa.and_(table.c.session_id.is_(None), table.c.user_id == conversations.c.user_id),
            table.c.session_id == conversations.c.session_id,
        ),
    )
    return ~sa.exists(held.correlate(conversations))


_FIELDS: tuple[Any, ...] = tuple(Hold.__slots__)
