"""What recording usage costs and how fast ledgers are: SQLite, and PostgreSQL where it is installed.

``python tests/load/bench_metering.py [--events 1000000]``. Prints one line per figure. Not collected by pytest.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import quantiles

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "metering")]

from postgres_server import programs, running_postgres  # noqa: E402
from usage_events import DAY_MS, FIRST_MS, numbered, opened  # noqa: E402

from metering.latency_report import STAGES, Objective, latency_report  # noqa: E402
from metering.ledger import DayQuery, Ledger, PageRequest, UsageQuery  # noqa: E402
from metering.postgres.ledger import PostgresLedger  # noqa: E402
from metering.pricing.book import PriceBook  # noqa: E402
from metering.pricing.closing import cost_of_days  # noqa: E402
from metering.pricing.sheets import packaged_sheets  # noqa: E402
from metering.recorder import UsageRecorder  # noqa: E402
from metering.sqlite_ledger import SqliteLedger  # noqa: E402
from metering.usage import UsageEvent  # noqa: E402
from metering.usage_report import GROUPINGS, ReportQuery, usage_report  # noqa: E402

BATCH = 256  # as the recorder appends
TENANTS, DAYS, PEOPLE = 20, 90, 200
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
    began = time.perf_counter()
    for batch in batches:
        ledger.append(batch)
    took = time.perf_counter() - began
    say(f"{name}: append, batches of {BATCH}", f"{len(batches) * BATCH / took:8.0f} events/s")


async def recording(name: str, ledger: Ledger, directory: Path, count: int) -> None:
    recorder = UsageRecorder(ledger, directory)
    await recorder.start()
    calls: list[float] = []
    events = [event(n + 20_000_000) for n in range(count)]
    began = time.perf_counter()
    for start in range(0, count, 500):
        waiting: list[asyncio.Future[None]] = []
        for one in events[start : start + 500]:
            recorder.open_turn(opened(one))
            middle = time.perf_counter()
            waiting.append(recorder.record(one))
            calls.append(time.perf_counter() - middle)
        await asyncio.gather(*waiting)
    took = time.perf_counter() - began
    await recorder.aclose(30)
    cuts = quantiles(calls, n=100)
    say(f"{name}: record(), on the turn's path", f"p50 {cuts[49] * 1e6:5.1f} us, p95 {cuts[94] * 1e6:5.1f} us")
    say(f"{name}: turns opened, journalled and in the ledger", f"{count / took:8.0f} turns/s")


def reporting(name: str, ledger: Ledger, count: int) -> None:
    for start in range(0, count, 2_000):
        ledger.append([event(n) for n in range(start, min(count, start + 2_000))])
    book = PriceBook(packaged_sheets())
    month = DayQuery(first_day=FIRST_MS // DAY_MS + 30, day_before=FIRST_MS // DAY_MS + 60)
    for what, ask in (
        ("totals", lambda: ledger.totals(UsageQuery())),
        ("totals of one tenant", lambda: ledger.totals(UsageQuery(tenant_id="tenant_1"))),
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
            lambda: usage_report(ledger, ReportQuery("user", FIRST_MS // DAY_MS, FIRST_MS // DAY_MS + DAYS), book),
        ),
        (
            "a page of 100 events of one person",
            lambda: ledger.read(UsageQuery("tenant_1", "user_7"), PageRequest(limit=100)),
        ),
        ("cost of everything", lambda: cost_of_days(ledger.amounts(DayQuery()), book, ledger.closings())),
    ):
        times: list[float] = []
        for _ in range(5):
            began = time.perf_counter()
            ask()
            times.append(time.perf_counter() - began)
        say(f"{name}: {what}, {count} events", f"median {sorted(times)[2] * 1e3:6.1f} ms")


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
            reporting(name, ledger, arguments.events)
            ledger.close()


if __name__ == "__main__":
    main()
