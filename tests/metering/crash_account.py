"""What processes that were killed had promised, held against the ledger. Used by the crash tests and trials."""

from __future__ import annotations

from pathlib import Path

from recording_child import ledger_of
from usage_events import numbered, opened

from metering.identity import as_abandoned
from metering.ledger import DayQuery, UsageQuery, read_all
from metering.recorder import UsageRecorder
from metering.rollup import Rollup
from metering.usage import UsageEvent


class Account:
    """What was promised, and whether it was kept."""

    def __init__(self) -> None:
        self.done: set[tuple[str, int]] = set()
        self.open: set[tuple[str, int]] = set()

    def hear(self, said: bytes) -> None:
        for line in said.decode().splitlines(keepends=True):
            match line.split() if line.endswith("\n") else []:
                case ["done", prefix, number]:
                    self.done.add((prefix, int(number)))
                case ["open", prefix, number]:
                    self.open.add((prefix, int(number)))
                case _:
                    pass

    async def settle(self, directory: Path, url: str | None = None) -> list[UsageEvent]:
        """Recover whatever was left, then hold the ledger against every promise."""
        ledger = ledger_of(directory, url)
        recorder = UsageRecorder(ledger, directory / "journal")
        recovery = await recorder.start()
        assert (recovery.pending, recovery.damaged_lines) == (0, 0)
        assert await recorder.aclose()
        found = list(read_all(ledger, UsageQuery(replaced=True)))
        assert ledger.daily(DayQuery()) == Rollup.of(found).days(), "the daily sums are not those of the events"
        assert ledger.amounts(DayQuery()) == Rollup.of(found).quantities()
        ledger.close()
        by_request = {event.request_id: event for event in found}
        assert len(by_request) == len(found), "doubled"
        for prefix, number in self.done:
            event = numbered(number, prefix=prefix)
            assert by_request.get(event.request_id) == event, "lost or changed"
        for prefix, number in self.open:
            event = as_abandoned(opened(numbered(number, prefix=prefix)))
            assert by_request.get(event.request_id) == event, "an open turn was lost"
        for event in found:
            prefix, number = event.request_id.rsplit("_", 1)
            whole = numbered(int(number), prefix=prefix)
            assert event in (whole, as_abandoned(opened(whole)))
        assert list((directory / "journal").iterdir()) == []
        return found
