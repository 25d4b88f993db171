"""The deletion of a person: their conversations removed, their id replaced wherever usage and records name it.

Steps in a fixed order, each of which bears being done twice, so that a server that dies at any point is followed by one
that goes on: their conversations under way are ended; what is stored of them is removed; consents, holds and earlier
jobs get the pseudonym, exports go; the journal is turned over until it names them no more; the ledger gets the
pseudonym; the files are compacted. What a legal hold keeps stays whole, and the result says so. Driven by the privacy
office.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import anyio
import anyio.to_thread
import sqlalchemy as sa

from metering.erasure import ErasableLedger
from metering.forwarder import Recovery
from metering.journal import erase_from_damaged, journals_that_name
from metering.ledger import Ledger
from metering.records import Records, RecordsError
from server.conversations import Scribe
from server.conversations.store import delete_conversations
from server.conversations.tables import conversations
from server.guard import Identity
from server.privacy import tables
from server.privacy.holds import holding, lock_holds, not_held, standing
from server.privacy.jobs import Job, Jobs, expire

logger = logging.getLogger(__name__)

CONVERSATIONS_AT_ONCE: Final = 100
EVENTS_AT_ONCE: Final = 1_000
JOURNAL_LIMIT_S: Final = 20.0
JOURNAL_LOOK_S: Final = 0.1
COMPACT_ATTEMPTS: Final = 5
FLUSH_LIMIT_S: Final = 5.0
AGAIN_LIMIT_S: Final = 1.0
ENDING_LIMIT_S: Final = 90.0
"""How long a person's conversations and questions under way are waited for: longer than one may take."""


Step = Callable[[str, str], Awaitable[None]]
"""Given a tenant and a person."""
Forget = Callable[[sa.Connection, str, str, str], None]
"""Takes a person out of an area of the records: the connection, tenant, person, and the pseudonym in their place."""


class Waits(Exception):
    """A deletion cannot go on now; the message says what it waits for."""


class Running(Protocol):
    """What a person may be in the middle of, on this server."""

    async def end(self, tenant_id: str, user_id: str, limit_s: float) -> bool:
        """End their conversations, and wait until nothing of theirs runs; False where that takes longer."""
        ...

    async def end_session(self, session_id: str, limit_s: float) -> bool:
        """Likewise one conversation."""
        ...


class Usage(Protocol):
    """The way of usage to the ledger."""

    def turn_over(self) -> asyncio.Future[None]:
        """Begin a new segment of the journal."""
        ...

    def recover(self) -> asyncio.Future[Recovery]:
        """Take over the journals of servers that died."""
        ...


class PrivacyLedger(Ledger, ErasableLedger, Protocol):
    """A ledger whose events can be read, pseudonymised and purged."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a deletion reaches beside the records."""

    ledger: PrivacyLedger
    journals: Path
    running: Running
    usage: Usage


