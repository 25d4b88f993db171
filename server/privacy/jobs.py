"""What was asked about a person's data, as rows: an export or a deletion, how far it is, and what came of it.

Owns the rows; the work is ``erasure``'s and ``exports``'. A job that is taken is somebody's for a while (``LEASE_MS``),
renewed with each step; when its server dies, another takes it on from the step it had reached. Owned by the privacy
office.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import sqlalchemy as sa

from metering.erasure import new_pseudonym
from metering.records import Records
from server.audit import AuditEntry, AuditLog
from server.guard import Identity
from server.ids import new_id
from server.privacy import tables
from server.privacy.errors import Unknown

LEASE_MS: Final = 120_000
JobKind = Literal["export", "delete"]
JobState = Literal["waiting", "running", "finished", "held", "failed", "expired"]
_OPEN: Final = ("waiting", "running")


@dataclass(frozen=True, slots=True)
class Job:
    """One of them. ``user_id`` of a deletion that is finished is the pseudonym; ``result`` is what came of it."""

    job_id: str
    kind: JobKind
    tenant_id: str
    user_id: str
    pseudonym: str
    asked_by_tenant: str
    asked_by: str
    asked_at_ms: int
    state: JobState
    step: str
    attempts: int
    due_at_ms: int
    finished_at_ms: int | None
    expires_at_ms: int | None
    result: Mapping[str, Any]

    @property
    def is_over(self) -> bool:
        """Nothing more will be done."""
        return self.state not in _OPEN

    def asked_by_whom(self, caller: Identity) -> bool:
        """Whether this caller asked for it."""
        return (self.asked_by_tenant, self.asked_by) == (caller.tenant_id, caller.user_id)


class Jobs:
    """See the module."""

    def __init__(self, records: Records, audit: AuditLog, epoch_ms: Callable[[], int]) -> None:
        self._records = records
        self._audit = audit
        self._epoch_ms = epoch_ms

    async def ask(self, actor: Identity, kind: JobKind, tenant_id: str, user_id: str, request_id: str = "") -> Job:
        """Ask for an export or a deletion; one that is under way is given back. Raises RecordsError."""
        table, now_ms = tables.jobs, self._epoch_ms()
        row: dict[str, Any] = {
            "job_id": new_id("job"),
            "kind": kind,
            "tenant_id": tenant_id,
            "user_id": user_id,
            "pseudonym": new_pseudonym(),
            "asked_by_tenant": actor.tenant_id,
            "asked_by": actor.user_id,
            "asked_at_ms": now_ms,
            "state": "waiting",
            "step": "",
            "attempts": 0,
            "due_at_ms": now_ms,
            "finished_at_ms": None,
            "expires_at_ms": None,
            "result": "{}",
        }
        same_asker = sa.and_(
            table.c.kind == kind,
            table.c.tenant_id == tenant_id,
            table.c.user_id == user_id,
            table.c.asked_by_tenant == actor.tenant_id,
            table.c.asked_by == actor.user_id,
        )
        same = sa.select(table).where(same_asker, table.c.state.in_(_OPEN))
        # The log outlives the person's data: of whom it was is in the job, and after a deletion a pseudonym there.
        entry = AuditEntry(actor, f"privacy.{kind}_asked", tenant_id, row["job_id"], {}, request_id)

        def write(connection: sa.Connection) -> Job:
            under_way = connection.execute(same).mappings().first()
            if under_way is not None:
                return _job(under_way)
            if kind == "export":  # it takes the place of the one before
                expire(connection, same_asker & (table.c.state == "finished"))
            connection.execute(table.insert().values(row))
            self._audit.append(connection, entry)
            return _job(row)

        return await self._records.run_write(write)

    async def find(self, job_id: str) -> Job:
        """A job, whoever's it is: the caller asks whether it may be seen. Raises Unknown, RecordsError."""
        question = sa.select(tables.jobs).where(tables.jobs.c.job_id == job_id)
        row = await self._records.run_read(lambda connection: connection.execute(question).mappings().one_or_none())
        if row is None:
            raise Unknown("There is no such job.")
        return _job(row)

    async def deletions(self) -> list[Job]:
        """Deletions that are not over. Raises RecordsError."""
        table = tables.jobs
        question = sa.select(table).where(table.c.kind == "delete", table.c.state.in_(_OPEN))
        rows = await self._records.run_read(lambda connection: connection.execute(question).mappings().all())
        return [_job(row) for row in rows]

    async def take(self) -> Job | None:
        """The next job that is due, ours for a while; None where there is none. Raises RecordsError."""
        table, now_ms = tables.jobs, self._epoch_ms()
        due = (
            sa.select(table)
            .where(table.c.state.in_(_OPEN), table.c.due_at_ms <= now_ms)
            .order_by(table.c.due_at_ms)
            .limit(1)
            .with_for_update(skip_locked=True)
        )

        def write(connection: sa.Connection) -> Job | None:
            row = connection.execute(due).mappings().first()
            if row is None:
                return None
            mine = {"state": "running", "due_at_ms": now_ms + LEASE_MS, "attempts": row["attempts"] + 1}
            connection.execute(table.update().where(table.c.job_id == row["job_id"]).values(mine))
            return _job({**row, **mine})

        return await self._records.run_write(write)

    async def reached(self, job: Job, step: str) -> None:
        """Everything before ``step`` is done; the lease begins anew. Raises RecordsError."""
        values = {"step": step, "due_at_ms": self._epoch_ms() + LEASE_MS}
        await self._change(job, values)

    def renew(self, connection: sa.Connection, job: Job) -> bool:
        """The lease begins anew; False where the job is over, whoever ended it."""
        values = {"due_at_ms": self._epoch_ms() + LEASE_MS}
        return bool(connection.execute(_while_open(job).values(values)).rowcount)

    async def later(self, job: Job, delay_ms: int, reason: str) -> None:
        """It cannot go on now, for ``reason``; try again then. Raises RecordsError."""
        told = json.dumps({**job.result, "waits_for": reason})
        await self._change(job, {"state": "waiting", "due_at_ms": self._epoch_ms() + delay_ms, "result": told})

    async def over(
        self,
        job: Job,
        actor: Identity,
        state: JobState,
        result: Mapping[str, Any],
        *,
        renamed: bool = False,
        expires_at_ms: int | None = None,
    ) -> None:
        """It is over. ``renamed``: the pseudonym takes the place of the person's id here, too. Raises RecordsError."""
        values: dict[str, Any] = {
            "state": state,
            "step": "",
            "finished_at_ms": self._epoch_ms(),
            "expires_at_ms": expires_at_ms,
            "result": json.dumps(result),
        }
        if renamed:
            values["user_id"] = job.pseudonym
            if (job.asked_by_tenant, job.asked_by) == (job.tenant_id, job.user_id):
                values["asked_by"] = job.pseudonym
        entry = AuditEntry(actor, f"privacy.{job.kind}_{state}", job.tenant_id, job.job_id, dict(result))

        def write(connection: sa.Connection) -> None:
            if connection.execute(_while_open(job).values(values)).rowcount:
                self._audit.append(connection, entry)
                if state != "finished":  # an export that was not made leaves nothing
                    connection.execute(tables.parts.delete().where(tables.parts.c.job_id == job.job_id))

        await self._records.run_write(write)

    async def _change(self, job: Job, values: dict[str, Any]) -> None:
        await self._records.run_write(lambda connection: connection.execute(_while_open(job).values(values)).rowcount)


def expire(connection: sa.Connection, which: sa.ColumnElement[bool]) -> int:
    """Exports among these jobs are gone, and everything that was stored of them; returns how many there were."""
    table = tables.jobs
    exports = sa.select(table.c.job_id).where(which, table.c.kind == "export")
    ids = connection.execute(exports.with_for_update()).scalars().all()  # a part being stored is in before parts go
    connection.execute(tables.parts.delete().where(tables.parts.c.job_id.in_(ids)))
    gone: dict[str, Any] = {"state": "expired", "expires_at_ms": None}
    connection.execute(table.update().where(table.c.job_id.in_(ids)).values(gone))
    unfinished = table.update().where(table.c.job_id.in_(ids), table.c.finished_at_ms.is_(None))
    connection.execute(unfinished.values(finished_at_ms=table.c.due_at_ms))  # so that its row goes in time, too
    return len(ids)


def _while_open(job: Job) -> sa.Update:
    """A change of a job that is not over, whoever else might have ended it."""
    return tables.jobs.update().where(tables.jobs.c.job_id == job.job_id, tables.jobs.c.state.in_(_OPEN))


def _job(row: Mapping[Any, Any]) -> Job:
    return Job(**{**row, "result": json.loads(row["result"])})
