"""The server's offices: whatever keeps records of tenants, beside the conversations and the usage ledger.

Opens the records' database, brings its tables up to date, and makes what works on it: the audit log and, as they
come, keys, budgets and stored data. Routes reach them by ``host.offices``. Owned by the host, which opens them before
it takes sessions and closes them after the last. Knows no HTTP.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import anyio
import anyio.to_thread

from metering.budgets import BUDGETS
from metering.records import Area, Records
from server.audit import AUDIT, AuditLog
from server.budgets.rules import forget_person
from server.budgets.service import Budgets
from server.contracts.errors import ErrorCode
from server.conversations import CONVERSATIONS
from server.errors import Refused
from server.identity import IDENTITY, IdentityOffice
from server.privacy.consents import Consents
from server.privacy.office import PrivacyOffice
from server.privacy.tables import PRIVACY
from server.settings import Settings
from server.vault import VAULT
from server.vault.office import Vault
from server.webhooks import WEBHOOKS, Webhooks

AREAS: Final[tuple[Area, ...]] = (AUDIT, IDENTITY, BUDGETS, VAULT, CONVERSATIONS, PRIVACY, WEBHOOKS)
"""Every kind of records this program keeps."""
_DRIVER: Final = "postgresql+psycopg"


class Offices:
    """See the module. ``audit`` is the audit log, ``identity`` who may come in, ``budgets`` who may spend what,
    ``privacy`` what is kept of people, and how long; ``webhooks`` sends usage events out; ``vault`` keeps tenants' keys
    at providers (while ``opened``)."""

    vault: Vault

    def __init__(self, settings: Settings, records: Records, epoch_ms: Callable[[], int]) -> None:
        self.settings = settings
        self.records = records
        self.audit = AuditLog(records, epoch_ms)
        self.identity = IdentityOffice(settings, records, self.audit, epoch_ms, time.monotonic)
        self.budgets = Budgets(settings, records, self.audit, epoch_ms)
        self.privacy = PrivacyOffice(settings, records, self.audit, epoch_ms)
        erasure = self.privacy.erasure
        erasure.also(self.identity.leaving.forget, leave=self.identity.end_person)
        erasure.also(forget_person, settle=self.budgets.settle_person)
        self.webhooks = Webhooks(settings, records, self.audit, epoch_ms)

    @property
    def consents(self) -> Consents:
        """Who agreed to be recorded: whoever records asks here."""
        return self.privacy.consents

    async def require_tenant(self, tenant_id: str) -> None:
        """Raise Refused where nobody knows this tenant: what was set for it would hold for nothing.
        Raises RecordsError."""
        await self.privacy.types.refresh()
        if self.privacy.types.of(tenant_id) is None and tenant_id not in self.privacy.retention.types():
            raise Refused(ErrorCode.REQUEST_INVALID, "There is no such tenant.")

    @classmethod
    @asynccontextmanager
    async def opened(cls, settings: Settings, epoch_ms: Callable[[], int]) -> AsyncGenerator[Offices]:
        """The offices, open while the body runs. Raises RecordsError, PriceSheetError, SettingsError."""
        records = await anyio.to_thread.run_sync(open_records, settings)
        try:
            async with AsyncExitStack() as closing:
                offices = cls(settings, records, epoch_ms)
                await offices.identity.callers.sync()
                vault = Vault.opened(settings, records, offices.audit, epoch_ms)
                offices.vault = await closing.enter_async_context(vault)
                await offices.privacy.open()
                try:
                    yield offices
                finally:
                    with anyio.CancelScope(shield=True):
                        await offices.privacy.aclose()
        finally:
            records.close()

    async def run(self) -> None:
        """What they do without being asked, until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.identity.run)
            tasks.start_soon(self.vault.tend)


def open_records(settings: Settings) -> Records:
    """The records' database, its tables up to date: the ledger's PostgreSQL, or a file beside the ledger's.

    Blocks; whoever opens it closes it. Raises RecordsError.
    """
    if settings.ledger.url is None:
        records = Records.in_file(settings.records_path)
    else:
        _, _, rest = settings.ledger.url.get_secret_value().partition("://")
        records = Records(f"{_DRIVER}://{rest}")
    try:
        records.migrate(AREAS)
    except BaseException:
        records.close()
        raise
    return records
