"""Tenants: those of the database beside those of the settings. Who operates the server makes and disables them."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from metering.records import RecordConflict
from server.audit import AuditEntry
from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.guard import Identity
from server.identity.desk import Desk, not_found, tenant_entry
from server.identity.entries import TenantEntry, fresh_id
from server.identity.tables import tenants
from server.permissions import TenantType
from server.tenant_settings import RESERVED


@dataclass(frozen=True, slots=True)
class NewTenant:
    """``tenant_id`` is made up where none is given."""

    type: TenantType
    name: str
    tenant_id: str | None = None


class TenantBook:
    """See the module."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def list(self) -> tuple[TenantEntry, ...]:
        """Everybody, the settings' own first. Raises RecordsError."""
        question = sa.select(tenants).order_by(tenants.c.tenant_id)
        rows = await self._desk.records.run_read(lambda connection: connection.execute(question).mappings().all())
        return *self._desk.settings_tenants(), *(tenant_entry(row) for row in rows)

    async def create(self, actor: Identity, wanted: NewTenant, request_id: str = "") -> TenantEntry:
        """A new tenant. Raises RecordConflict where the id is taken, RecordsError."""
        desk, tenant_id = self._desk, wanted.tenant_id or fresh_id("ten")
        if tenant_id in {*RESERVED, *(each.id for each in desk.settings.tenants)}:
            raise RecordConflict("the settings have a tenant of that id")
        made = TenantEntry(tenant_id, wanted.type, wanted.name, "database", desk.epoch_ms())

        def work(connection: sa.Connection, number: int) -> TenantEntry:
            row = {"tenant_id": tenant_id, "type": made.type, "name": made.name, "created_at_ms": made.created_at_ms}
            connection.execute(tenants.insert().values(**row, disabled_at_ms=None, version=number))
            details = {"type": made.type, "name": made.name}
            entry = AuditEntry(actor, "tenant.created", tenant_id, tenant_id, details, request_id)
            desk.audit.append(connection, entry)
            return made

        return await desk.write(work)

    async def change(
        self,
        actor: Identity,
        tenant_id: str,
        *,
        name: str | None = None,
        disabled: bool | None = None,
        request_id: str = "",
    ) -> TenantEntry:
        """Rename a tenant, close it to all of its keys and users, or open it again. Raises Refused, RecordsError."""
        desk = self._desk
        if any(tenant_id == each.tenant_id for each in desk.settings_tenants()):
            raise Refused(ErrorCode.REQUEST_INVALID, "This tenant stands in the settings; change it there.")

        def work(connection: sa.Connection, number: int) -> TenantEntry:
            mine = tenants.c.tenant_id == tenant_id
            row = connection.execute(sa.select(tenants).where(mine).with_for_update()).mappings().first()
            if row is None:
                not_found("tenant")
            changed = dict(row)
            if name is not None:
                changed["name"] = name
            if disabled is not None:
                since: int | None = row["disabled_at_ms"]
                changed["disabled_at_ms"] = (since or desk.epoch_ms()) if disabled else None
            connection.execute(tenants.update().where(mine).values(changed | {"version": number}))
            said = {"name": name, "disabled": disabled}
            details = {key: value for key, value in said.items() if value is not None}
            desk.audit.append(
                connection, AuditEntry(actor, "tenant.changed", tenant_id, tenant_id, details, request_id)
            )
            found = connection.execute(sa.select(tenants).where(mine)).mappings().one()
            return tenant_entry(found)

        return await desk.write(work)
