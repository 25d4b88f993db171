"""What recording usage costs and how fast ledgers are: SQLite, and PostgreSQL where it is installed.

``python tests/load/bench_metering.py [--events 1000000]``. Prints one line per figure. Not collected by pytest.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "metering")]

import psycopg  # noqa: E402
from postgres_server import programs, running_postgres  # noqa: E402
from usage_events import DAY_MS, FIRST_MS, numbered, opened  # noqa: E402

from metering.codec import FIELDS  # noqa: E402
from metering.errors import LedgerUnavailable  # noqa: E402
from metering.latency_report import STAGES, Objective, latency_report  # noqa: E402
from metering.ledger import TOTAL_FIELDS, DayQuery, Ledger, PageRequest, UsageQuery  # noqa: E402
from metering.ledger_sql import AMOUNT_COLUMNS, AMOUNT_SUMS, DAILY_COLUMNS  # noqa: E402
from metering.postgres.ledger import PostgresLedger  # noqa: E402
from metering.pricing.book import PriceBook  # noqa: E402
from metering.pricing.rates import cost_of  # noqa: E402
from metering.pricing.sheets import packaged_sheets  # noqa: E402
from metering.recorder import UsageRecorder  # noqa: E402
from metering.sqlite_ledger import SqliteLedger  # noqa: E402
from metering.usage import UsageEvent  # noqa: E402
from metering.usage_report import GROUPINGS, ReportQuery, usage_report  # noqa: E402
from metering.user_sums import (  # noqa: E402
    USER_AMOUNT_COLUMNS,
    USER_AMOUNT_TABLE,
    USER_COLUMNS,
    USER_TABLE,
)

BATCH = 1_024  # as the recorder appends what waits
APPENDED = 50_000
"""So many different events a report is made over; of more there are copies."""
TENANTS, DAYS, PEOPLE, MANY = 20, 90, 200, 4_000
DAY = FIRST_MS // DAY_MS
OBJECTIVES = {stage: Objective(500, 1_000) for stage in STAGES}


def event(number: int) -> UsageEvent:
    """Of one of twenty tenants, on one of ninety days, in the order of time."""
    at = FIRST_MS + (number * DAYS * DAY_MS // 1_000_000)
    who = f"user_{number // TENANTS % PEOPLE}"
    return replace(numbered(number, tenant=f"tenant_{number % TENANTS}"), user_id=who, started_at=at, ended_at=at + 800)


def say(name: str, figure: str) -> None:
    print(f"{name:48} {figure}", flush=True)


def appending(name: str, ledger: Ledger, count: int) -> None:
    batches = [[event(n) for n in range(start, start + BATCH)] for start in range(0, count, BATCH)]
    ledger.append([event(10_000_000)])
    began, cpu = time.perf_counter(), time.process_time()
    rounds: list[float] = []
    for batch in batches:
        before = time.perf_counter()
        ledger.append(batch)
        rounds.append(time.perf_counter() - before)
    took, used = time.perf_counter() - began, time.process_time() - cpu
    rate, each_us = len(batches) * BATCH / took, used / (len(batches) * BATCH) * 1e6
    best = BATCH * 8 / min(sum(rounds[at : at + 8]) for at in range(0, len(rounds) - 7, 8))
    figure = f"{rate:8.0f} events/s, {best:.0f} in the best 2,048 of them, {each_us:.0f} us of this process's CPU each"
    say(f"{name}: append, batches of {BATCH}", figure)


async def recording(name: str, ledger: Ledger, directory: Path, count: int) -> None:
    recorder = UsageRecorder(ledger, directory)
    await recorder.start()
    opens: list[float] = []
    calls: list[float] = []
    events = [event(n + 20_000_000) for n in range(count)]
    began = time.perf_counter()
    for start in range(0, count, 500):
        waiting: list[asyncio.Future[None]] = []
        for one in events[start : start + 500]:
            begun = opened(one)
            before = time.perf_counter()
            recorder.open_turn(begun)
            middle = time.perf_counter()
            opens.append(middle - before)
            waiting.append(recorder.record(one))
            calls.append(time.perf_counter() - middle)
        await asyncio.gather(*waiting)
    took = time.perf_counter() - began
    await recorder.aclose(30)
    for what, times in (("open_turn()", opens), ("record()", calls)):
        cuts = [cut * 1e6 for cut in quantiles(times, n=100)]
        figure = f"p50 {cuts[49]:5.1f} us, p95 {cuts[94]:5.1f} us, p99 {cuts[98]:5.1f} us"
        say(f"{name}: {what}, on the turn's path", figure)
    say(f"{name}: turns opened, journalled and in the ledger", f"{count / took:8.0f} turns/s")


async def catching_up(name: str, ledger: Ledger, directory: Path, count: int) -> None:
    """A database that was away takes what the journal has."""
    away = Away(ledger)
    recorder = UsageRecorder(away, directory)
    await recorder.start()
    for start in range(0, count, 500):
        await asyncio.gather(*(recorder.record(event(n + 30_000_000)) for n in range(start, start + 500)))
    away.back = True
    began = time.perf_counter()
    while recorder.status().ledger_failed:  # noqa: ASYNC110  (a thread catches up; nobody tells)
        await asyncio.sleep(0.01)
    took = time.perf_counter() - began
    await recorder.aclose(30)
    say(f"{name}: caught up with after an outage, from the journal", f"{count / took:8.0f} events/s")


class Away:
    """A ledger that takes nothing until it is ``back``."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.back = False

    def append(self, events: Sequence[UsageEvent]) -> int:
        if not self.back:
            raise LedgerUnavailable("away")
        return self._ledger.append(events)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)


