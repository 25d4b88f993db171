"""The privacy office: what is kept of people, for how long, and what becomes of it when they ask.

Makes its parts (see each) and runs what none of them runs by itself: the scribe, the purge at its times, what was asked
about people's data, and looking for what other servers changed. A fault of the records is logged and tried again.
Owned by ``server.offices``; the host runs it while it takes sessions, and closes it behind the last.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import anyio

from agents.core.options import Identity as SessionIdentity
from metering.errors import LedgerError, RecorderClosed
from metering.records import Records, RecordsError
from server.audit import AuditEntry, AuditLog
from server.conversations import ConversationStore, Scribe
from server.conversations.notes import Notes
from server.conversations.recordings import Recordings
from server.conversations.store import delete_conversations
from server.conversations.tables import Conversation, Header
from server.guard import Identity
from server.observability.metrics import Metrics
from server.permissions import TenantType
from server.privacy.consents import Consents
from server.privacy.erasure import Erasure, Surroundings, Waits, until_in_ledger
from server.privacy.errors import Held
from server.privacy.exports import Exports
from server.privacy.holds import Hold, Holds, holding, lock_holds, standing
from server.privacy.jobs import Job, JobKind, Jobs
from server.privacy.purge import Purge, PurgeReport
from server.privacy.retention import Retention
from server.privacy.tenant_types import TenantTypes
from server.settings import Settings

logger = logging.getLogger(__name__)

TICK_S: Final = 2.0
FIRST_PURGE_S: Final = 60.0
CLOSE_LIMIT_S: Final = 5.0
END_SESSION_LIMIT_S: Final = 10.0
RETRY_FIRST_MS: Final = 2_000
RETRY_MAX_MS: Final = 300_000
EXPORT_ATTEMPTS: Final = 5
EXPORT_WAIT_S: Final = 5.0
"""How long an export waits for usage that is on its way to the ledger."""
ACTOR: Final = Identity("server", "privacy-office", "service")
"""In whose name the server itself acts, in the audit log."""


class PrivacyOffice:
    """See the module."""

    def __init__(self, settings: Settings, records: Records, audit: AuditLog, epoch_ms: Callable[[], int]) -> None:
        chosen = settings.retention
        self._settings = settings
        self._records = records
        self._audit = audit
        self._epoch_ms = epoch_ms
        self.scribe = Scribe(records, epoch_ms, chosen.queue_limit)
        self.conversations = ConversationStore(records)
        self.retention = Retention(records, audit, chosen, epoch_ms)
        self.holds = Holds(records, audit, epoch_ms)
        self.consents = Consents(records, audit, epoch_ms, recording=chosen.recording)
        self.jobs = Jobs(records, audit, epoch_ms)
        self.recordings = Recordings(records, settings.data_dir / "recordings", epoch_ms)
        kept_ms = round(chosen.export_hours * 3_600_000)
        self.exports = Exports(records, self.jobs, self.recordings, settings.data_dir, kept_ms)
        self.erasure = Erasure(records, self.jobs, self.scribe, 2 * TICK_S)
        self.erasure.also(_nothing, settle=self._sweep_for)
        self.types = TenantTypes(records, settings.tenant_type)
        self._purge = Purge(records, audit, self.retention, self.types.of, epoch_ms)
        self._purging = anyio.Lock()
        self._purged: Counter[str] = Counter()
        self._purged_at_ms = 0
        self._around: Surroundings | None = None
        self._wake = anyio.Event()
        self._seen: set[str] = set()
        self._failing = False

    @property
    def _reach(self) -> Surroundings:
        assert self._around is not None, "the privacy office has not begun"
        return self._around

    def watch(self, metrics: Metrics) -> None:
        """Publish what is kept, lost and purged."""
        scribe = self.scribe
        entries = "Entries of conversations, by what became of them."
        metrics.watch_counts("convergio_conversation_entries", entries, "fate", scribe.counts)
        waiting = "Entries of conversations not yet stored."
        metrics.watch("convergio_conversation_entries_waiting", waiting, lambda: scribe.waiting)
        failed = "1 while conversations cannot be stored."
        metrics.watch("convergio_conversations_failed", failed, lambda: scribe.failed)
        metrics.watch_counts("convergio_purged", "What purges took out.", "kind", self._purge_counts)
        last = "When a purge last came to its end, in seconds since 1970; 0: not since the start."
        metrics.watch("convergio_purge_finished_timestamp_seconds", last, lambda: self._purged_at_ms / 1_000)

    def type_of(self, tenant_id: str, caller: Identity) -> TenantType:
        """What a tenant is: as the caller's identity has it, else as settings or database do; of one that is no more,
        what it was when it chose a policy."""
        if tenant_id == caller.tenant_id:
            return caller.tenant_type
        return self.types.of(tenant_id) or self.retention.types().get(tenant_id, "business")

    def notes(self, identity: SessionIdentity, tenant_type: TenantType, agent_id: str) -> Notes | None:
        """Who notes down a conversation that begins; None where its tenant stores none."""
        if not self.retention.of(identity.tenant_id, tenant_type).store:
            return None
        header = Header(
            identity.session_id,
            identity.tenant_id,
            tenant_type,
            identity.user_id,
            agent_id,
            identity.transport or "unknown",
            self._epoch_ms(),
        )
        return Notes(identity.session_id, self.scribe.desk(header), self._epoch_ms)

    # --- life ---

    async def open(self) -> None:
        """Know every tenant and its choice before the first conversation. Raises RecordsError."""
        await self.types.refresh()
        await self.retention.refresh()

    def begin(self, around: Surroundings) -> None:
        """The server has a ledger and takes conversations: once, before ``run``."""
        self._around = around

    async def run(self) -> None:
        """Do what there is to do, until cancelled."""
        around = self._reach
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.scribe.run)
            tasks.start_soon(self._purge_in_time)
            tasks.start_soon(self._work, around)
            while True:
                await self._guarded(self._look, around)
                await anyio.sleep(TICK_S)

    async def aclose(self) -> None:
        """Store what is still noted, ``run`` having ended."""
        await self.scribe.finish(CLOSE_LIMIT_S)

    async def _look(self, around: Surroundings) -> None:
        """See what other servers changed. Raises RecordsError."""
        await self.types.refresh()
        await self.retention.refresh()
        await self.consents.refresh()
        await self._heed(around)

    async def _work(self, around: Surroundings) -> None:
        """Do what was asked about people's data, one after the other; however long it takes, nothing waits for it."""
        while True:
            with anyio.move_on_after(TICK_S):
                await self._wake.wait()
            self._wake = anyio.Event()
            await self._guarded(self._do_all, around)

    async def _do_all(self, around: Surroundings) -> None:
        """Raises RecordsError."""
        while (job := await self.jobs.take()) is not None:
            await self._heed(around)  # what it is about goes on here no longer
            await self._do(job, around)

    async def _guarded(self, work: Callable[[Surroundings], Awaitable[None]], around: Surroundings) -> None:
        try:
            await work(around)
        except RecordsError as error:
            if not self._failing:
                logger.warning("the privacy office cannot work now", extra={"error": str(error)})
            self._failing = True
        except Exception:
            logger.exception("the privacy office met a fault")
        else:
            self._failing = False

    async def _heed(self, around: Surroundings) -> None:
        """Who is being deleted, on whichever server: nothing of theirs goes on here, or stands in a journal here."""
        deletions = await self.jobs.deletions()
        for job in deletions:
            if job.job_id not in self._seen:
                await around.running.end(job.tenant_id, job.user_id, 0.5)
                await self._turn_over(around)
        self._seen = {job.job_id for job in deletions}

    async def _turn_over(self, around: Surroundings) -> None:
        try:
            await around.usage.turn_over()
        except (OSError, RecorderClosed) as error:
            logger.warning("the usage journal cannot be turned over", extra={"error": str(error)})

    # --- jobs ---

    async def ask(self, actor: Identity, kind: JobKind, tenant_id: str, user_id: str, request_id: str = "") -> Job:
        """Ask for an export or a deletion; it is done in the background. Raises Held, RecordsError."""
        if kind == "delete":
            held = holding(await self._records.run_read(lambda connection: standing(connection, tenant_id)), user_id)
            if held:
                details = {"kind": kind, "holds": held}
                await self._audit.record(AuditEntry(actor, "privacy.refused", tenant_id, "", details, request_id))
                raise Held(held)
        job = await self.jobs.ask(actor, kind, tenant_id, user_id, request_id)
        self._wake.set()
        return job

    async def _do(self, job: Job, around: Surroundings) -> None:
        try:
            if job.kind == "delete":
                await self.erasure.run(job, around, ACTOR)
            else:
                await until_in_ledger(job, around, EXPORT_WAIT_S)
                await self.exports.run(job, around.ledger, ACTOR, self._epoch_ms())
        except Waits as waits:
            await self._later(job, str(waits))
        except (RecordsError, LedgerError, OSError, RecorderClosed) as error:
            logger.warning("a privacy job is tried again", extra={"job_id": job.job_id, "error": str(error)})
            await self._later(job, "a database, or the disk, that fails")

    async def _later(self, job: Job, reason: str) -> None:
        if job.kind == "export" and job.attempts >= EXPORT_ATTEMPTS:
            await self.jobs.over(job, ACTOR, "failed", {"reason": reason})
            return
        await self.jobs.later(job, min(RETRY_FIRST_MS * 2 ** min(job.attempts, 10), RETRY_MAX_MS), reason)

    # --- conversations ---

    async def delete_conversation(self, actor: Identity, conversation: Conversation, request_id: str = "") -> None:
        """End it if it is going on, and take out every word. Raises Held, RecordsError."""
        session_id, tenant_id = conversation.session_id, conversation.tenant_id
        held = await self._records.run_read(lambda connection: standing(connection, tenant_id))
        self._require_free(held, conversation)
        await self._reach.running.end_session(session_id, END_SESSION_LIMIT_S)
        entry = AuditEntry(actor, "conversation.deleted", tenant_id, session_id, {}, request_id)

        def delete(connection: Any) -> None:
            lock_holds(connection, tenant_id)
            self._require_free(standing(connection, tenant_id), conversation)
            if delete_conversations(connection, [session_id]):
                self._audit.append(connection, entry)

        self.scribe.forget(session_id)
        await self._records.run_write(delete)
        await self._sweep()

    def _require_free(self, holds: list[Hold], conversation: Conversation) -> None:
        if held := holding(holds, conversation.user_id, conversation.session_id):
            raise Held(held)

    # --- the purge ---

    async def purge(self, actor: Identity, only: str | None = None) -> PurgeReport:
        """Take out what is due now, of every tenant or one. Raises RecordsError, LedgerError."""
        async with self._purging:
            await self.types.refresh()
            report = await self._purge.run(self._reach.ledger, actor, only)
            await self._sweep()
        self._purged["conversations"] += sum(report.conversations.values())
        self._purged["usage_events"] += sum(report.usage_events.values())
        self._purged["exports"] += report.exports
        self._purged_at_ms = self._epoch_ms()
        return report

    async def _purge_in_time(self) -> None:
        interval_s = self._settings.retention.purge_interval_s
        await self._sweep()
        await anyio.sleep(min(interval_s, FIRST_PURGE_S))  # a server that starts has other things to do
        while True:
            try:
                report = await self.purge(ACTOR)
                logger.info("purged", extra={"report": str(report)})
            except (RecordsError, LedgerError) as error:
                logger.warning("a purge was cut short; the next goes on", extra={"error": str(error)})
            except Exception:
                logger.exception("a purge met a fault")
            await anyio.sleep(interval_s)

    async def _sweep(self) -> None:
        """Files of recordings that are gone; what cannot be removed now goes with the next."""
        try:
            await self.recordings.sweep()
        except (OSError, RecordsError) as error:
            logger.warning("files of recordings could not be removed", extra={"error": str(error)})

    async def _sweep_for(self, _tenant_id: str, _user_id: str) -> None:
        """Before a deletion is told to be done. Raises OSError, RecordsError."""
        await self.recordings.sweep()

    def _purge_counts(self) -> Mapping[str, int]:
        return {kind: self._purged[kind] for kind in ("conversations", "usage_events", "exports")}


def _nothing(*_: Any) -> None:
    """A recording names nobody: its conversation does."""
