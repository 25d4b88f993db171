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
from crash_account import Account
from postgres_server import PostgresServer

CHILD = Path(__file__).with_name("recording_child.py")
TRIALS = 16  # tests/load/kill_trials.py makes a thousand


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


def database(kind: str, request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The argument that puts the ledger on a new PostgreSQL database; none for SQLite."""
    if kind == "sqlite":
        return ()
    server: PostgresServer = request.getfixturevalue("postgres")
    return (server.database(),)


@pytest.mark.timeout(200)
@pytest.mark.parametrize(("kind", "trials"), [("sqlite", TRIALS), ("postgres", 6)])
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
    for fatal in range(1, 600, stride):
        # Each life also recovers what the one before it left, and may die there.
        child = start("step", tmp_path, fatal, f"life{fatal}", *url)
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
    mount = 'mount -t tmpfs -o size=1100k none "$0" && head -c 300000 /dev/zero > "$0/ballast" && exec "$@"'
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
