"""A process that records usage until somebody kills it. Run by the crash tests, never collected.

``recording_child.py record <directory> <prefix>``: turns in eight tasks without end. One line per fact on stdout,
written when it is durable: ``ready``, ``done <prefix> <n>`` (recorded), ``open <prefix> <n>`` (marked, never ended).
``recording_child.py full <directory>``: fills its disk (or file size limit), frees it, and checks that all got through.
``recording_child.py step <directory> <n> <prefix>``: dies by its own hand at the n-th system call or SQL statement
that matters; prints ``done``/``open`` lines likewise, ``died <where>`` with its last breath, and ``finished <steps>``
when it got to the end.

A PostgreSQL URL as the last argument of ``record`` and ``step`` has the ledger there.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import resource
import signal
import sqlite3
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from usage_events import numbered, opened

from metering.forwarder import RecorderOptions
from metering.ledger import Ledger, UsageQuery
from metering.recorder import UsageRecorder
from metering.sqlite_ledger import SqliteLedger

_write = os.write


def say(*words: object) -> None:
    _write(1, (" ".join(map(str, words)) + "\n").encode())


def ledger_of(directory: Path, url: str | None) -> Ledger:
    if url is None:
        return SqliteLedger(directory / "usage.db")
    from metering.postgres.ledger import PostgresLedger  # noqa: PLC0415 - slow to import, and seldom needed

    return PostgresLedger(url)


async def record(directory: Path, prefix: str, url: str | None = None) -> None:
    recorder = UsageRecorder(ledger_of(directory, url), directory / "journal", RecorderOptions(segment_bytes=8000))
    await recorder.start()
    say("ready")
    numbers = itertools.count()

    async def turns() -> None:
        for number in numbers:
            event = numbered(number, prefix=prefix)
            recorder.open_turn(opened(event))
            if number % 10 == 0:
                await recorder.record(numbered(next(numbers), prefix=prefix))  # in order: the mark is durable too
                say("open", prefix, number)
            else:
                await recorder.record(event)
                say("done", prefix, number)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(turns())


async def full(directory: Path) -> None:
    ballast = directory / "ballast"
    limited = resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY and not ballast.exists()
    ledger = SqliteLedger(directory / "usage.db")
    recorder = UsageRecorder(ledger, directory / "journal")
    await recorder.start()
    if limited:  # no file may grow beyond this, as if the disk ended there
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, resource.RLIM_INFINITY))
    waiting: list[asyncio.Future[None]] = []
    for number in itertools.count():
        recorder.open_turn(opened(numbered(number)))
        waiting.append(recorder.record(numbered(number)))
        await asyncio.wait(waiting[-1:], timeout=0.05)
        if recorder.status().journal_failed and recorder.status().ledger_failed and not waiting[-1].done():
            break
    say("full", sum(not future.done() for future in waiting))
    if limited:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    else:
        ballast.unlink()
    async with asyncio.timeout(20):
        await asyncio.gather(*waiting)
    drained = await recorder.aclose()
    say("drained", drained, len(waiting), ledger.totals(UsageQuery()).events, *(directory / "journal").iterdir())


class Steps:
    """Counts the steps that change what is on the disk, and dies at one of them."""

    def __init__(self, fatal: int) -> None:
        self._fatal = fatal
        self.taken = 0

    def step(self) -> bool:
        self.taken += 1
        return self.taken == self._fatal

    def die(self, where: str) -> None:
        say("died", where)
        os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, name: str) -> None:
        real: Callable[..., Any] = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if self.step():
                if name == "write":
                    real(args[0], bytes(args[1])[: len(args[1]) // 2])
                self.die(name)
            return real(*args, **kwargs)

        setattr(os, name, call)

    def statement(self, text: str) -> None:
        if self.step():
            self.die(" ".join(text.split()[:3]))


class WatchedLedger(SqliteLedger):
    """The SQLite ledger, with every statement of its connections counted."""

    def __init__(self, path: Path, steps: Steps) -> None:
        super().__init__(path)
        self._steps = steps

    def _open(self, *, read_only: bool) -> sqlite3.Connection:
        self._steps.statement("open")
        connection = super()._open(read_only=read_only)
        connection.set_trace_callback(self._steps.statement)
        return connection


def watched_postgres(url: str, steps: Steps) -> Ledger:
    """The PostgreSQL ledger, with everything counted that is to be sent to the server, was sent, and was answered."""
    from psycopg.waiting import Wait  # noqa: PLC0415 - slow to import, and seldom needed

    from metering.postgres.ledger import PostgresLedger  # noqa: PLC0415
    from metering.postgres.migrate import Connection  # noqa: PLC0415

    def watched(exchange: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        sent = False
        try:
            state = next(exchange)
            while True:
                if state == Wait.R and not sent:
                    sent = True
                    steps.statement("sent to PostgreSQL")
                state = exchange.send((yield state))
        except StopIteration as end:
            return end.value

    class WatchedPostgres(PostgresLedger):
        def _open(self, *, read_only: bool) -> Connection:
            steps.statement("open")
            connection = super()._open(read_only=read_only)
            real: Callable[..., Any] = connection.wait

            def wait(exchange: Generator[Any, Any, Any], *args: Any, **kwargs: Any) -> Any:
                steps.statement("before PostgreSQL")
                result = real(watched(exchange), *args, **kwargs)
                steps.statement("after PostgreSQL")
                return result

            connection.wait = wait  # pyright: ignore[reportAttributeAccessIssue]
            return connection

    return WatchedPostgres(url)


async def step(directory: Path, fatal: int, prefix: str, url: str | None = None) -> None:
    steps = Steps(fatal)
    for name in ("write", "fdatasync", "fsync", "mkdir", "unlink", "rmdir", "rename"):
        steps.watch(name)
    ledger = WatchedLedger(directory / "usage.db", steps) if url is None else watched_postgres(url, steps)
    recorder = UsageRecorder(ledger, directory / "journal", RecorderOptions(segment_bytes=900))
    await recorder.start()
    for number in range(4):
        recorder.open_turn(opened(numbered(number, prefix=prefix)))
        if number != 1:
            await recorder.record(numbered(number, prefix=prefix))
            say("done", prefix, number)
            if number == 2:
                say("open", prefix, 1)
    await recorder.aclose()
    ledger.close()
    say("finished", steps.taken)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["record", where, what, *url]:
            asyncio.run(record(Path(where), what, *url))
        case ["full", where]:
            asyncio.run(full(Path(where)))
        case ["step", where, which, what, *url]:
            asyncio.run(step(Path(where), int(which), what, *url))
        case _:
            sys.exit(__doc__)
