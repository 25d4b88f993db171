"""An office of identity on a real database, with clocks a test sets, and a database that can be taken away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa

from metering.records import Records, RecordsUnavailable
from server.audit import AUDIT, AuditLog
from server.guard import LOCAL_USER, Identity
from server.identity import IDENTITY, IdentityOffice, Presented
from server.identity.key_book import NewKey
from server.identity.tenant_book import NewTenant
from server.settings import load_settings

T = TypeVar("T")
NOW_MS = 1_700_000_000_000
SETTINGS_KEY = "a-long-random-secret"


class Times:
    """Both clocks; ``pass_s`` moves both, as time does."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.now_ms = NOW_MS

    def epoch_ms(self) -> int:
        return self.now_ms

    def monotonic_s(self) -> float:
        return self.now_s

    def pass_s(self, seconds: float) -> None:
        self.now_s += seconds
        self.now_ms += round(seconds * 1_000)


class LosableRecords(Records):
    """Records whose database can be away; what is asked of it is counted."""

    away = False
    asked = 0

    async def run_read(self, work: Callable[[sa.Connection], T], limit_s: float = 10.0) -> T:
        self.asked += 1
        if self.away:
            raise RecordsUnavailable("away")
        return await super().run_read(work, limit_s)

    async def run_write(self, work: Callable[[sa.Connection], T], limit_s: float = 10.0) -> T:
        if self.away:
            raise RecordsUnavailable("away")
        return await super().run_write(work, limit_s)


class Desktop:
    """One server process's office on a database it may share."""

    def __init__(self, records: LosableRecords, times: Times, **settings: Any) -> None:
        self.records, self.times = records, times
        self.settings = load_settings(**settings)
        self.audit = AuditLog(records, times.epoch_ms)
        self.office = IdentityOffice(self.settings, records, self.audit, times.epoch_ms, times.monotonic_s)

    async def tenant(self, tenant_id: str = "school") -> None:
        kind = "school" if tenant_id == "school" else "business"
        await self.office.tenants.create(LOCAL_USER, NewTenant(kind, tenant_id, tenant_id))

    async def key(self, actor: Identity = LOCAL_USER, **wanted: Any) -> tuple[str, str]:
        """A new key's id, and the key."""
        entry, value = await self.office.keys.create(actor, NewKey(**({"tenant_id": "school", "name": "k"} | wanted)))
        return entry.key_id, value

    async def who(self, *values: str, **more: Any) -> Identity:
        return await self.office.authenticate(Presented(values, **more))


@contextmanager
def losable_records(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> Iterator[LosableRecords]:
    """Empty, their tables made, on the database that is named."""
    if kind == "sqlite":
        opened = LosableRecords(f"sqlite:///{tmp_path / 'records.sqlite3'}")
    else:
        url: str = request.getfixturevalue("postgres").database()
        opened = LosableRecords("postgresql+psycopg" + url.removeprefix("postgresql"))
    opened.migrate([AUDIT, IDENTITY])
    try:
        yield opened
    finally:
        opened.close()
