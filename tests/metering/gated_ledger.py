"""A ledger whose appends a test can hold up, or have fail."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from metering.errors import LedgerUnavailable
from metering.ledger import PageRequest, UsagePage, UsageQuery, UsageTotals, read_all
from metering.memory import MemoryLedger
from metering.usage import UsageEvent


class GatedLedger:
    """A real ledger behind a gate: shut, appends block; broken, they fail. Tells each time one got through."""

    def __init__(self) -> None:
        self.kept = MemoryLedger()
        self.gate = threading.Event()
        self.gate.set()
        self.broken = False
        self.entered = threading.Event()
        self.appended = threading.Event()
        self.batches: list[int] = []

    def append(self, events: Sequence[UsageEvent]) -> int:
        self.entered.set()
        if not self.gate.wait(20):
            raise LedgerUnavailable("the test forgot the gate")
        if self.broken:
            raise LedgerUnavailable("scripted")
        self.batches.append(len(events))
        new = self.kept.append(events)
        self.appended.set()
        return new

    def read(self, query: UsageQuery, page: PageRequest) -> UsagePage:
        return self.kept.read(query, page)

    def totals(self, query: UsageQuery) -> UsageTotals:
        return self.kept.totals(query)

    def close(self) -> None:
        self.kept.close()


def kept(ledger: GatedLedger) -> list[UsageEvent]:
    """What the ledger has, oldest first."""
    return list(read_all(ledger, UsageQuery()))
