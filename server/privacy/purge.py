"""The purge: what is older than a tenant's policy says goes, in small batches, each a transaction of its own.

Nothing is remembered between batches, so a purge that was cut short goes on with the next. What a legal hold keeps
stays. A run tells the metrics; for each tenant of which something went, a line of the audit log. Driven by the privacy
office, on its own or when somebody asks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, cast

import anyio.to_thread
import sqlalchemy as sa

from metering.erasure import ErasableLedger, months_before
from metering.errors import LedgerError
from metering.records import Records, RecordsError
from metering.rollup import DAY_MS
from server.audit import AuditEntry, AuditLog
from server.conversations.store import delete_conversations
from server.conversations.tables import conversations
from server.guard import Identity
from server.permissions import TenantType
from server.privacy import tables
from server.privacy.holds import lock_holds, not_held, standing
from server.privacy.jobs import expire
from server.privacy.retention import Retention

logger = logging.getLogger(__name__)

CONVERSATIONS_AT_ONCE: Final = 100
EVENTS_AT_ONCE: Final = 1_000
JOBS_KEPT_DAYS: Final = 90
_ENDED: Final = ("finished", "held", "failed")


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """What one run took out, by tenant: conversations and usage events; and exports whose time was over."""

    conversations: dict[str, int] = field(default_factory=dict[str, int])
    usage_events: dict[str, int] = field(default_factory=dict[str, int])
    exports: int = 0
    held_tenants: tuple[str, ...] = ()
    """Whose usage events stay because something of them is held."""


class Purge:
    """See the module."""

    def __init__(
        self,
        records: Records,
        audit: AuditLog,
        retention: Retention,
        type_of: Callable[[str], TenantType | None],
        epoch_ms: Callable[[], int],
    ) -> None:
        """``type_of`` is what the settings (or whoever keeps tenants) say a tenant is."""
        self._records = records
        self._audit = audit
        self._retention = retention
        self._type_of = type_of
        self._epoch_ms = epoch_ms

    async def run(self, ledger: ErasableLedger, actor: Identity, only: str | None = None) -> PurgeReport:
        """Take out everything that is due, of all tenants or one. Raises RecordsError, LedgerError.

        What it raises for leaves the rest for the next run.
        """
        report = PurgeReport(exports=await self._exports())
        types = await self._types()
        for tenant_id in [only] if only is not None else sorted(types):
            policy = self._retention.of(tenant_id, self._known(tenant_id, types))
            before_ms = self._epoch_ms() - policy.conversation_days * DAY_MS
            gone = await self._conversations(tenant_id, before_ms)
            if gone:
                report.conversations[tenant_id] = gone
                await self._tell(actor, tenant_id, {"conversations": gone, "days": policy.conversation_days})
        held: list[str] = []
        for tenant_id in [only] if only is not None else await anyio.to_thread.run_sync(ledger.tenants):
            policy = self._retention.of(tenant_id, self._known(tenant_id, types))
            if await self._records.run_read(partial(standing, tenant_id=tenant_id)):
                held.append(tenant_id)
                continue
            events = await self._usage(ledger, tenant_id, policy.usage_months)
            if events:
                report.usage_events[tenant_id] = events
                await self._tell(actor, tenant_id, {"usage_events": events, "months": policy.usage_months})
        try:
            if report.conversations:
                await anyio.to_thread.run_sync(self._records.compact)
            if report.usage_events:
                await anyio.to_thread.run_sync(ledger.compact)
        except (RecordsError, LedgerError) as error:  # it is gone; the files are tidied with the next
            logger.warning("a database could not be compacted after a purge", extra={"error": str(error)})
        return PurgeReport(report.conversations, report.usage_events, report.exports, tuple(held))

    def _known(self, tenant_id: str, seen: dict[str, TenantType]) -> TenantType:
        return self._type_of(tenant_id) or seen.get(tenant_id, "business")

    async def _types(self) -> dict[str, TenantType]:
        """Tenants with conversations, and what they were at the last of them; over that, what they chose as."""
        table = conversations
        question = sa.select(table.c.tenant_id, sa.func.max(table.c.tenant_type)).group_by(table.c.tenant_id)
        rows = await self._records.run_read(lambda connection: connection.execute(question).all())
        found: dict[str, TenantType] = {str(row[0]): cast("TenantType", row[1]) for row in rows}
        found.update(self._retention.types())
        return found

    async def _conversations(self, tenant_id: str, before_ms: int) -> int:
        table, gone = conversations, 0
        due = (
            sa.select(table.c.session_id)
            .where(table.c.tenant_id == tenant_id, table.c.last_at_ms < before_ms, not_held(tenant_id))
            .limit(CONVERSATIONS_AT_ONCE)
        )

        def some(connection: sa.Connection) -> int:
            lock_holds(connection, tenant_id)
            return delete_conversations(connection, connection.execute(due).scalars().all())

        while taken := await self._records.run_write(some):
            gone += taken
        return gone

    async def _usage(self, ledger: ErasableLedger, tenant_id: str, months: int) -> int:
        now_ms, gone = self._epoch_ms(), 0
        before_ms = months_before(now_ms, months)
        take = partial(ledger.purge, tenant_id, before_ms, now_ms, EVENTS_AT_ONCE)
        while taken := await anyio.to_thread.run_sync(take):
            gone += taken
        return gone

    async def _exports(self) -> int:
        """Exports whose time is over, and what was asked long ago."""
        now_ms, jobs = self._epoch_ms(), tables.jobs

        def write(connection: sa.Connection) -> int:
            gone = expire(connection, jobs.c.expires_at_ms < now_ms)
            ended = jobs.c.state.in_((*_ENDED, "expired")) & jobs.c.expires_at_ms.is_(None)
            old = jobs.c.finished_at_ms < now_ms - JOBS_KEPT_DAYS * DAY_MS
            connection.execute(jobs.delete().where(ended & old))
            return gone

        return await self._records.run_write(write)

    async def _tell(self, actor: Identity, tenant_id: str, details: dict[str, int]) -> None:
        await self._audit.record(AuditEntry(actor, "retention.purged", tenant_id, tenant_id, details))