class Erasure:
    """See the module."""

    def __init__(self, records: Records, jobs: Jobs, scribe: Scribe, others_s: float) -> None:
        """``others_s``: so long may other servers on these records need to see that somebody is being deleted."""
        self._others_s = 0.0 if records.is_sqlite else others_s
        self._records = records
        self._jobs = jobs
        self._scribe = scribe
        self._forgetters: list[Forget] = []
        self._leavers: list[Step] = []
        self._settlers: list[Step] = []

    def also(self, forget: Forget, *, leave: Step | None = None, settle: Step | None = None) -> None:
        """Whoever keeps more of a person in the records: ``forget`` is called in the transaction that takes out their
        name, and again at the end; ``leave`` before all else, so that they cannot come back; ``settle`` before that
        end, so that nothing more is written of them.

        All bear being called twice.
        """
        self._forgetters.append(forget)
        if leave is not None:
            self._leavers.append(leave)
        if settle is not None:
            self._settlers.append(settle)

    async def run(self, job: Job, around: Surroundings, actor: Identity) -> None:
        """Do it, from the step it had reached. Raises Waits, RecordsError, LedgerError, OSError: try again later."""
        steps: dict[str, Callable[[Job, Surroundings], Awaitable[None]]] = {
            "ending": self._end,
            "conversations": self._remove,
            "records": self._rename,
            "journal": self._journal,
            "ledger": self._ledger,
            "compact": self._compact,
        }
        if not job.step and (held := await self._records.run_read(partial(_holding, job=job))):
            await self._jobs.over(job, actor, "held", {"holds": held})
            return
        names = list(steps)
        for name in names[names.index(job.step) if job.step in steps else 0 :]:
            await self._jobs.reached(job, name)
            await steps[name](job, around)
        kept = await self._records.run_read(partial(_kept, job=job))
        result: dict[str, Any] = {"pseudonym": job.pseudonym} | ({"sessions_held": kept} if kept else {})
        await self._jobs.over(job, actor, "held" if kept else "finished", result, renamed=True)
        await self._compact_records()

    async def _end(self, job: Job, around: Surroundings) -> None:
        for leave in self._leavers:
            await leave(job.tenant_id, job.user_id)
        if not await around.running.end(job.tenant_id, job.user_id, ENDING_LIMIT_S):
            raise Waits("conversations that are still running")
        await anyio.sleep(self._others_s)

    async def _remove(self, job: Job, _around: Surroundings) -> None:
        await self._scribe.flush(FLUSH_LIMIT_S)
        table = conversations
        theirs = (table.c.tenant_id == job.tenant_id) & (table.c.user_id == job.user_id)
        some = sa.select(table.c.session_id).where(theirs, not_held(job.tenant_id)).limit(CONVERSATIONS_AT_ONCE)

        def remove(connection: sa.Connection) -> list[str]:
            lock_holds(connection, job.tenant_id)
            ids = list(connection.execute(some).scalars())
            delete_conversations(connection, ids)
            return ids

        while ids := await self._records.run_write(remove):
            for session_id in ids:
                self._scribe.forget(session_id)

    async def _rename(self, job: Job, _around: Surroundings) -> None:
        def rename(connection: sa.Connection) -> None:
            _rename(connection, job)
            self._forget(connection, job)

        await self._records.run_write(rename)

    def _forget(self, connection: sa.Connection, job: Job) -> None:
        for forget in self._forgetters:
            forget(connection, job.tenant_id, job.user_id, job.pseudonym)

    async def _journal(self, job: Job, around: Surroundings) -> None:
        """Until no journal names the person; what was damaged and kept aside loses the lines that do."""
        await around.running.end(job.tenant_id, job.user_id, AGAIN_LIMIT_S)  # who has come back meanwhile
        await anyio.to_thread.run_sync(erase_from_damaged, around.journals, job.tenant_id, job.user_id)
        if not await until_in_ledger(job, around, JOURNAL_LIMIT_S):
            raise Waits("usage in the journal that the ledger has not taken yet")

    async def _ledger(self, job: Job, around: Surroundings) -> None:
        kept = await self._records.run_read(partial(_held_sessions, job=job))
        ledger = around.ledger
        some = partial(
            ledger.pseudonymise, job.tenant_id, job.user_id, job.pseudonym, tuple(sorted(kept)), EVENTS_AT_ONCE
        )
        while await anyio.to_thread.run_sync(some) == EVENTS_AT_ONCE:
            await self._jobs.reached(job, "ledger")

    async def _compact(self, job: Job, around: Surroundings) -> None:
        """What was written of them meanwhile (a budget settles when a conversation's last event is in) goes as well."""
        for settle in self._settlers:
            await settle(job.tenant_id, job.user_id)
        await self._records.run_write(lambda connection: self._forget(connection, job))
        await anyio.to_thread.run_sync(around.ledger.compact)
        await self._compact_records()

    async def _compact_records(self) -> None:
        """Whoever reads is through in a moment. Raises RecordsError."""
        for _ in range(COMPACT_ATTEMPTS - 1):
            try:
                await anyio.to_thread.run_sync(self._records.compact)
            except RecordsError:
                await anyio.sleep(JOURNAL_LOOK_S)
            else:
                return
        await anyio.to_thread.run_sync(self._records.compact)


async def until_in_ledger(job: Job, around: Surroundings, limit_s: float) -> bool:
    """Wait until no journal here names the person any more; False where that takes longer. Raises OSError,
    RecorderClosed."""
    look = partial(journals_that_name, around.journals, job.tenant_id, job.user_id)
    with anyio.move_on_after(limit_s):
        while True:
            await around.usage.recover()
            await around.usage.turn_over()
            if not await anyio.to_thread.run_sync(look):
                return True
            await anyio.sleep(JOURNAL_LOOK_S)
    return False


def _holding(connection: sa.Connection, job: Job) -> list[str]:
    """Holds that keep all of the person's data."""
    return holding(standing(connection, job.tenant_id), job.user_id)


def _held_sessions(connection: sa.Connection, job: Job) -> set[str]:
    """Every conversation of the tenant that a hold of its own keeps, stored or not."""
    return {hold.session_id for hold in standing(connection, job.tenant_id) if hold.session_id is not None}


def _kept(connection: sa.Connection, job: Job) -> list[str]:
    """Conversations of theirs that a hold has kept."""
    table = conversations
    stored = sa.select(table.c.session_id).where(table.c.tenant_id == job.tenant_id, table.c.user_id == job.user_id)
    return sorted(set(connection.execute(stored).scalars()) & _held_sessions(connection, job))


def _rename(connection: sa.Connection, job: Job) -> None:
    """Put the pseudonym in the person's place in what is kept of consents, lifted holds and jobs; exports go."""
    jobs = tables.jobs
    others = jobs.c.job_id != job.job_id
    theirs = (jobs.c.tenant_id == job.tenant_id) & (jobs.c.user_id == job.user_id) & others
    expire(connection, theirs)
    connection.execute(jobs.update().where(theirs).values(user_id=job.pseudonym))
    asked = (jobs.c.asked_by_tenant == job.tenant_id) & (jobs.c.asked_by == job.user_id) & others
    connection.execute(jobs.update().where(asked).values(asked_by=job.pseudonym))
    for table, column in (
        (tables.consents, tables.consents.c.user_id),
        (tables.holds, tables.holds.c.user_id),
        (tables.holds, tables.holds.c.placed_by),
        (tables.holds, tables.holds.c.lifted_by),
    ):
        mine = (table.c.tenant_id == job.tenant_id) & (column == job.user_id)
        connection.execute(table.update().where(mine).values({column.name: job.pseudonym}))
    lifted = tables.consents.update().where(tables.consents.c.user_id == job.pseudonym)
    standing_still = tables.consents.c.withdrawn_at_ms.is_(None)
    connection.execute(lifted.where(standing_still).values(withdrawn_at_ms=job.asked_at_ms))
