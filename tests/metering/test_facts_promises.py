"""The ledger's promises, tried: an hour without a database, a torn journal, jumping clocks, events that come twice."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from usage_events import DAY_MS, numbered, opened

from agents.core.accounts import TurnAccount
from agents.core.options import Identity
from metering import journal as journal_module
from metering.errors import LedgerUnavailable
from metering.forwarder import Forwarder, RecorderOptions
from metering.identity import as_abandoned, as_correction
from metering.journal_lines import TurnOpened, UsageRecorded, encode_line
from metering.ledger import DayQuery, Ledger, UsageQuery, UsageTotals, read_all
from metering.memory import MemoryLedger
from metering.recorder import UsageRecorder
from metering.rollup import Rollup
from metering.sqlite_ledger import SqliteLedger
from metering.usage import UsageEvent

HOUR_S = 3_600


class AwayLedger(MemoryLedger):
    """Away until it is ``back``; counts how often it was asked meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.back = False
        self.asked_in_vain = 0
        self.batches: list[int] = []

    def append(self, events: Sequence[UsageEvent]) -> int:
        if not self.back:
            self.asked_in_vain += 1
            raise LedgerUnavailable("away")
        self.batches.append(len(events))
        return super().append(events)


def everything(ledger: Ledger) -> list[UsageEvent]:
    return list(read_all(ledger, UsageQuery()))


def kill(forwarder: Forwarder) -> None:
    """What the kernel does to a killed process: its descriptors are closed, and with them its lock."""
    journal, forwarder._journal = forwarder._journal, None
    if journal is not None:
        os.close(journal._file)
        os.close(journal._lock)


def size(root: Path) -> int:
    return sum(path.stat().st_size for path in root.glob("*/*.jsonl"))


def test_an_hour_without_a_database_grows_the_journal_by_its_events_alone_and_is_drained_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module.os, "fdatasync", lambda _: None)  # an hour of them takes a minute
    ledger = AwayLedger()
    options = RecorderOptions(segment_bytes=100_000)
    forwarder = Forwarder(ledger, tmp_path, options)
    long_turn = opened(numbered(900_000))
    assert forwarder.take([long_turn], [], 0)
    written = 0
    for second in range(HOUR_S):
        event = numbered(second)
        written += len(encode_line(TurnOpened(opened(event)))) + len(encode_line(UsageRecorded(event)))
        assert forwarder.take([opened(event)], [], second), "a turn waited for the database"
        assert forwarder.take([], [event], second + 0.5), "an event waited for the database"
        forwarder.forward(second + 0.5)
    assert HOUR_S / options.retry_max_s * 0.5 < ledger.asked_in_vain < HOUR_S / options.retry_max_s + 12
    segments = len(list(tmp_path.glob("*/*.jsonl")))
    marks = len(encode_line(TurnOpened(long_turn)))
    assert written <= size(tmp_path) <= written + segments * 2 * marks
    assert segments <= written // options.segment_bytes + 2
    ledger.back = True
    now_s, steps = float(HOUR_S), 0
    while (due_s := forwarder.retry_at_s) is not None:
        now_s, steps = max(now_s, due_s), steps + 1
        forwarder.forward(now_s)
    assert now_s <= HOUR_S + options.retry_max_s
    assert everything(ledger) == [numbered(second) for second in range(HOUR_S)]
    assert max(ledger.batches) <= options.batch_limit
    assert len(list(tmp_path.glob("*/*.jsonl"))) == 1, "what the ledger has is still in the journal"
    assert not forwarder.ledger_failed
    kill(forwarder)
    Forwarder(ledger, tmp_path, options).recover(now_s)
    assert everything(ledger)[-1] == as_abandoned(long_turn)


