"""Real processes, really killed: what was acknowledged is in the ledger, once."""

from __future__ import annotations

import os
import random
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from postgres_server import PostgresServer
from recording_child import ledger_of
from usage_events import numbered, opened

from metering.identity import as_abandoned
from metering.ledger import DayQuery, UsageQuery, read_all
from metering.recorder import UsageRecorder
from metering.rollup import Rollup
from metering.usage import UsageEvent

CHILD = Path(__file__).with_name("recording_child.py")
# Bounded for every day; CONVERGIO_KILL_TRIALS=1000 takes an hour.
TRIALS = int(os.environ.get("CONVERGIO_KILL_TRIALS", "16"))


def start(*arguments: object, before: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(CHILD.parents[2])}
    command = [*before, sys.executable, str(CHILD), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)


def read_for(child: subprocess.Popen[bytes], limit_s: float) -> bytes:
    """What the child says within the limit; it may say more later."""
    assert child.stdout is not None
    said = b""
    end_s = time.monotonic() + limit_s
    while (left_s := end_s - time.monotonic()) > 0 and select.select([child.stdout], [], [], left_s)[0]:
        data = os.read(child.stdout.fileno(), 65536)
        said += data
        if not data:
            break
    return said


def wait_until_ready(child: subprocess.Popen[bytes]) -> bytes:
    said = b""
    end_s = time.monotonic() + 30
    while b"ready" not in said and time.monotonic() < end_s and child.poll() is None:
        said += read_for(child, 0.02)
    assert b"ready" in said
    return said


def kill(child: subprocess.Popen[bytes]) -> bytes:
    """SIGKILL, and what it had said until then (whole lines)."""
    child.kill()
    rest, _ = child.communicate(timeout=10)
    return rest


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


def database(kind: str, request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The argument that puts the ledger on a new PostgreSQL database; none for SQLite."""
    if kind == "sqlite":
        return ()
    server: PostgresServer = request.getfixturevalue("postgres")
    return (server.database(),)


@pytest.mark.timeout(120 + 4 * TRIALS)
@pytest.mark.parametrize(("kind", "trials"), [("sqlite", TRIALS), ("postgres", max(6, TRIALS // 4))])
async def test_killed_at_random_instants_nothing_acknowledged_is_lost_or_doubled(
    kind: str, trials: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = database(kind, request)
    chance = random.Random(trials)
    account = Account()
    for trial in range(trials):
        children = [start("record", tmp_path, f"t{trial}c{which}", *url) for which in range(1 + trial % 2)]
        if trial % 4 == 3:  # while it starts and recovers what the last one left
            said = [read_for(child, chance.uniform(0.05, 0.3)) for child in children]
        else:
            said = [wait_until_ready(child) + read_for(child, chance.uniform(0, 0.08)) for child in children]
        for child, words in zip(children, said, strict=True):
            account.hear(words + kill(child))
    found = await account.settle(tmp_path, *url)
    assert len(account.done) > 0
    print(f"{kind}: {trials} trials, {len(account.done)} done, {len(account.open)} open, {len(found)} in the ledger")


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("kind", "stride"), [("sqlite", 3), ("postgres", 8)])
async def test_killed_at_every_write_step_nothing_acknowledged_is_lost_or_doubled(
    kind: str, stride: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = database(kind, request)
    account = Account()
    for fatal in range(1, 400, stride if TRIALS < 100 else 1):  # all of them where many trials are asked for
        # Each life also recovers what the one before it left, and may die there.
        child = start("step", tmp_path, fatal, *url)
        said, _ = child.communicate(timeout=60)
        account.hear(said)
        if b"finished" in said:
            break
    else:
        pytest.fail("it never got to the end")
    await account.settle(tmp_path, *url)
    assert fatal > 20


def test_a_full_disk_makes_events_wait_and_loses_none(tmp_path: Path) -> None:
    child = start("full", tmp_path)
    said, _ = child.communicate(timeout=50)
    check_full(said)


def test_a_full_file_system_makes_events_wait_and_loses_none(tmp_path: Path) -> None:
    unshare = shutil.which("unshare")
    mount = 'mount -t tmpfs -o size=900k none "$0" && head -c 300000 /dev/zero > "$0/ballast" && exec "$@"'
    if (
        unshare is None
        or subprocess.run(
            [unshare, "-m", "sh", "-c", mount, str(tmp_path), "true"], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("mounting a small file system is not allowed here")
    child = start("full", tmp_path, before=(unshare, "-m", "sh", "-c", mount, str(tmp_path)))
    said, _ = child.communicate(timeout=50)
    check_full(said)


def check_full(said: bytes) -> None:
    """The disk did fill up with events waiting; in the end all are in the ledger and no journal is left."""
    first, last = said.decode().splitlines()
    assert first.split()[0] == "full"
    assert int(first.split()[1]) >= 1
    word, drained, recorded, kept = last.split()
    assert (word, drained) == ("drained", "True")
    assert int(recorded) == int(kept) > 10
