"""Processes that record usage, killed with SIGKILL a thousand times: nothing may be lost, nothing doubled.

``python tests/load/kill_trials.py [--trials 1000] [--ledger sqlite] [--seed 1]``. Of five trials, four die at a step of
their own that writes (a system call, torn writes among them; an SQL statement; before, amid and after an exchange with
PostgreSQL), spread evenly over all of them; the fifth is killed from outside at a random instant. Every life first
recovers what the one before it left. Every twenty trials the ledger is held against all that was promised, the daily
sums against the events, and begun anew. Prints one line per figure; exit code 1 if a promise was broken. Not collected
by pytest, where ``tests/metering/test_usage_crash.py`` makes a few of them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import select
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "metering")]

import recording_child  # noqa: E402
from crash_account import Account  # noqa: E402
from postgres_server import PostgresServer, programs, running_postgres  # noqa: E402

TRIALS_PER_LEDGER = 20
OUTSIDE_EVERY = 5
LIMIT_S = 120.0


class Life:
    """A child process, forked: what it says, and its end."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._output, child_end = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            code = 1
            try:
                os.dup2(child_end, 1)
                work()
                code = 0
            except BaseException:  # noqa: BLE001  (nothing of the parent may run in the child)
                traceback.print_exc()
            finally:
                os._exit(code)
        os.close(child_end)
        self.said = b""

    def listen(self, until: bytes | None = None) -> None:
        """Hear it out, or until it says so. Raises TimeoutError."""
        end_s = time.monotonic() + LIMIT_S
        while until is None or until not in self.said:
            if not select.select([self._output], [], [], max(0.0, end_s - time.monotonic()))[0]:
                os.kill(self._pid, signal.SIGKILL)
                raise TimeoutError(f"it said only: {self.said.decode()}")
            data = os.read(self._output, 65536)
            if not data:
                return
            self.said += data

    def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)

    def end(self) -> int:
        """The signal that ended it, or 0; raises RuntimeError if it failed by itself."""
        self.listen()
        os.close(self._output)
        _, status = os.waitpid(self._pid, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status):
            raise RuntimeError("a child failed")
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


class Trials:
    """Trials on one kind of ledger."""

    def __init__(self, server: PostgresServer | None, chance: random.Random) -> None:
        self._server = server
        self._chance = chance
        self._fatal: list[int] = []
        self.steps = 0
        self.deaths: Counter[str] = Counter()
        self.promises = 0

    def run(self, trials: int) -> None:
        self._measure()
        while (left := trials - self.deaths.total()) > 0:
            with tempfile.TemporaryDirectory() as made:
                self._on_one_ledger(Path(made), min(left, TRIALS_PER_LEDGER))

    def _measure(self) -> None:
        """How many steps a life takes that recovers another one's turns."""
        with tempfile.TemporaryDirectory() as made:
            url = self._database()
            account = Account()
            for fatal, name in ((60, "first"), (1_000_000, "second")):
                life = Life(partial(step, Path(made), fatal, name, url))
                life.end()
                account.hear(life.said)
            self.steps = int(life.said.split()[-1])
            self._check(account, Path(made), url)

    def _on_one_ledger(self, directory: Path, trials: int) -> None:
        url = self._database()
        account = Account()
        enough = self.deaths.total() + trials
        while self.deaths.total() < enough:
            name = f"life{self.deaths.total()}x{len(self._fatal)}"
            if self.deaths.total() % OUTSIDE_EVERY == 0:
                life = Life(partial(record, directory, name, url))
                life.listen(b"ready")
                time.sleep(self._chance.uniform(0, 0.05))
                life.kill()
            else:
                life = Life(partial(step, directory, self._next_step(), name, url))
            if life.end() == signal.SIGKILL:
                self.deaths[where(life.said)] += 1
            account.hear(life.said)
        self._check(account, directory, url)
        self.promises += len(account.done) + len(account.open)

    def _next_step(self) -> int:
        """Every step once, in a random order, before any comes again."""
        if not self._fatal:
            self._fatal = self._chance.sample(range(1, self.steps + 1), self.steps)
        return self._fatal.pop()

    def _check(self, account: Account, directory: Path, url: tuple[str, ...]) -> None:
        Life(partial(settle, account, directory, url)).end()

    def _database(self) -> tuple[str, ...]:
        return () if self._server is None else (self._server.database(),)


def record(directory: Path, name: str, url: tuple[str, ...]) -> None:
    asyncio.run(recording_child.record(directory, name, *url))


def step(directory: Path, fatal: int, name: str, url: tuple[str, ...]) -> None:
    asyncio.run(recording_child.step(directory, fatal, name, *url))


def settle(account: Account, directory: Path, url: tuple[str, ...]) -> None:
    asyncio.run(account.settle(directory, *url))


def where(said: bytes) -> str:
    last = said.decode().splitlines()[-1:]
    return last[0].removeprefix("died ") if last and last[0].startswith("died ") else "at a random instant"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1_000, help="kills per kind of ledger")
    parser.add_argument("--ledger", choices=["sqlite", "postgres"], help="only that one")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    kinds = [arguments.ledger] if arguments.ledger else ["sqlite", *(["postgres"] if programs() else [])]
    with ExitStack() as stack:
        for kind in kinds:
            server = stack.enter_context(running_postgres()) if kind == "postgres" else None
            trials = Trials(server, random.Random(arguments.seed))
            began = time.monotonic()
            trials.run(arguments.trials)
            print(f"{kind}: {trials.deaths.total()} kills, {trials.steps} write steps in a life, ", end="")
            print(f"{trials.promises} turns promised; lost 0, doubled 0; {time.monotonic() - began:.0f} s", flush=True)
            for place, times in sorted(trials.deaths.items()):
                print(f"    {times:5} {place}", flush=True)


if __name__ == "__main__":
    main()
