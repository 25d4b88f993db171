"""What checking a budget costs, and a race for the last cent with kills, on every store.

``python tests/load/bench_budgets.py [sqlite] [postgres] [redis]``. For each store: how long one check takes (a turn's
reservation at the desk, which is in memory nearly always; and a reservation the store is asked for), and then a race:
server processes, each with many sessions, reserve and settle until nothing is left, while some are killed (SIGKILL) and
started again. Prints a table; fails where an account passed its cap.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from metering.budgets import BUDGETS
from metering.budgets.desk import BudgetDesk, Ticket
from metering.budgets.limits import Limit, Need
from metering.budgets.sql import SqlBudgets
from metering.budgets.store import BudgetStore, BudgetStoreAway, Entry, Line, Settlement
from metering.records import Records

CHECKS = 5_000
ASKED = 300
CAP = 60_000
SERVERS, SESSIONS, KILLS = 4, 250, 6
ACCOUNTS = [f"{scope}|acme|{period}|now|money:EUR" for scope in ("tenant", "global") for period in ("day", "month")]
CHECKED = [f"{name}:checked" for name in ACCOUNTS]


def epoch_ms() -> int:
    return time.time_ns() // 1_000_000


def needs(amount: int, cap: int, accounts: list[str] = ACCOUNTS) -> list[Need]:
    return [Need(name, amount, cap, Limit("tenant", "day", "money", cap)) for name in accounts]


def store_at(url: str) -> tuple[BudgetStore, Records | None]:
    if url.startswith("redis"):
        from metering.budgets.redis import RedisBudgets  # noqa: PLC0415

        return RedisBudgets(url), None
    records = Records(url)
    return SqlBudgets(records, epoch_ms), records


@contextmanager
def place(kind: str) -> Generator[str]:
    with tempfile.TemporaryDirectory() as directory:
        if kind == "redis":
            from redis_server import running_redis  # noqa: PLC0415

            with running_redis() as server:
                yield server.url
            return
        if kind == "postgres":
            from postgres_server import running_postgres  # noqa: PLC0415

            with running_postgres() as server:
                url = "postgresql+psycopg" + server.database().removeprefix("postgresql")
                _migrate(Records(url))
                yield url
            return
        path = Path(directory) / "records.sqlite3"
        _migrate(Records.in_file(path))
        yield f"sqlite:///{path}"


def _migrate(records: Records) -> None:
    records.migrate([BUDGETS])
    records.close()


def quantile(times: list[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(len(times) * share))] * 1_000


async def checks(url: str) -> tuple[list[float], list[float]]:
    """Seconds of each check at the desk, and of each that asked the store."""
    store, records = store_at(url)
    desk = BudgetDesk(store, "bench", time.monotonic)
    tending = asyncio.create_task(desk.run())  # noqa: TID251 - a script
    at_desk: list[float] = []
    for number in range(CHECKS):
        began = time.perf_counter()
        ticket = await desk.reserve(needs(100, 10**12, CHECKED))
        at_desk.append(time.perf_counter() - began)
        assert isinstance(ticket, Ticket)
        desk.settle(ticket, Entry(f"e{number}", dict.fromkeys(CHECKED, 60), epoch_ms()) if number % 5 == 0 else None)
        await asyncio.sleep(0 if number % 10 else 0.001)
    tending.cancel()
    asked: list[float] = []
    for number in range(ASKED):
        began = time.perf_counter()
        await store.reserve(f"h{number}", [Line(name, 0, 1, 1, 10**12) for name in CHECKED], 60_000)
        asked.append(time.perf_counter() - began)
    await store.aclose()
    if records is not None:
        records.close()
    return at_desk, asked


async def server(url: str, name: str, ledger: Path) -> None:
    """One server: sessions that reserve, spend at most that, write it to the ledger, and settle."""
    store, _ = store_at(url)
    desk = BudgetDesk(store, name, time.monotonic)
    chance = random.Random(name)
    with ledger.open("a", buffering=1) as file:

        async def session(number: int) -> None:
            turn = 0
            while True:
                most = chance.randrange(5, 60)
                try:
                    ticket = await desk.reserve(needs(most, CAP))
                except BudgetStoreAway:
                    continue
                if not isinstance(ticket, Ticket):
                    return
                await asyncio.sleep(chance.random() * 0.02)
                entry = Entry(f"{name}-{number}-{turn}", dict.fromkeys(ACCOUNTS, chance.randrange(1, most + 1)), 1)
                file.write(json.dumps([entry.event_id, entry.amounts[ACCOUNTS[0]]]) + "\n")
                desk.settle(ticket, entry)
                turn += 1

        tending = asyncio.create_task(desk.run())  # noqa: TID251
        await asyncio.gather(*(session(number) for number in range(SESSIONS)))
        tending.cancel()
        await asyncio.gather(tending, return_exceptions=True)


def race(url: str) -> tuple[int, int, int]:
    """Used by the ledger, used by the accounts, and kills."""
    with tempfile.TemporaryDirectory() as directory:
        ledgers = Path(directory)

        def start(number: int) -> subprocess.Popen[bytes]:
            name = f"server{number}"
            return subprocess.Popen([sys.executable, __file__, "--server", url, name, str(ledgers / name)])

        running = [start(number) for number in range(SERVERS)]
        born, kills, chance = SERVERS, 0, random.Random(7)
        while any(each.poll() is None for each in running):
            time.sleep(0.7)
            alive = [each for each in running if each.poll() is None]
            if kills < KILLS and len(alive) > 1:
                os.kill(chance.choice(alive).pid, signal.SIGKILL)
                kills += 1
                running.append(start(born))
                born += 1
        lines = [json.loads(line) for path in ledgers.iterdir() for line in path.read_text().splitlines()]
        ledger: dict[str, int] = dict(lines)

    async def caught_up() -> int:
        store, records = store_at(url)
        entries = [Entry(name, dict.fromkeys(ACCOUNTS, amount), 1) for name, amount in ledger.items()]
        for at in range(0, len(entries), 500):
            await store.settle("", Settlement(entries[at : at + 500]))
        used = (await store.balances(ACCOUNTS))[ACCOUNTS[0]].used
        await store.aclose()
        if records is not None:
            records.close()
        return used

    return sum(ledger.values()), asyncio.run(caught_up()), kills


def main() -> int:
    if sys.argv[1:2] == ["--server"]:
        asyncio.run(server(sys.argv[2], sys.argv[3], Path(sys.argv[4])))
        return 0
    passed = True
    print("store     at the desk p50/p99 ms   asking the store p50/p99 ms   race: used of cap, kills")
    for kind in sys.argv[1:] or ("sqlite", "postgres", "redis"):
        with place(kind) as url:
            at_desk, asked = asyncio.run(checks(url))
            ledger, used, kills = race(url)
        passed &= 0 < used == ledger <= CAP
        desk_ms = f"{quantile(at_desk, 0.5):8.4f} {quantile(at_desk, 0.99):8.4f}"
        store_ms = f"{quantile(asked, 0.5):8.2f} {quantile(asked, 0.99):8.2f}"
        print(f"{kind:9} {desk_ms:>22}   {store_ms:>25}   {ledger} = {used} <= {CAP}, {kills} kills", flush=True)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
