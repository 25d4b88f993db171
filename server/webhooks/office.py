"""All couriers of a server, and what there is to watch about them. Owned by ``server.offices``; run by the host."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Final

import anyio

from metering.ledger import Ledger
from metering.records import Records
from server.audit import AuditLog
from server.observability.metrics import Metrics
from server.settings import Settings
from server.webhooks.courier import Courier, Desk
from server.webhooks.sender import Sender

ONE_SERVER: Final = "this server"
"""Who delivers where the records are a file: nobody else can."""


class Webhooks:
    """See the module. ``prepare`` before the first turn, then ``run``."""

    def __init__(self, settings: Settings, records: Records, audit: AuditLog, epoch_ms: Callable[[], int]) -> None:
        self._settings = settings.webhooks
        self._records = records
        self._audit = audit
        self._epoch_ms = epoch_ms
        self._couriers: list[Courier] = []
        self._senders: list[Sender] = []

    async def prepare(self, ledger: Ledger) -> None:
        """Make the couriers, and note where new receivers begin. Raises LedgerError, RecordsError."""
        owner = ONE_SERVER if self._records.is_sqlite else uuid.uuid4().hex
        desk = Desk(ledger, self._records, self._audit, self._settings, self._epoch_ms, _jitter, owner)
        for endpoint in self._settings.endpoints:
            sender = Sender(endpoint, self._settings.timeout_s, self._epoch_ms)
            courier = Courier(endpoint, desk, sender)
            await courier.prepare()
            self._senders.append(sender)
            self._couriers.append(courier)

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with AsyncExitStack() as stack:
            for sender in self._senders:
                stack.push_async_callback(sender.aclose)
            async with anyio.create_task_group() as tasks:
                for courier in self._couriers:
                    tasks.start_soon(courier.run)

    def watch(self, metrics: Metrics) -> None:
        """Have the backlog and what became of events measured, where there are receivers."""
        if self._settings.endpoints:
            metrics.watch("convergio_webhook_backlog", "Usage events that receivers do not have yet.", self._backlog)
            metrics.watch_counts("convergio_webhook_events", "Usage events sent, by fate.", "fate", self._fates)

    def _backlog(self) -> float:
        return float(sum(courier.counts.backlog for courier in self._couriers))

    def _fates(self) -> Mapping[str, int]:
        return {
            fate: sum(getattr(courier.counts, fate) for courier in self._couriers)
            for fate in ("delivered", "retried", "dead")
        }


def _jitter() -> float:
    return random.uniform(0.5, 1.0)  # noqa: S311 - to spread requests, no secret
