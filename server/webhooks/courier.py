"""Brings the ledger's events to one receiver, in order, at least once: read, send, note how far one got, again.

What was noted survives the process; what was sent and not noted is sent again under the same id. A receiver that fails
is tried again with pauses that grow; what it rejects for good becomes a dead letter, with a line in the audit log; a
receiver that is gone is disabled. Nothing here is on a turn's path. Driven by ``server.webhooks.office``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Protocol

import anyio
import anyio.to_thread
from sqlalchemy import Connection

from metering.errors import LedgerError
from metering.ledger import Ledger, PageRequest, UsagePage, UsageQuery
from metering.records import Records, RecordsError
from metering.usage import UsageEvent
from server.audit import AuditEntry, AuditLog
from server.guard import Identity
from server.webhook_settings import WebhookEndpoint, WebhookSettings
from server.webhooks import store
from server.webhooks.cloud_events import Message, cloud_event, message
from server.webhooks.sender import Delivered, Failed, Gone, Outcome
from server.webhooks.store import DeadLetter, Lease, Progress

logger = logging.getLogger(__name__)

TROUBLE_PAUSE_S: Final = 2.0
LEASE_GRACE_MS: Final = 10_000
MOST_BACKLOG: Final = 100_000
MEASURE_EVERY_MS: Final = 10_000  # counting much costs something
LOOK_BACK: Final = 2_000
ACTOR: Final = Identity("server", "webhooks", "service", frozenset(), "business")
"""Who the audit log names."""


class Sending(Protocol):
    """Who carries a message out."""

    async def send(self, message: Message) -> Outcome: ...


@dataclass(slots=True)
class Counts:
    """What became of events since the process began."""

    delivered: int = 0
    retried: int = 0
    dead: int = 0
    backlog: int = 0


@dataclass(frozen=True, slots=True)
class Desk:
    """What every courier works with. ``jitter`` gives a share from 0.5 to 1 of a pause, ``owner`` names the process."""

    ledger: Ledger
    records: Records
    audit: AuditLog
    settings: WebhookSettings
    epoch_ms: Callable[[], int]
    jitter: Callable[[], float]
    owner: str


class Courier:
    """One receiver's."""

    def __init__(self, endpoint: WebhookEndpoint, desk: Desk, sender: Sending) -> None:
        self._endpoint = endpoint
        self._desk = desk
        self._sender = sender
        self._query = UsageQuery(tenant_id=endpoint.tenant, replaced=True)
        self.counts = Counts()
        self._measured_ms = 0

    async def prepare(self) -> None:
        """Note where a new receiver begins. Raises LedgerError, RecordsError."""
        known = await self._desk.records.run_read(lambda connection: store.progress(connection, self._endpoint.id))
        if known is not None:
            return
        position = 0
        if self._endpoint.start == "now":
            newest = await self._read(UsageQuery(replaced=True), PageRequest(limit=1, newest_first=True))
            position = newest.sequences[0] if newest.sequences else 0
        await self._desk.records.run_write(lambda connection: store.ensure(connection, self._endpoint.id, position))

    async def run(self) -> None:
        """Deliver, for ever."""
        troubled = False
        while True:
            try:
                pause_s, troubled = await self.step(), False
            except (LedgerError, RecordsError) as error:
                if not troubled:
                    logger.warning("webhook waits", extra={"endpoint": self._endpoint.id, "reason": str(error)})
                pause_s, troubled = TROUBLE_PAUSE_S, True
            except Exception:
                logger.exception("webhook failed", extra={"endpoint": self._endpoint.id})
                pause_s = TROUBLE_PAUSE_S
            await anyio.sleep(pause_s)

    async def step(self) -> float:
        """Deliver what is next, if anything is; how long to wait before the next step.

        Raises LedgerError, RecordsError.
        """
        settings, now_ms = self._desk.settings, self._desk.epoch_ms()
        at = await self._desk.records.run_read(lambda connection: store.progress(connection, self._endpoint.id))
        if at is None:
            await self.prepare()
            return 0
        if abs(now_ms - self._measured_ms) >= MEASURE_EVERY_MS:
            await self._measure(at)
            self._measured_ms = now_ms
        if at.state != store.ACTIVE:
            return settings.poll_s
        if at.next_attempt_ms > now_ms:
            return min(settings.poll_s, (at.next_attempt_ms - now_ms) / 1_000)
        letter = await self._letter()
        most = self._endpoint.batch if at.attempts == 0 else 1  # what a batch failed with is found one by one
        page = await self._read(self._query, PageRequest(at.position, most))
        if letter is None and not page.events:
            return settings.poll_s
        mine = await self._lease(at, now_ms)
        if mine is None:
            return settings.poll_s
        if (mine.position, mine.state) != (at.position, at.state):
            return 0
        if letter is not None:
            await self._resend(letter)
        else:
            await self._settle(mine, page, await self._send(page.events))
        return 0

    async def _lease(self, at: Progress, now_ms: int) -> Progress | None:
        """The right to deliver, for longer than a request takes; None where another server has it."""
        needed_ms = round(self._desk.settings.timeout_s * 1_000) + LEASE_GRACE_MS
        if at.lease_owner == self._desk.owner and at.lease_until_ms >= now_ms + needed_ms:
            return at
        lease = Lease(self._desk.owner, now_ms + 2 * needed_ms)
        return await self._desk.records.run_write(
            lambda connection: store.take(connection, self._endpoint.id, lease, now_ms)
        )

    async def _send(self, events: Sequence[UsageEvent]) -> Outcome:
        source = self._desk.settings.source
        told = [cloud_event(event, source, await self._corrected(event)) for event in events]
        return await self._sender.send(message(told, batched=self._endpoint.batch > 1))

    async def _settle(self, at: Progress, page: UsagePage, outcome: Outcome) -> None:
        now_ms, run = self._desk.epoch_ms(), self._desk.records.run_write
        match outcome:
            case Delivered():
                await run(lambda connection: store.advance(connection, at, page.sequences[-1], now_ms))
                self.counts.delivered += len(page.events)
            case Gone():
                await run(partial(self._disable, at, "it answered 410: it wants nothing more"))
            case Failed(reason, rejected) if rejected and at.attempts + 1 >= self._desk.settings.max_attempts:
                if len(page.events) == 1:
                    await run(partial(self._bury, at, page, reason, now_ms))
                    self.counts.dead += 1
                else:
                    await run(lambda connection: store.failed(connection, at, reason, now_ms, now_ms))
            case Failed(reason) if self._given_up(at, now_ms):
                await run(partial(self._disable, at, f"it has failed for too long: {reason}"))
            case Failed(reason, _, after_s):
                pause_s = self._pause_s(at.attempts) if after_s is None else after_s
                await run(
                    lambda connection: store.failed(connection, at, reason, now_ms + round(pause_s * 1_000), now_ms)
                )
                self.counts.retried += 1

    async def _letter(self) -> DeadLetter | None:
        """The oldest dead letter that is to go again."""
        found = await self._desk.records.run_read(
            lambda connection: store.letters(connection, self._endpoint.id, resend=True, limit=1)
        )
        return found[0] if found else None

    async def _resend(self, letter: DeadLetter) -> None:
        page = await self._read(self._query, PageRequest(letter.sequence - 1, 1))
        outcome: Outcome = Failed("it is no longer in the ledger")
        if page.sequences == (letter.sequence,):
            outcome = await self._send(page.events)
        if isinstance(outcome, Delivered):
            await self._desk.records.run_write(
                lambda connection: store.forget(connection, self._endpoint.id, letter.sequence)
            )
            self.counts.delivered += 1
            return
        reason = outcome.reason if isinstance(outcome, Failed) else "it answered 410"
        again = replace(letter, attempts=letter.attempts + 1, reason=reason, at_ms=self._desk.epoch_ms(), resend=False)
        await self._desk.records.run_write(lambda connection: store.bury(connection, again))

    def _bury(self, at: Progress, page: UsagePage, reason: str, now_ms: int, connection: Connection) -> None:
        """Go on behind an event, keep it as a dead letter, and say so: all of it or nothing."""
        (event,), (sequence,) = page.events, page.sequences
        if not store.advance(connection, at, sequence, now_ms, reason):
            return
        attempts = at.attempts + 1
        letter = DeadLetter(
            at.endpoint_id, sequence, event.event_id, event.tenant_id, attempts, reason, now_ms, resend=False
        )
        store.bury(connection, letter)
        details = {"endpoint": at.endpoint_id, "attempts": attempts, "reason": reason}
        self._note(connection, "webhook.dead_letter", event.tenant_id, event.event_id, details)

    def _disable(self, at: Progress, reason: str, connection: Connection) -> None:
        if store.disable(connection, at, reason):
            tenant = self._endpoint.tenant or ACTOR.tenant_id
            self._note(connection, "webhook.disabled", tenant, at.endpoint_id, {"reason": reason})

    def _note(self, connection: Connection, action: str, tenant_id: str, target: str, details: dict[str, Any]) -> None:
        self._desk.audit.append(connection, AuditEntry(ACTOR, action, tenant_id, target, details))

    def _given_up(self, at: Progress, now_ms: int) -> bool:
        return bool(at.failing_since_ms) and now_ms - at.failing_since_ms > self._desk.settings.give_up_h * 3_600_000

    def _pause_s(self, attempts: int) -> float:
        settings = self._desk.settings
        longest = min(settings.longest_pause_s, settings.first_pause_s * 2 ** min(attempts, 40))
        return longest * self._desk.jitter()

    async def _measure(self, at: Progress) -> None:
        count = partial(self._desk.ledger.backlog, self._query, at.position, MOST_BACKLOG)
        self.counts.backlog = await anyio.to_thread.run_sync(count, abandon_on_cancel=True)

    async def _read(self, query: UsageQuery, page: PageRequest) -> UsagePage:
        return await anyio.to_thread.run_sync(partial(self._desk.ledger.read, query, page), abandon_on_cancel=True)

    async def _corrected(self, event: UsageEvent) -> UsageEvent | None:
        """The event that another corrects, where the ledger has it: among those of its session."""
        if event.corrects is None:
            return None
        query = UsageQuery(event.tenant_id, session_id=event.session_id, replaced=True)
        cursor: int | None = None
        for _ in range(LOOK_BACK):
            page = await self._read(query, PageRequest(cursor))
            for found in page.events:
                if found.event_id == event.corrects:
                    return found
            if page.cursor is None:
                return None
            cursor = page.cursor
        return None