def copy(ledger: Ledger, times: int) -> None:
    """Every event so many times more, and the sums with them: made by the database, which is quicker about it."""
    others = [name for name in FIELDS if name not in ("event_id", "request_id")]
    sql = (
        f"WITH RECURSIVE copies(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM copies WHERE n < {times}) "
        f"INSERT INTO usage_events (event_id, request_id, {', '.join(others)}) "
        f"SELECT event_id || '-' || n, request_id || '-' || n, {', '.join(others)} "
        "FROM usage_events, copies ORDER BY started_at"
    )
    sums = [
        f"UPDATE {table} SET {', '.join(f'{name} = {name} * {times + 1}' for name in names)}"
        for table, names in (("usage_daily", TOTAL_FIELDS), ("usage_amounts", AMOUNT_SUMS))
    ]
    if times:
        execute(ledger, [sql, *sums])


def reporting(name: str, ledger: Ledger, count: int) -> None:
    copies = max(1, count // APPENDED)
    spread = [event(n * copies + n % copies) for n in range(count // copies)]  # of all tenants, over all days
    for start in range(0, len(spread), 2_000):
        ledger.append(spread[start : start + 2_000])
    copy(ledger, copies - 1)
    some = [event(n * 200) for n in range(150)]  # a person of their own: copies have ids that no ledger would read
    reader = [replace(numbered(50_000_000 + n, tenant="tenant_1"), user_id="reader") for n in range(len(some))]
    ledger.append([replace(r, started_at=o.started_at, ended_at=o.ended_at) for r, o in zip(reader, some, strict=True)])
    first = FIRST_MS // DAY_MS * DAY_MS + 30 * DAY_MS
    amid = UsageQuery(started_from=first + 3_600_000, started_before=first + 60 * DAY_MS + 7_200_000)
    today = UsageQuery(started_from=first, started_before=first + DAY_MS)
    book = PriceBook(packaged_sheets())
    month = DayQuery(first_day=FIRST_MS // DAY_MS + 30, day_before=FIRST_MS // DAY_MS + 60)
    for what, ask in (
        ("totals", lambda: ledger.totals(UsageQuery())),
        ("totals of one tenant", lambda: ledger.totals(UsageQuery(tenant_id="tenant_1"))),
        ("totals of two months that begin amid a day", lambda: ledger.totals(amid)),
        ("totals of one user's day", lambda: ledger.totals(replace(today, user_id="user_1"))),
        ("a month by day, tenant, agent, lane", lambda: ledger.daily(month)),
        ("latency of the newest turns", lambda: latency_report(ledger, UsageQuery(started_from=0), OBJECTIVES)),
        (
            "latency of one tenant's newest turns",
            lambda: latency_report(ledger, UsageQuery(tenant_id="tenant_1"), OBJECTIVES),
        ),
        *(
            (f"report by {by} of one tenant's month, with cost", partial(usage_report, ledger, asked, book))
            for by, asked in {
                by: ReportQuery(by, month.first_day or 0, month.day_before or 0, "tenant_1") for by in GROUPINGS
            }.items()
        ),
        (
            "report by person over everything, with cost",
            lambda: usage_report(ledger, ReportQuery("user", DAY, DAY + DAYS, most=100), book),
        ),
        (
            "a page of 100 events of one person",
            lambda: ledger.read(UsageQuery("tenant_1", "reader"), PageRequest(limit=100)),
        ),
        ("cost of everything", lambda: cost_of(ledger, DayQuery(), book).micros()),
    ):
        timed(f"{name}: {what}, {count} events", ask)


def of_many_people(name: str, ledger: Ledger) -> None:
    """One tenant whose people all talk on each day."""
    tenant = "tenant_with_many"
    began = {"started_at": FIRST_MS, "ended_at": FIRST_MS + 800}
    spread = [replace(numbered(n, tenant=tenant), user_id=f"user_{n:05}", **began) for n in range(MANY)]
    for start in range(0, MANY, BATCH):
        ledger.append(spread[start : start + BATCH])
    random = "lower(hex(randomblob(16)))" if isinstance(ledger, SqliteLedger) else "gen_random_uuid()::text"
    every_day = [
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {random}, day + n, {', '.join(columns[2:])} "
        f"FROM {table}, (WITH RECURSIVE days(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM days WHERE n < {DAYS - 1}) "
        f"SELECT n FROM days) AS later WHERE tenant_id = '{tenant}' AND day = {DAY}"
        for table, columns in (
            ("usage_daily", DAILY_COLUMNS),
            ("usage_amounts", AMOUNT_COLUMNS),
            (USER_TABLE, USER_COLUMNS),
            (USER_AMOUNT_TABLE, USER_AMOUNT_COLUMNS),
        )
    ]
    execute(ledger, every_day)
    book = PriceBook(packaged_sheets())
    month, whole = ReportQuery("user", DAY + 30, DAY + 60, tenant), ReportQuery("user", DAY, DAY + DAYS, tenant)
    for what, asked in (
        ("month", replace(month, most=100)),
        ("90 days", replace(whole, most=100)),
        ("month, everybody's row (the file)", month),
        ("month of one of them", replace(month, user_id=spread[7].user_id)),
    ):
        timed(f"{name}: by person, {MANY} people in one tenant: {what}", partial(usage_report, ledger, asked, book))


def timed(what: str, ask: Callable[[], object]) -> None:
    times: list[float] = []
    cpu = time.process_time()
    for _ in range(5):
        began = time.perf_counter()
        ask()
        times.append(time.perf_counter() - began)
    cpu_ms = (time.process_time() - cpu) / 5 * 1e3
    say(what, f"median {sorted(times)[2] * 1e3:6.1f} ms, best {min(times) * 1e3:.1f}; {cpu_ms:.1f} ms of our CPU")


def execute(ledger: Ledger, statements: Sequence[str]) -> None:
    if isinstance(ledger, SqliteLedger):
        with closing(sqlite3.connect(ledger._path, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)
    elif isinstance(ledger, PostgresLedger):
        with psycopg.connect(ledger._url, autocommit=True) as connection:
            for statement in (*statements, "ANALYZE"):
                connection.execute(statement)  # pyright: ignore[reportArgumentType, reportCallIssue]


@contextmanager
def ledgers(directory: Path) -> Iterator[list[tuple[str, Ledger]]]:
    sqlite = SqliteLedger(directory / "usage.sqlite3")
    if programs() is None:
        yield [("SQLite", sqlite)]
        return
    with running_postgres() as server:
        yield [("SQLite", sqlite), ("PostgreSQL", PostgresLedger(server.database()))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="how many a report is made over")
    parser.add_argument("--appended", type=int, default=20_480)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as made, ledgers(Path(made)) as found:
        for name, ledger in found:
            appending(name, ledger, arguments.appended)
            asyncio.run(recording(name, ledger, Path(made) / name, 5_000))
            asyncio.run(catching_up(name, ledger, Path(made) / name, 10_000))
            reporting(name, ledger, arguments.events)
            of_many_people(name, ledger)
            ledger.close()


if __name__ == "__main__":
    main()
