"""Store and forward, driven by hand: failing ledgers, failing journals and crashes at every step."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from usage_events import numbered, opened

from metering import journal as journal_module
from metering.errors import LedgerUnavailable
from metering.forwarder import Forwarder, RecorderOptions
from metering.identity import as_abandoned
from metering.ledger import PageRequest, UsagePage, UsageQuery, UsageTotals, read_all
from metering.ledger_jobs import Recovery
from metering.memory import MemoryLedger
from metering.usage import UsageEvent

SMALL = RecorderOptions(segment_bytes=2000)


class Killed(BaseException):
    """The process ends here."""


class UnreliableLedger:
    """A real ledger whose appends go by a script: how the next ones fail, if at all."""

    def __init__(self) -> None:
        self.kept = MemoryLedger()
        self.script: list[str] = []

    def append(self, events: Sequence[UsageEvent]) -> int:
        match self.script.pop(0) if self.script else "works":
            case "fails":
                raise LedgerUnavailable("scripted")
            case "fails after committing":
                self.kept.append(events)
                raise LedgerUnavailable("scripted")
            case "killed":
                raise Killed
            case "killed after committing":
                self.kept.append(events)
                raise Killed
            case _:
                return self.kept.append(events)

    def read(self, query: UsageQuery, page: PageRequest) -> UsagePage:
        return self.kept.read(query, page)

    def totals(self, query: UsageQuery) -> UsageTotals:
        return self.kept.totals(query)

    def close(self) -> None:
        self.kept.close()


@pytest.fixture
def ledger() -> UnreliableLedger:
    return UnreliableLedger()


@pytest.fixture
def forwarder(ledger: UnreliableLedger, tmp_path: Path) -> Forwarder:
    return Forwarder(ledger, tmp_path, SMALL)


def kill(forwarder: Forwarder) -> None:
    """What the kernel does to a killed process: its descriptors are closed, and with them its lock."""
    for orphan in forwarder._orphans:
        with suppress(OSError):
            orphan.release()
    journal, forwarder._journal = forwarder._journal, None
    if journal is not None:
        os.close(journal._file)
        os.close(journal._lock)


def in_ledger(ledger: UnreliableLedger) -> list[UsageEvent]:
    return list(read_all(ledger, UsageQuery()))


def test_an_event_is_in_the_ledger_when_it_is_reported_durable(forwarder: Forwarder, ledger: UnreliableLedger) -> None:
    assert forwarder.take([opened(numbered(1))], [numbered(1)], 0)
    assert in_ledger(ledger) == [numbered(1)]
    assert forwarder.retry_at_s is None


def test_a_failing_ledger_makes_no_event_wait_or_go_missing(forwarder: Forwarder, ledger: UnreliableLedger) -> None:
    ledger.script = ["fails", "fails after committing", "fails"]
    for number in range(20):
        assert forwarder.take([opened(numbered(number))], [numbered(number)], 0)
    assert in_ledger(ledger) == []
    now_s = 0.0
    while (due_s := forwarder.retry_at_s) is not None:
        now_s = max(now_s, due_s)
        forwarder.forward(now_s)
    assert in_ledger(ledger) == [numbered(n) for n in range(20)]


def test_one_outage_after_another_is_caught_up_with(forwarder: Forwarder, ledger: UnreliableLedger) -> None:
    for number in range(12):
        ledger.script = ["fails"]
        assert forwarder.take([opened(numbered(number))], [numbered(number)], number)
        assert len(in_ledger(ledger)) == number
        forwarder.forward(forwarder.retry_at_s or 0)
        assert in_ledger(ledger)[-1] == numbered(number)
    assert forwarder.retry_at_s is None


def test_a_failing_ledger_is_tried_less_and_less_often_up_to_a_limit(
    forwarder: Forwarder, ledger: UnreliableLedger
) -> None:
    ledger.script = ["fails"] * 12
    forwarder.take([], [numbered(1)], 0)
    waits: list[float] = []
    now_s = 0.0
    while (due_s := forwarder.retry_at_s) is not None and ledger.script:
        waits.append(round(due_s - now_s, 6))
        now_s = due_s
        forwarder.forward(now_s - 0.001)  # too early: nothing happens
        forwarder.forward(now_s)
    assert waits[:7] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0]
    assert set(waits[7:]) == {5.0}
    assert in_ledger(ledger) == []
    assert forwarder.ledger_failed


def test_the_journal_stays_small_while_the_ledger_works(
    forwarder: Forwarder, ledger: UnreliableLedger, tmp_path: Path
) -> None:
    forwarder.take([opened(numbered(999))], [], 0)  # runs all the while, so its mark must travel along
    for number in range(200):
        forwarder.take([opened(numbered(number))], [numbered(number)], 0)
    sizes = [path.stat().st_size for path in tmp_path.glob("*/*.jsonl")]
    assert len(sizes) == 1
    assert sizes[0] < 5000
    kill(forwarder)
    assert Forwarder(ledger, tmp_path, SMALL).recover(0) == Recovery(turns=1)
    assert in_ledger(ledger)[-1] == as_abandoned(opened(numbered(999)))


def test_closing_in_order_leaves_nothing_behind(forwarder: Forwarder, tmp_path: Path) -> None:
    forwarder.take([opened(numbered(1))], [numbered(1)], 0)
    forwarder.close()
    assert list(tmp_path.iterdir()) == []


def test_turns_open_at_the_end_are_found_at_the_next_start(
    forwarder: Forwarder, ledger: UnreliableLedger, tmp_path: Path
) -> None:
    forwarder.take([opened(numbered(1)), opened(numbered(2))], [numbered(2)], 0)
    forwarder.close()
    assert Forwarder(ledger, tmp_path, SMALL).recover(0) == Recovery(turns=1)
    assert in_ledger(ledger) == [numbered(2), as_abandoned(opened(numbered(1)))]
    assert list(tmp_path.iterdir()) == []


def test_the_latest_mark_of_a_turn_counts(forwarder: Forwarder, ledger: UnreliableLedger, tmp_path: Path) -> None:
    forwarder.take([opened(numbered(1))], [], 0)
    forwarder.take([numbered(1)], [], 0)
    kill(forwarder)
    Forwarder(ledger, tmp_path, SMALL).recover(0)
    assert in_ledger(ledger) == [as_abandoned(numbered(1))]


def test_a_recovery_the_ledger_refuses_is_retried(
    forwarder: Forwarder, ledger: UnreliableLedger, tmp_path: Path
) -> None:
    forwarder.take([opened(numbered(1))], [], 0)
    kill(forwarder)
    ledger.script = ["fails"]
    later = Forwarder(ledger, tmp_path, SMALL)
    assert later.recover(0) == Recovery(pending=1)
    assert later.retry_at_s is not None
    later.forward(later.retry_at_s)
    assert in_ledger(ledger) == [as_abandoned(opened(numbered(1)))]
    assert later.retry_at_s is None


def test_an_event_nothing_takes_is_not_durable_until_something_does(
    forwarder: Forwarder, ledger: UnreliableLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    forwarder.take([], [numbered(0)], 0)
    with monkeypatch.context() as patched:
        patched.setattr(journal_module.os, "fdatasync", raise_io_error)
        ledger.script = ["fails"]
        assert not forwarder.take([opened(numbered(1))], [numbered(1)], 0)
        assert forwarder.journal_failed
        assert forwarder.ledger_failed
        assert forwarder.take([], [numbered(1)], 1)  # the ledger alone will do
        assert forwarder.take([opened(numbered(2))], [], 1)
    assert forwarder.take([opened(numbered(3))], [], 2)
    assert not forwarder.journal_failed
    assert in_ledger(ledger) == [numbered(0), numbered(1)]


def test_marks_a_failing_journal_did_not_take_are_written_once_it_works(
    forwarder: Forwarder, ledger: UnreliableLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forwarder.take([opened(numbered(1))], [], 0)
    with monkeypatch.context() as patched:
        patched.setattr(journal_module.os, "fdatasync", raise_io_error)
        forwarder.take([opened(numbered(2))], [], 0)
    forwarder.take([], [numbered(3)], 0)
    kill(forwarder)
    assert Forwarder(ledger, tmp_path, SMALL).recover(0) == Recovery(turns=2)


def test_a_journal_removed_while_in_use_is_made_anew(
    forwarder: Forwarder, ledger: UnreliableLedger, tmp_path: Path
) -> None:
    forwarder.take([opened(numbered(1))], [], 0)
    for path in sorted(tmp_path.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    assert forwarder.take([], [numbered(2)], 0)
    assert forwarder.take([], [numbered(3)], 0)
    kill(forwarder)
    assert Forwarder(ledger, tmp_path, SMALL).recover(0).turns == 1
    assert len(in_ledger(ledger)) == 3


def test_a_damaged_line_costs_only_itself_and_the_journal_is_kept(
    forwarder: Forwarder, ledger: UnreliableLedger, tmp_path: Path
) -> None:
    ledger.script = ["fails"]
    for number in range(4):
        forwarder.take([], [numbered(number)], 0)
    kill(forwarder)
    (segment,) = tmp_path.glob("*/*2.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b"req_000001", b"req_xxxxxx"))
    recovery = Forwarder(ledger, tmp_path, SMALL).recover(0)
    assert (recovery.events, recovery.damaged_lines) == (3, 1)
    assert len(list(tmp_path.glob("*.damaged/*.jsonl"))) >= 1


def test_a_damaged_segment_is_kept_and_the_others_are_not(
    forwarder: Forwarder, ledger: UnreliableLedger, tmp_path: Path
) -> None:
    ledger.script = ["fails"]
    for number in range(20):
        forwarder.take([], [numbered(number)], 0)
    first, *others = sorted(tmp_path.glob("*/*.jsonl"))
    damaged = next(segment for segment in (first, *others) if b"req_000001" in segment.read_bytes())
    damaged.write_bytes(damaged.read_bytes().replace(b"req_000001", b"req_xxxxxx"))
    assert len(others) > 3
    while (due_s := forwarder.retry_at_s) is not None:
        forwarder.forward(due_s)
    assert in_ledger(ledger) == [numbered(n) for n in range(20) if n != 1]
    left = sorted(tmp_path.glob("*/*.jsonl"))
    assert left[0] == damaged
    assert len(left) == 2  # and the one that is written to


def raise_io_error(_: int) -> None:
    raise OSError(5, "scripted")


STEPS = ("write", "fdatasync", "fsync", "mkdir", "unlink", "rmdir")


def killed_at_step(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Make the step-th system call from now on the last one; a write gets half of its bytes to the file."""
    counted = iter(range(1, 1_000_000))

    def wrap(name: str) -> None:
        real = getattr(os, name)

        def call(*args: object, **kwargs: object) -> object:
            if next(counted) >= step:
                if name == "write":
                    real(args[0], bytes(args[1])[: len(bytes(args[1])) // 2])  # pyright: ignore[reportArgumentType]
                raise Killed
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, call)

    for name in STEPS:
        wrap(name)


def test_killed_at_every_system_call_and_again_while_recovering_nothing_is_lost_or_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = 0
    finished = False
    while not finished:
        runs += 1
        root, ledger = tmp_path / str(runs), UnreliableLedger()
        with monkeypatch.context() as patched:
            killed_at_step(patched, runs)
            first = Forwarder(ledger, root, RecorderOptions(segment_bytes=1200))
            acknowledged, begun, finished = live_one_life(first, ledger)
        kill(first)
        with monkeypatch.context() as patched:
            killed_at_step(patched, runs % 7 + 1)
            second = Forwarder(ledger, root, SMALL)
            with suppress(Killed):
                second.recover(0)
        kill(second)
        third = Forwarder(ledger, root, SMALL)
        assert third.recover(0).pending == 0
        found = in_ledger(ledger)
        requests = [event.request_id for event in found]
        assert len(set(requests)) == len(requests)
        assert set(acknowledged) <= set(requests)
        assert set(begun) <= set(requests)
        assert all(
            event in (numbered(n), as_abandoned(opened(numbered(n)))) for event in found for n in [number(event)]
        )
        assert all(event == numbered(number(event)) for event in found if event.request_id in acknowledged)
    assert runs > 30


def live_one_life(forwarder: Forwarder, ledger: UnreliableLedger) -> tuple[list[str], list[str], bool]:
    acknowledged: list[str] = []
    begun: list[str] = []
    try:
        for n in range(8):
            ledger.script = ["fails"] if n in (2, 3) else []
            if forwarder.take([opened(numbered(n))], [], n):
                begun.append(numbered(n).request_id)
            if n % 3 and forwarder.take([], [numbered(n)], n):
                acknowledged.append(numbered(n).request_id)
            forwarder.forward(n)
        forwarder.close()
    except Killed:
        return acknowledged, begun, False
    return acknowledged, begun, True


def number(event: UsageEvent) -> int:
    return event.audio_ms_in - 1


faults = st.lists(
    st.sampled_from(["works", "fails", "fails after committing", "killed", "killed after committing"]), max_size=4
)


@settings(max_examples=60, stateful_step_count=30)
class Lives(RuleBasedStateMachine):
    """Turns begin, end, end twice; the ledger fails; the process dies, also while recovering."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.root = Path(self.directory.name)
        self.ledger = UnreliableLedger()
        self.now_s = 0.0
        self.next_number = 0
        self.running: set[int] = set()
        self.begun: set[int] = set()
        self.durable: set[int] = set()
        self.forwarder = Forwarder(self.ledger, self.root, SMALL)

    def die(self) -> None:
        kill(self.forwarder)
        self.running.clear()
        self.forwarder = Forwarder(self.ledger, self.root, SMALL)

    @rule(script=faults)
    def the_ledger_gets_worse(self, script: list[str]) -> None:
        self.ledger.script = script

    @rule()
    def a_turn_begins(self) -> None:
        n, self.next_number = self.next_number, self.next_number + 1
        self.begun.add(n)  # its mark is on the disk before the ledger is given anything
        try:
            assert self.forwarder.take([opened(numbered(n))], [], self.now_s)
        except Killed:
            self.die()
        else:
            self.running.add(n)

    @rule(data=st.data(), size=st.integers(1, 4))
    def turns_end_or_end_again(self, data: st.DataObject, size: int) -> None:
        candidates = sorted(self.running | self.durable)
        if not candidates:
            return
        batch = data.draw(st.lists(st.sampled_from(candidates), min_size=1, max_size=size))
        try:
            assert self.forwarder.take([], [numbered(n) for n in batch], self.now_s)
        except Killed:
            self.die()
        else:
            self.durable.update(batch)
            self.running.difference_update(batch)

    @rule(seconds=st.floats(0, 6))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds
        try:
            self.forwarder.forward(self.now_s)
        except Killed:
            self.die()

    @rule()
    def the_process_dies_and_recovers(self) -> None:
        self.die()
        try:
            self.forwarder.recover(self.now_s)
        except Killed:
            self.die()

    @invariant()
    def no_request_is_counted_twice(self) -> None:
        requests = [event.request_id for event in in_ledger(self.ledger)]
        assert len(requests) == len(set(requests))

    def teardown(self) -> None:
        self.ledger.script = []
        self.die()
        assert self.forwarder.recover(self.now_s).pending == 0
        found = {number(event): event for event in in_ledger(self.ledger)}
        assert set(found) == self.begun
        assert all(found[n] == numbered(n) for n in self.durable)
        assert all(found[n] in (numbered(n), as_abandoned(opened(numbered(n)))) for n in self.begun - self.durable)
        assert self.ledger.totals(UsageQuery()) == UsageTotals.of(found.values())
        assert list(self.root.iterdir()) == []
        self.forwarder.close()
        self.directory.cleanup()


TestLives = Lives.TestCase


@given(st.integers(1, 40), st.integers(0, 3))
@settings(max_examples=20)
def test_a_long_outage_is_caught_up_in_order(
    tmp_path_factory: pytest.TempPathFactory, count: int, failures: int
) -> None:
    ledger = UnreliableLedger()
    forwarder = Forwarder(ledger, tmp_path_factory.mktemp("journal"), SMALL)
    ledger.script = ["fails"] * (failures + 1)
    for n in range(count):
        assert forwarder.take([], [numbered(n)], 0)
    while (due_s := forwarder.retry_at_s) is not None:
        forwarder.forward(due_s)
    assert in_ledger(ledger) == [numbered(n) for n in range(count)]
    forwarder.close()
