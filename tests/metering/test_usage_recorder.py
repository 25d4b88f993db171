from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from gated_ledger import GatedLedger, kept
from usage_events import numbered, opened

from metering import journal as journal_module
from metering.errors import InvalidUsageEvent, RecorderClosed, RecorderOverloaded
from metering.forwarder import RecorderOptions
from metering.identity import as_abandoned
from metering.ledger import UsageQuery, read_all
from metering.ledger_jobs import Recovery
from metering.memory import MemoryRecorder
from metering.recorder import Recorder, UsageRecorder
from metering.sqlite_ledger import SqliteLedger

LOCKING_PROCESS = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
"""


@pytest.fixture
def ledger() -> GatedLedger:
    return GatedLedger()


@pytest.fixture
async def recorder(ledger: GatedLedger, tmp_path: Path) -> AsyncIterator[UsageRecorder]:
    recorder = UsageRecorder(ledger, tmp_path, RecorderOptions(queue_limit=8, batch_limit=4))
    await recorder.start()
    yield recorder
    ledger.gate.set()
    await recorder.aclose(1.0)


async def test_a_recorded_event_is_in_the_ledger_when_its_awaitable_is_done(
    recorder: UsageRecorder, ledger: GatedLedger
) -> None:
    recorder.open_turn(opened(numbered(1)))
    await recorder.record(numbered(1))
    assert kept(ledger) == [numbered(1)]


async def test_recording_twice_counts_once(recorder: UsageRecorder, ledger: GatedLedger) -> None:
    await asyncio.gather(recorder.record(numbered(1)), recorder.record(numbered(1)))
    await recorder.record(replace(numbered(1), audio_ms_in=5))
    assert kept(ledger) == [numbered(1)]


async def test_events_that_come_while_one_is_written_go_in_groups(
    recorder: UsageRecorder, ledger: GatedLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.gate.clear()
    first = recorder.record(numbered(0))
    assert await asyncio.to_thread(ledger.entered.wait, 10)
    waiting = [recorder.record(numbered(n)) for n in range(1, 7)]
    ledger.gate.set()
    await asyncio.gather(first, *waiting)
    assert ledger.batches == [1, 4, 2]


async def test_an_invalid_event_is_refused_at_once(recorder: UsageRecorder) -> None:
    with pytest.raises(InvalidUsageEvent):
        recorder.record(replace(numbered(1), audio_ms_in=-1))
    with pytest.raises(InvalidUsageEvent):
        recorder.open_turn(replace(numbered(1), event_id="evt_wrong"))


async def test_when_too_much_waits_no_further_turn_begins_but_every_begun_one_is_recorded(
    recorder: UsageRecorder, ledger: GatedLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disk_full(_: int) -> None:
        raise OSError(28, "scripted")

    ledger.gate.clear()
    with monkeypatch.context() as patched:  # the journal fails, so the ledger is waited for
        patched.setattr(journal_module.os, "fdatasync", disk_full)
        first = recorder.record(numbered(100))
        assert await asyncio.to_thread(ledger.entered.wait, 10)
        for number in range(8):
            recorder.open_turn(opened(numbered(number)))
        assert recorder.status().waiting == 8
        with pytest.raises(RecorderOverloaded):
            recorder.open_turn(opened(numbered(8)))
        waiting = [recorder.record(numbered(number)) for number in range(8)]
        ledger.gate.set()
        await asyncio.gather(first, *waiting)
    recorder.open_turn(opened(numbered(8)))
    assert len(kept(ledger)) == 9


async def test_where_nothing_takes_an_event_it_is_tried_at_intervals_not_at_once(
    ledger: GatedLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = 0

    def disk_full(_: int) -> None:
        nonlocal attempts
        attempts += 1
        raise OSError(28, "scripted")

    recorder = UsageRecorder(ledger, tmp_path, RecorderOptions(retry_first_s=60))
    await recorder.start()
    ledger.broken = True
    with monkeypatch.context() as patched:
        patched.setattr(journal_module.os, "fdatasync", disk_full)
        waiting = recorder.record(numbered(1))
        assert await asyncio.to_thread(ledger.entered.wait, 10)
        ledger.entered.clear()
        again = await asyncio.to_thread(ledger.entered.wait, 0.3)  # a ledger's end of work is no reason to try again
        assert not again
        assert attempts == 1
    ledger.broken = False
    await asyncio.gather(waiting, recorder.record(numbered(2)))
    assert await recorder.aclose()


async def test_a_cancelled_wait_changes_nothing(recorder: UsageRecorder, ledger: GatedLedger) -> None:
    ledger.gate.clear()
    given_up = recorder.record(numbered(1))
    given_up.cancel()
    ledger.gate.set()
    await recorder.record(numbered(2))
    assert kept(ledger) == [numbered(1), numbered(2)]


async def test_a_failing_ledger_delays_nobody_and_is_caught_up_with(
    recorder: UsageRecorder, ledger: GatedLedger
) -> None:
    ledger.broken = True
    await asyncio.gather(*(recorder.record(numbered(n)) for n in range(6)))
    assert recorder.status().ledger_failed
    assert kept(ledger) == []
    ledger.broken = False
    assert await recorder.aclose()
    assert sorted(kept(ledger), key=lambda event: event.request_id) == [numbered(n) for n in range(6)]


async def test_a_ledger_that_works_again_is_caught_up_with_by_itself(
    recorder: UsageRecorder, ledger: GatedLedger
) -> None:
    ledger.broken = True
    await recorder.record(numbered(1))
    ledger.broken = False
    assert await asyncio.to_thread(ledger.appended.wait, 10)
    assert kept(ledger) == [numbered(1)]


async def test_a_ledger_with_a_fault_of_its_own_does_not_stop_the_recorder(
    recorder: UsageRecorder, ledger: GatedLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(ledger.kept, "append", lambda _: 1 // 0)
        await recorder.record(numbered(1))
    assert await recorder.aclose()
    assert kept(ledger) == [numbered(1)]


async def test_what_a_ledger_never_took_is_recovered_by_the_next_recorder(ledger: GatedLedger, tmp_path: Path) -> None:
    ledger.broken = True
    first = UsageRecorder(ledger, tmp_path)
    await first.start()
    await first.record(numbered(1))
    first.open_turn(opened(numbered(2)))
    assert await first.aclose()
    ledger.broken = False
    second = UsageRecorder(ledger, tmp_path)
    assert await second.start() == Recovery(events=1, turns=1)
    assert kept(ledger) == [numbered(1), as_abandoned(opened(numbered(2)))]
    assert await second.recover() == Recovery()
    assert await second.aclose()


async def test_the_turns_of_a_running_recorder_are_not_taken_for_abandoned(
    recorder: UsageRecorder, ledger: GatedLedger, tmp_path: Path
) -> None:
    recorder.open_turn(opened(numbered(1)))
    await recorder.record(numbered(2))
    other = UsageRecorder(ledger, tmp_path)
    assert await other.start() == Recovery()
    assert await other.aclose()
    await recorder.record(numbered(1))
    assert kept(ledger) == [numbered(2), numbered(1)]


async def test_closing_waits_for_what_is_under_way_and_then_nothing_is_taken(
    recorder: UsageRecorder, ledger: GatedLedger, tmp_path: Path
) -> None:
    waiting = [recorder.record(numbered(n)) for n in range(20)]
    assert await recorder.aclose()
    assert all(future.done() for future in waiting)
    assert len(kept(ledger)) == 20
    assert os.listdir(tmp_path) == []
    with pytest.raises(RecorderClosed):
        recorder.record(numbered(21))
    with pytest.raises(RecorderClosed):
        recorder.open_turn(numbered(21))
    assert await recorder.aclose()


async def test_before_its_start_nothing_is_taken(ledger: GatedLedger, tmp_path: Path) -> None:
    with pytest.raises(RecorderClosed):
        UsageRecorder(ledger, tmp_path).record(numbered(1))


async def test_closing_gives_up_at_its_limit_and_says_what_was_not_stored(
    ledger: GatedLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: int) -> None:
        raise OSError(28, "scripted")

    recorder = UsageRecorder(ledger, tmp_path)
    await recorder.start()
    monkeypatch.setattr(journal_module.os, "fdatasync", refuse)
    ledger.broken = True
    lost = recorder.record(numbered(1))
    assert not await recorder.aclose(0.2)
    with pytest.raises(RecorderClosed):
        await lost
    (report,) = [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert numbered(1).request_id in report.__dict__["usage_event"]


def test_a_loop_that_is_gone_does_not_stop_the_recorder(ledger: GatedLedger, tmp_path: Path) -> None:
    recorder = UsageRecorder(ledger, tmp_path)

    async def record_and_leave() -> None:
        await recorder.start()
        ledger.gate.clear()
        recorder.record(numbered(1))
        assert await asyncio.to_thread(ledger.entered.wait, 10)

    async def record_again() -> None:
        ledger.gate.set()
        await recorder.record(numbered(2))
        assert await recorder.aclose()

    asyncio.run(record_and_leave())
    asyncio.run(record_again())
    assert kept(ledger) == [numbered(1), numbered(2)]


async def test_a_database_locked_by_another_process_delays_no_event_and_gets_all(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    ledger = SqliteLedger(path)
    recorder = UsageRecorder(ledger, tmp_path / "journal")
    await recorder.start()
    await recorder.record(numbered(0))
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LOCKING_PROCESS, str(path), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    assert await other.stdout.readline() == b"locked\n"
    await asyncio.gather(*(recorder.record(numbered(n)) for n in range(1, 50)))
    assert recorder.status().ledger_failed
    assert ledger.totals(UsageQuery()).events == 1
    await other.communicate(b"\n")
    assert await recorder.aclose()
    assert list(read_all(ledger, UsageQuery())) == [numbered(n) for n in range(50)]
    ledger.close()


async def test_a_removed_database_loses_nothing_recorded_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "data" / "usage.db"
    ledger = SqliteLedger(path)
    recorder = UsageRecorder(ledger, tmp_path / "journal")
    await recorder.start()
    await recorder.record(numbered(0))
    for file in path.parent.iterdir():
        file.unlink()
    await asyncio.gather(*(recorder.record(numbered(n)) for n in range(1, 10)))
    assert await recorder.aclose()
    assert list(read_all(ledger, UsageQuery())) == [numbered(n) for n in range(1, 10)]
    ledger.close()


async def test_the_memory_recorder_records_at_once_and_shows_which_turns_are_open() -> None:
    memory = MemoryRecorder()
    recorder: Recorder = memory
    recorder.open_turn(opened(numbered(1)))
    recorder.open_turn(opened(numbered(2)))
    durable = recorder.record(numbered(1))
    assert durable.done()
    assert memory.opened == {numbered(2).request_id: opened(numbered(2))}
    assert list(read_all(memory.ledger, UsageQuery())) == [numbered(1)]
