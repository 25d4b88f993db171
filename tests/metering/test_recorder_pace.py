"""A ledger that is slower than what is recorded: nothing waits for it that need not."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from gated_ledger import GatedLedger, kept
from usage_events import numbered, opened

from metering import journal as journal_module
from metering.errors import LedgerUnavailable
from metering.forwarder import AT_HAND_BATCHES, RecorderOptions
from metering.journal import SegmentReader
from metering.journal_lines import Entry, TurnOpened, UsageRecorded
from metering.recorder import UsageRecorder
from metering.usage import UsageEvent


@pytest.fixture
def ledger() -> GatedLedger:
    return GatedLedger()


async def test_a_ledger_that_hangs_keeps_no_event_from_being_durable_and_gets_all_of_them_afterwards(
    ledger: GatedLedger, tmp_path: Path
) -> None:
    recorder = UsageRecorder(ledger, tmp_path, RecorderOptions(visible_within_s=0.01))
    await recorder.start()
    ledger.gate.clear()
    await recorder.record(numbered(0))
    assert ledger.entered.is_set()
    await asyncio.gather(*(recorder.record(numbered(n)) for n in range(1, 40)))
    assert recorder.status().ledger_failed
    assert kept(ledger) == []
    ledger.gate.set()
    assert await recorder.aclose()
    assert sorted(kept(ledger), key=lambda event: event.request_id) == [numbered(n) for n in range(40)]
    assert os.listdir(tmp_path) == []


async def test_what_is_recorded_while_the_ledger_works_is_journalled_at_once_and_reported_with_the_ledger_having_it(
    ledger: GatedLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = threading.Semaphore(0)
    real = os.fdatasync

    def fdatasync(file: int) -> None:
        real(file)
        synced.release()

    recorder = UsageRecorder(ledger, tmp_path, RecorderOptions(visible_within_s=600))
    await recorder.start()
    ledger.gate.clear()
    first = recorder.record(numbered(1))
    assert await asyncio.to_thread(ledger.entered.wait, 10)
    monkeypatch.setattr(journal_module.os, "fdatasync", fdatasync)
    recorder.open_turn(opened(numbered(2)))
    second = recorder.record(numbered(3))
    assert await asyncio.to_thread(synced.acquire, timeout=30)
    while len(journalled := journal_of(tmp_path)) < 3:
        assert await asyncio.to_thread(synced.acquire, timeout=30)
    assert journalled == [UsageRecorded(numbered(1)), TurnOpened(opened(numbered(2))), UsageRecorded(numbered(3))]
    assert not first.done()
    assert not second.done()
    assert not recorder.status().ledger_failed
    ledger.gate.set()
    await second
    assert first.done()
    assert kept(ledger) == [numbered(1), numbered(3)]
    assert await recorder.aclose()


def journal_of(root: Path) -> list[Entry]:
    return [entry for segment in sorted(root.glob("*/*.jsonl")) for entry in SegmentReader(segment, 0)]


async def test_what_comes_faster_than_the_ledger_takes_it_is_read_from_the_journal(
    ledger: GatedLedger, tmp_path: Path
) -> None:
    recorder = UsageRecorder(ledger, tmp_path, RecorderOptions(batch_limit=4, visible_within_s=600))
    await recorder.start()
    ledger.gate.clear()
    first = recorder.record(numbered(0))
    assert await asyncio.to_thread(ledger.entered.wait, 10)
    many = [recorder.record(numbered(n)) for n in range(1, 4 * AT_HAND_BATCHES + 20)]
    ledger.gate.set()
    await asyncio.gather(first, *many)
    assert kept(ledger) == [numbered(n) for n in range(4 * AT_HAND_BATCHES + 20)]
    assert await recorder.aclose()
    assert os.listdir(tmp_path) == []


async def test_a_ledger_that_was_late_is_waited_for_again_once_it_has_caught_up(
    ledger: GatedLedger, tmp_path: Path
) -> None:
    recorder = UsageRecorder(ledger, tmp_path, RecorderOptions(visible_within_s=5))
    await recorder.start()
    ledger.broken = True
    await recorder.record(numbered(0))
    ledger.broken = False
    assert await asyncio.to_thread(ledger.appended.wait, 10)
    for number in range(1, 50):
        await recorder.record(numbered(number))
        if not recorder.status().ledger_failed:
            break
    await recorder.record(numbered(50))
    assert kept(ledger)[-1] == numbered(50)
    assert await recorder.aclose()


class FailsFirst(GatedLedger):
    """Its first append fails, after it has been held up."""

    def append(self, events: Sequence[UsageEvent]) -> int:
        first = not self.entered.is_set()
        if first:
            self.entered.set()
            self.gate.wait(20)
            raise LedgerUnavailable("it was not back yet")
        return super().append(events)


async def test_at_the_end_the_ledger_is_asked_once_more_than_what_was_under_way(tmp_path: Path) -> None:
    ledger = FailsFirst()
    recorder = UsageRecorder(ledger, tmp_path, RecorderOptions(visible_within_s=0.01))
    await recorder.start()
    ledger.gate.clear()
    await recorder.record(numbered(1))
    assert await asyncio.to_thread(ledger.entered.wait, 10)
    asyncio.get_running_loop().call_soon(ledger.gate.set)  # once closing has begun to wait
    assert await recorder.aclose(30)
    assert kept(ledger) == [numbered(1)]
    assert os.listdir(tmp_path) == []
