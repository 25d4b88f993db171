"""The server's offices: whatever keeps records of tenants, beside the conversations and the usage ledger.

Opens the records' database, brings its tables up to date, and makes what works on it: the audit log and, as they
come, keys, budgets and stored data. Routes reach them by ``host.offices``. Owned by the host, which opens them before
it takes sessions and closes them after the last. Knows no HTTP.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

import anyio.to_thread

from metering.records import Area, Records
from server.audit import AUDIT, AuditLog
from server.settings import Settings
from server.webhooks import WEBHOOKS, Webhooks

AREAS: Final[tuple[Area, ...]] = (AUDIT, WEBHOOKS)
"""Every kind of records this program keeps."""
_DRIVER: Final = "postgresql+psycopg"


class Offices:
    """See the module. ``audit`` is the audit log, ``webhooks`` sends usage events out."""

    def __init__(self, settings: Settings, records: Records, epoch_ms: Callable[[], int]) -> None:
        self.settings = settings
        self.records = records
        self.audit = AuditLog(records, epoch_ms)
        self.webhooks = Webhooks(settings, records, self.audit, epoch_ms)

    @classmethod
    @asynccontextmanager
    async def opened(cls, settings: Settings, epoch_ms: Callable[[], int]) -> AsyncGenerator[Offices]:
        """The offices, open while the body runs. Raises RecordsError."""
        records = await anyio.to_thread.run_sync(open_records, settings)
        try:
            yield cls(settings, records, epoch_ms)
        finally:
            records.close()


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
