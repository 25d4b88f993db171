"""Where every change of tenants, users and keys goes through: one transaction with its number and its audit entry.

Holds what the books share. After a change this process is told at once (``changed``), others find it by its number.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, NoReturn, TypeVar

import sqlalchemy as sa

from metering.records import Records
from server.audit import AuditLog
from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.guard import LOCAL_USER
from server.identity.entries import TenantEntry
from server.identity.tables import take_number, tenants
from server.settings import Settings
from server.tenant_settings import DEFAULT_TENANT

T = TypeVar("T")
NOT_FOUND: Final = 404
PAGE: Final = 200
"""Rows of one answer, at most."""


@dataclass(frozen=True, slots=True)
class Desk:
    """See the module. ``changed`` returns once this process heeds what was just written."""

    settings: Settings
    records: Records
    audit: AuditLog
    epoch_ms: Callable[[], int]
    changed: Callable[[], Awaitable[None]]

    async def write(self, work: Callable[[sa.Connection, int], T]) -> T:
        """``work``, given the change's number, in one transaction. Raises Refused (its own), RecordsError."""
        done = await self.records.run_write(lambda connection: work(connection, take_number(connection)))
        await self.changed()
        return done

    def settings_tenants(self) -> tuple[TenantEntry, ...]:
        """The tenants of the settings, the server's own first."""
        own = TenantEntry(DEFAULT_TENANT, "business", "The server's own", "settings")
        return own, *(TenantEntry(each.id, each.type, each.id, "settings") for each in self.settings.tenants)

    def tenant(self, connection: sa.Connection, tenant_id: str) -> TenantEntry:
        """A tenant who may be given something. Raises Refused where there is none, or it is disabled."""
        for known in self.settings_tenants():
            if known.tenant_id == tenant_id:
                return known
        question = sa.select(tenants).where(tenants.c.tenant_id == tenant_id, tenants.c.disabled_at_ms.is_(None))
        row = connection.execute(question).mappings().first()
        return not_found("tenant") if row is None else tenant_entry(row)


def tenant_entry(row: sa.RowMapping) -> TenantEntry:
    """From a row of ``tenants``."""
    return TenantEntry(
        row["tenant_id"], row["type"], row["name"], "database", row["created_at_ms"], row["disabled_at_ms"]
    )


def tenant_meant(tenant_id: str) -> str:
    """The tenant somebody's keys and users belong to: what the person at this machine makes is the server's own."""
    return DEFAULT_TENANT if tenant_id == LOCAL_USER.tenant_id else tenant_id


def not_found(kind: str) -> NoReturn:
    """Raise Refused: there is none of that id, or it is somebody else's, which sounds the same."""
    raise Refused(ErrorCode.REQUEST_INVALID, f"There is no such {kind}.", http_status=NOT_FOUND)