_damage = st.one_of(
    st.tuples(st.just("cut"), st.integers(1, 2_000), st.just(b"")),
    st.tuples(st.just("overwritten"), st.integers(1, 2_000), st.binary(min_size=1, max_size=40)),
    st.tuples(st.just("followed"), st.just(0), st.binary(min_size=1, max_size=200)),
    st.tuples(st.just("zeroed"), st.integers(1, 2_000), st.just(b"\x00")),
)


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 5), damage=_damage)
def test_a_torn_or_overwritten_journal_gives_back_every_line_that_stands(
    count: int, damage: tuple[str, int, bytes]
) -> None:
    kind, length, filler = damage
    with tempfile.TemporaryDirectory() as made:
        root, ledger = Path(made), AwayLedger()
        forwarder = Forwarder(ledger, root, RecorderOptions())
        for number in range(count):
            forwarder.take([opened(numbered(number))], [], 0)
            forwarder.take([], [numbered(number)], 0)
        kill(forwarder)
        (segment,) = root.glob("*/*.jsonl")
        whole = segment.read_bytes()
        kept = len(whole) if kind == "followed" else max(0, len(whole) - length)
        tail = b"" if kind == "cut" else (filler * (len(whole) - kept + 1))[: len(whole) - kept] or filler
        segment.write_bytes(whole[:kept] + tail)
        ledger.back = True
        successor = Forwarder(ledger, root, RecorderOptions())
        successor.recover(0)
        found = {event.request_id: event for event in everything(ledger)}
        assert len(found) == len(everything(ledger)), "doubled"
        lines = whole[:kept].split(b"\n")[:-1]
        for number in range(count):
            event = numbered(number)
            standing = encode_line(UsageRecorded(event)).rstrip(b"\n") in lines
            begun = encode_line(TurnOpened(opened(event))).rstrip(b"\n") in lines
            if standing:
                assert found[event.request_id] == event, "lost or changed"
            elif begun:
                assert found[event.request_id] in (event, as_abandoned(opened(event)))
        before = everything(ledger)
        assert successor.take([], [numbered(99)], 0), "the damage keeps others from recording"
        successor.forward(0)
        successor.close()
        Forwarder(ledger, root, RecorderOptions()).recover(0)
        assert everything(ledger) == [*before, numbered(99)], "what was recovered came again"
        assert all(path.suffix == ".damaged" for path in root.iterdir()), "something else was left"


async def test_a_clock_that_jumps_changes_no_quantity_and_no_order_on_sqlite_either(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "usage.db")
    recorder = UsageRecorder(ledger, tmp_path / "journal")
    await recorder.start()
    jumps = [0, 400 * DAY_MS, -300 * DAY_MS, 1, -20_000 * DAY_MS]
    events = [replace(numbered(n), started_at=max(0, numbered(n).started_at + by)) for n, by in enumerate(jumps)]
    for event in events:
        recorder.open_turn(opened(event))
        await recorder.record(event)
    assert await recorder.aclose()
    assert everything(ledger) == events
    assert ledger.totals(UsageQuery()) == UsageTotals.of(events)
    assert ledger.daily(DayQuery()) == Rollup.of(events).days()
    ledger.close()


@pytest.mark.parametrize("jump_ms", [-40 * DAY_MS, -1, 0, 1, 40 * DAY_MS])
def test_a_clock_that_jumps_within_a_turn_changes_its_dates_alone(jump_ms: int) -> None:
    started = 100 * DAY_MS
    account = TurnAccount("turn_1", "agent", started, audio_ms_in=700, audio_ms_out=500, audio_ms_synthesized=600)
    event = account.event(Identity("ses_1"), started + jump_ms)
    assert (event.started_at, event.ended_at) == (started, max(started, started + jump_ms))
    assert (event.audio_ms_in, event.audio_ms_out, event.audio_ms_synthesized) == (700, 500, 600)


def test_what_two_servers_deliver_twice_and_with_corrections_is_there_once(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "usage.db")
    forwarders = [Forwarder(ledger, tmp_path / "journal", RecorderOptions(segment_bytes=2_000)) for _ in range(2)]
    correction = as_correction(numbered(3), replace(numbered(4), audio_ms_sent=1))
    for _ in range(3):
        for number in range(12):
            for forwarder in forwarders:
                assert forwarder.take([opened(numbered(number))], [numbered(number)], 0)
                assert forwarder.take([], [correction], 0)
    for forwarder in forwarders:
        forwarder.forward(0)
        forwarder.close()
    current = [numbered(number) for number in range(12) if number != 3] + [correction]
    assert ledger.totals(UsageQuery()) == UsageTotals.of(current)
    assert ledger.daily(DayQuery()) == Rollup.of(current).days()
    assert len(list(read_all(ledger, UsageQuery(replaced=True)))) == 13
    assert list((tmp_path / "journal").iterdir()) == []
    ledger.close()
