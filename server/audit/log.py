"""Append and read the audit log. Each row is sealed by a hash over itself and the row before: a chain.

Whoever changes or takes out a row breaks the chain from there on, which ``verify`` tells. Rows hold no secrets and no
words people said; a person is named by id. Appending happens in the transaction of what it tells of where there is one
(``append``), else in its own (``record``). Owned by the host.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import sqlalchemy as sa

from metering.records import Area, Records
from server.guard import Identity

AUDIT: Final = Area("audit", "server.audit.versions", "audit_0001")
FIRST: Final = "0" * 64
"""What the first row is chained to."""
PAGE: Final = 1_000

_rows = sa.Table(
    "audit_log",
    sa.MetaData(),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at_ms", sa.BigInteger),
    sa.Column("tenant_id", sa.Text),
    sa.Column("actor_tenant_id", sa.Text),
    sa.Column("actor_id", sa.Text),
    sa.Column("action", sa.Text),
    sa.Column("target", sa.Text),
    sa.Column("details", sa.Text),
    sa.Column("request_id", sa.Text),
    sa.Column("previous_hash", sa.Text),
    sa.Column("hash", sa.Text),
)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One action: ``actor`` did ``action`` (``provider_key.created``) to ``target``, in ``tenant_id``."""

    actor: Identity
    action: str
    tenant_id: str
    target: str = ""
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A row as it stands."""

    sequence: int
    at_ms: int
    tenant_id: str
    actor_tenant_id: str
    actor_id: str
    action: str
    target: str
    details: str
    request_id: str
    previous_hash: str
    hash: str

    def seal(self) -> str:
        """The hash it should have: SHA-256 over every other field, as a JSON array."""
        parts = (
            self.previous_hash,
            self.sequence,
            self.at_ms,
            self.tenant_id,
            self.actor_tenant_id,
            self.actor_id,
            self.action,
            self.target,
            self.details,
            self.request_id,
        )
        return hashlib.sha256(json.dumps(parts, ensure_ascii=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which rows: one tenant's (``None``: everybody's), and those that fit. ``action`` is how it begins.

    ``cursor`` is the sequence number of the last row that was read.
    """

    tenant_id: str | None
    action: str = ""
    actor_id: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    newest_first: bool = False
    cursor: int | None = None
    limit: int = PAGE


class AuditLog:
    """See the module."""

    def __init__(self, records: Records, epoch_ms: Callable[[], int]) -> None:
        self._records = records
        self._epoch_ms = epoch_ms

    async def record(self, entry: AuditEntry) -> None:
        """Append one action in a transaction of its own. Raises RecordsError."""
        await self._records.run_write(lambda connection: self.append(connection, entry))

    def append(self, connection: sa.Connection, entry: AuditEntry) -> AuditRecord:
        """Append one action within the caller's transaction (one that may write). Raises SQLAlchemy's errors."""
        if connection.dialect.name == "postgresql":  # one at a time: each names the one before
            connection.execute(sa.text("LOCK TABLE audit_log IN SHARE ROW EXCLUSIVE MODE"))
        newest = sa.select(_rows.c.sequence, _rows.c.hash).order_by(_rows.c.sequence.desc()).limit(1)
        last = connection.execute(newest).first()
        unsealed = AuditRecord(
            sequence=1 if last is None else int(last.sequence) + 1,
            at_ms=self._epoch_ms(),
            tenant_id=entry.tenant_id,
            actor_tenant_id=entry.actor.tenant_id,
            actor_id=entry.actor.user_id,
            action=entry.action,
            target=entry.target,
            details=json.dumps(dict(entry.details), ensure_ascii=False, sort_keys=True, separators=(",", ":")),
            request_id=entry.request_id,
            previous_hash=FIRST if last is None else str(last.hash),
            hash="",
        )
        sealed = replace(unsealed, hash=unsealed.seal())
        connection.execute(_rows.insert().values(asdict(sealed)))
        return sealed

    async def read(self, *, tenant_id: str | None, after: int = 0, limit: int = PAGE) -> list[AuditRecord]:
        """Rows behind ``after``, oldest first: one tenant's, or (``None``) everybody's. Raises RecordsError."""
        return await self.find(AuditQuery(tenant_id, cursor=after, limit=limit))

    async def find(self, query: AuditQuery) -> list[AuditRecord]:
        """The rows that are asked for, behind the cursor. Raises RecordsError."""
        number = _rows.c.sequence
        question = sa.select(_rows).order_by(number.desc() if query.newest_first else number).limit(query.limit)
        conditions: list[sa.ColumnElement[bool]] = []
        if query.tenant_id is not None:
            conditions.append(_rows.c.tenant_id == query.tenant_id)
        if query.action:
            conditions.append(_rows.c.action.startswith(query.action, autoescape=True))
        if query.actor_id is not None:
            conditions.append(_rows.c.actor_id == query.actor_id)
        if query.since_ms is not None:
            conditions.append(_rows.c.at_ms >= query.since_ms)
        if query.until_ms is not None:
            conditions.append(_rows.c.at_ms < query.until_ms)
        if query.cursor is not None:
            conditions.append(number < query.cursor if query.newest_first else number > query.cursor)
        question = question.where(*conditions)
        rows = await self._records.run_read(lambda connection: connection.execute(question).mappings().all())
        return [AuditRecord(**row) for row in rows]

    async def verify(self) -> int | None:
        """The sequence number of the first row that does not fit its chain; ``None``: all do. Raises RecordsError."""
        before, after = FIRST, 0
        while page := await self.read(tenant_id=None, after=after):
            for row in page:
                if row.sequence != after + 1 or row.previous_hash != before or row.seal() != row.hash:
                    return row.sequence
                before, after = row.hash, row.sequence
        return None
