"""How long each tenant's data is kept: the type's rules, the operator's settings, the tenant's own choice.

Owns the choices in the records, and a copy of them in memory that a conversation asks when it begins, so that nobody
waits for a database there; other servers' changes are in the copy after the next ``refresh``. Owned by the privacy
office.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa

from metering.records import Records
from metering.records.upsert import upsert
from server.audit import AuditEntry, AuditLog
from server.guard import Identity
from server.permissions import TenantType
from server.privacy import tables
from server.privacy.errors import OutOfBounds
from server.privacy.protection import Span, protection_of
from server.retention_settings import RetentionSettings


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """What counts for one tenant. ``chosen`` names what it chose itself."""

    tenant_id: str
    tenant_type: TenantType
    store: bool
    conversation_days: int
    usage_months: int
    chosen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """What a tenant chooses; ``None`` leaves it to the defaults."""

    store: bool | None = None
    conversation_days: int | None = None
    usage_months: int | None = None


class Retention:
    """See the module."""

    def __init__(
        self, records: Records, audit: AuditLog, settings: RetentionSettings, epoch_ms: Callable[[], int]
    ) -> None:
        self._records = records
        self._audit = audit
        self._settings = settings
        self._epoch_ms = epoch_ms
        self._chosen: dict[str, Mapping[str, Any]] = {}

    async def refresh(self) -> None:
        """Read every tenant's choice. Raises RecordsError."""
        rows = await self._records.run_read(
            lambda connection: connection.execute(sa.select(tables.policies)).mappings().all()
        )
        self._chosen = {str(row["tenant_id"]): {str(name): row[name] for name in row} for row in rows}

    def of(self, tenant_id: str, tenant_type: TenantType) -> RetentionPolicy:
        """What counts for this tenant now."""
        rules, own = protection_of(tenant_type), self._chosen.get(tenant_id, {})
        store: bool | None = own.get("store")
        days, months = own.get("conversation_days"), own.get("usage_months")
        return RetentionPolicy(
            tenant_id,
            tenant_type,
            self._settings.store if store is None else store,
            _within(rules.conversation_days, days),
            _within(rules.usage_months, months),
            tuple(name for name in ("store", "conversation_days", "usage_months") if own.get(name) is not None),
        )

    def types(self) -> dict[str, TenantType]:
        """The tenants that chose something, and what they were then."""
        return {tenant_id: cast("TenantType", row["tenant_type"]) for tenant_id, row in self._chosen.items()}

    async def choose(
        self, actor: Identity, tenant_id: str, tenant_type: TenantType, change: PolicyChange, request_id: str = ""
    ) -> RetentionPolicy:
        """Put a tenant's choice in the place of the one before. Raises OutOfBounds, RecordsError."""
        rules = protection_of(tenant_type)
        _require(rules.conversation_days, change.conversation_days, "conversation_days", tenant_type)
        _require(rules.usage_months, change.usage_months, "usage_months", tenant_type)
        row = {
            "tenant_id": tenant_id,
            "tenant_type": tenant_type,
            "store": change.store,
            "conversation_days": change.conversation_days,
            "usage_months": change.usage_months,
            "changed_at_ms": self._epoch_ms(),
        }
        told = {name: row[name] for name in ("store", "conversation_days", "usage_months")}
        entry = AuditEntry(actor, "retention.changed", tenant_id, tenant_id, told, request_id)

        def write(connection: sa.Connection) -> None:
            upsert(connection, tables.policies, [row], [name for name in row if name != "tenant_id"])
            self._audit.append(connection, entry)

        await self._records.run_write(write)
        self._chosen[tenant_id] = row
        return self.of(tenant_id, tenant_type)


def _within(span: Span, chosen: int | None) -> int:
    """A choice, kept within what the tenant's type allows now."""
    return span.default if chosen is None else min(max(chosen, span.least), span.most)


def _require(span: Span, value: int | None, name: str, tenant_type: TenantType) -> None:
    if value is not None and not span.allows(value):
        raise OutOfBounds(f"{name} of a {tenant_type} may be {span.least} to {span.most}.")
