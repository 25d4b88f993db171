"""One contract for every budget store: in memory, on SQLite, on PostgreSQL and in Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from metering.budgets import BUDGETS
from metering.budgets.memory import MemoryBudgets
from metering.budgets.store import Balance, BudgetStore, BudgetStoreAway, Entry, Given, Line, Settlement, Shortage
from metering.records import Records

LEASE_MS = 60_000
ACCOUNT, OTHER = "tenant|acme|month|2026-11|money:EUR", "tenant|acme|day|2026-11-28|turns"


class Clock:
    def __init__(self) -> None:
        self.now_ms = 1_790_000_000_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite", "postgres", "redis"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[BudgetStore]:
    opened: BudgetStore
    records: Records | None = None
    if request.param == "memory":
        opened = MemoryBudgets(clock)
    elif request.param == "redis":
        from metering.budgets.redis import RedisBudgets  # noqa: PLC0415 - an extra

        server = request.getfixturevalue("redis_server")
        server.clear()
        opened = RedisBudgets(server.url)
    else:
        from metering.budgets.sql import SqlBudgets  # noqa: PLC0415

        if request.param == "sqlite":
            records = Records.in_file(tmp_path / "records.sqlite3")
        else:
            url: str = request.getfixturevalue("postgres").database()
            records = Records("postgresql+psycopg" + url.removeprefix("postgresql"))
        records.migrate([BUDGETS])
        opened = SqlBudgets(records, clock)
    yield opened
    await opened.aclose()
    if records is not None:
        records.close()


def line(amount: int, cap: int, *, have: int = 0, most: int = 0, account: str = ACCOUNT) -> Line:
    return Line(account, have, amount, max(amount, most), cap)


async def given(store: BudgetStore, holder: str, *lines: Line, lease_ms: int = LEASE_MS) -> dict[str, int]:
    answer = await store.reserve(holder, lines, lease_ms)
    assert isinstance(answer, Given), answer
    return dict(answer.amounts)


async def balance(store: BudgetStore, account: str = ACCOUNT) -> Balance:
    return (await store.balances([account]))[account]


async def test_what_is_held_by_one_is_not_free_for_another(store: BudgetStore) -> None:
    assert await given(store, "a", line(60, 100)) == {ACCOUNT: 60}
    refused = await store.reserve("b", [line(41, 100)], LEASE_MS)
    assert refused == Shortage(ACCOUNT, 40, Balance(0, 60))
    assert await given(store, "b", line(40, 100)) == {ACCOUNT: 40}
    assert await balance(store) == Balance(0, 100)


async def test_of_several_accounts_all_are_held_or_none(store: BudgetStore) -> None:
    refused = await store.reserve("a", [line(1, 100), line(2, 1, account=OTHER)], LEASE_MS)
    assert isinstance(refused, Shortage)
    assert refused.account == OTHER
    assert await balance(store) == Balance()


async def test_who_would_take_more_gets_an_eighth_of_what_is_free_and_near_the_cap_what_is_needed(
    store: BudgetStore,
) -> None:
    assert await given(store, "a", line(10, 1_000, most=500)) == {ACCOUNT: 125}
    assert await given(store, "b", line(10, 1_000, most=20)) == {ACCOUNT: 20}
    assert await given(store, "c", line(850, 1_000, most=5_000)) == {ACCOUNT: 850}


async def test_settling_counts_what_was_used_and_lets_the_rest_go(store: BudgetStore) -> None:
    await given(store, "a", line(60, 100))
    entry = Entry("e1", {ACCOUNT: 25}, 1)
    after = await store.settle("a", Settlement([entry], {ACCOUNT: 0}))
    assert after == {ACCOUNT: Balance(25, 0)}
    assert await balance(store) == Balance(25, 0)


async def test_an_event_counts_once_however_often_it_is_settled(store: BudgetStore) -> None:
    entry = Entry("e1", {ACCOUNT: 25, OTHER: 1}, 1)
    for _ in range(3):
        await store.settle("a", Settlement([entry, entry]))
    assert (await balance(store)).used == 25
    assert (await balance(store, OTHER)).used == 1


async def test_doing_a_reservation_twice_holds_once(store: BudgetStore) -> None:
    for _ in range(2):  # the first one's answer was lost
        await given(store, "a", line(60, 100))
    assert await balance(store) == Balance(0, 60)


async def test_a_hold_is_lowered_and_never_raised_by_a_settlement(store: BudgetStore) -> None:
    await given(store, "a", line(60, 100))
    await store.settle("a", Settlement((), {ACCOUNT: 90}))
    assert await balance(store) == Balance(0, 60)
    await store.settle("a", Settlement((), {ACCOUNT: 10}))
    await store.settle("nobody", Settlement((), {ACCOUNT: 10}))
    assert await balance(store) == Balance(0, 10)


async def test_a_correction_replaces_what_it_corrects_whichever_comes_first(store: BudgetStore) -> None:
    first, better = Entry("e1", {ACCOUNT: 25}, 1), Entry("e2", {ACCOUNT: 10}, 2, replaces="e1")
    await store.settle("a", Settlement([first]))
    await store.settle("a", Settlement([better]))
    assert (await balance(store)).used == 10
    late, early = Entry("e3", {OTHER: 5}, 1), Entry("e4", {OTHER: 7}, 2, replaces="e3")
    await store.settle("a", Settlement([early]))
    await store.settle("a", Settlement([late]))
    assert (await balance(store, OTHER)).used == 7
    chain = Entry("e5", {ACCOUNT: 3}, 3, replaces="e2")
    await store.settle("a", Settlement([first, better, chain]))
    assert (await balance(store)).used == 3


async def test_a_lease_that_is_renewed_stands_and_one_that_is_not_gives_all_back(
    store: BudgetStore, clock: Clock
) -> None:
    lease_ms = 400
    await given(store, "killed", line(30, 100), lease_ms=lease_ms)
    await given(store, "alive", line(30, 100), lease_ms=lease_ms)
    assert await store.renew("alive", [Line(ACCOUNT, 30, 0, 0, 100)], 60_000) == {ACCOUNT: 30}
    clock.now_ms += lease_ms + 1
    with anyio.fail_after(10):
        while (await balance(store)).others != 30:  # noqa: ASYNC110 - Redis has a clock of its own
            await anyio.sleep(0.05)
    assert await given(store, "b", line(70, 100)) == {ACCOUNT: 70}


async def test_who_comes_back_after_its_lease_holds_only_what_is_still_free(store: BudgetStore, clock: Clock) -> None:
    await given(store, "asleep", line(60, 100), lease_ms=200)
    clock.now_ms += 201
    with anyio.fail_after(10):
        while (await balance(store)).others:  # noqa: ASYNC110
            await anyio.sleep(0.05)
    await given(store, "b", line(70, 100))
    assert await store.renew("asleep", [Line(ACCOUNT, 60, 0, 0, 100)], LEASE_MS) == {ACCOUNT: 30}
    assert await balance(store) == Balance(0, 100)


async def test_renewing_lets_go_of_what_is_not_named(store: BudgetStore) -> None:
    await given(store, "a", line(60, 100), line(5, 10, account=OTHER))
    await store.renew("a", [Line(ACCOUNT, 60, 0, 0, 100)], LEASE_MS)
    assert (await balance(store, OTHER)).others == 0
    assert (await balance(store)).others == 60


async def test_many_who_race_for_the_last_of_it_never_pass_the_cap(store: BudgetStore) -> None:
    won: list[str] = []

    async def one(name: str) -> None:
        answer = await store.reserve(name, [line(7, 100), line(1, 1_000, account=OTHER)], LEASE_MS)
        if isinstance(answer, Given):
            won.append(name)
            await store.settle(name, Settlement([Entry(name, {ACCOUNT: 7, OTHER: 1}, 1)], {ACCOUNT: 0, OTHER: 0}))

    async with anyio.create_task_group() as tasks:
        for number in range(60):
            tasks.start_soon(one, f"s{number}")
    assert len(won) == 14
    assert await balance(store) == Balance(98, 0)


async def test_marks_are_kept(store: BudgetStore) -> None:
    assert await store.mark("cursor") is None
    for value in (7, 2**52):
        await store.set_mark("cursor", value)
        assert await store.mark("cursor") == value


async def test_large_sums_stay_exact(store: BudgetStore) -> None:
    whole = 9 * 10**15
    assert await given(store, "a", line(whole - 3, whole)) == {ACCOUNT: whole - 3}
    await store.settle("a", Settlement([Entry("e1", {ACCOUNT: 10**12 + 1}, 1)], {ACCOUNT: 0}))
    assert (await balance(store)).used == 10**12 + 1


async def test_what_nothing_was_counted_on_for_long_is_forgotten(store: BudgetStore, clock: Clock) -> None:
    await store.settle("a", Settlement([Entry("e1", {ACCOUNT: 5}, 1)]))
    await store.prune(4_000_000_000_000)
    assert await balance(store) == Balance()


async def test_a_redis_that_is_gone_is_told(redis_server: object) -> None:
    from metering.budgets.redis import RedisBudgets  # noqa: PLC0415

    store = RedisBudgets("redis://127.0.0.1:9/0")
    with pytest.raises(BudgetStoreAway):
        await store.balances([ACCOUNT])
    await store.aclose()
