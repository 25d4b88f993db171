"""Desks that grant from memory: whatever servers do, die of and come back to, nothing passes the cap."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.budgets.desk import LEASE_S, BudgetDesk, Ticket
from metering.budgets.limits import Limit, Need
from metering.budgets.memory import MemoryBudgets
from metering.budgets.store import Balance, BudgetStoreAway, Entry, Given, Line, Settlement, Shortage

ACCOUNT = "tenant|acme|day|2026-11-28|turns"
LIMIT = Limit("tenant", "day", "turns", 100)


def need(amount: int, cap: int = 1_000) -> Need:
    return Need(ACCOUNT, amount, cap, LIMIT)


class World:
    """A store, its clock, and whether it can be reached."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.away = False
        self.asked = 0
        self.store = MemoryBudgets(lambda: round(self.now_s * 1_000))

    def desk(self, name: str) -> BudgetDesk:
        return BudgetDesk(self, name, lambda: self.now_s)

    async def reserve(self, holder: str, lines: Sequence[Line], lease_ms: int) -> Given | Shortage:
        self._reached()
        return await self.store.reserve(holder, lines, lease_ms)

    async def settle(self, holder: str, settlement: Settlement) -> Mapping[str, Balance]:
        self._reached()
        return await self.store.settle(holder, settlement)

    async def renew(self, holder: str, lines: Sequence[Line], lease_ms: int) -> Mapping[str, int]:
        self._reached()
        return await self.store.renew(holder, lines, lease_ms)

    async def balances(self, accounts: Sequence[str]) -> Mapping[str, Balance]:
        return await self.store.balances(accounts)

    async def mark(self, name: str) -> int | None:
        return await self.store.mark(name)

    async def set_mark(self, name: str, value: int) -> None:
        await self.store.set_mark(name, value)

    async def prune(self, before_ms: int) -> None:
        await self.store.prune(before_ms)

    async def aclose(self) -> None:
        """Nothing to release."""

    def _reached(self) -> None:
        self.asked += 1
        if self.away:
            raise BudgetStoreAway("away")

    async def balance(self) -> Balance:
        return (await self.store.balances([ACCOUNT]))[ACCOUNT]


async def taken(desk: BudgetDesk, amount: int, cap: int = 1_000) -> Ticket:
    ticket = await desk.reserve([need(amount, cap)])
    assert isinstance(ticket, Ticket), ticket
    return ticket


async def test_most_turns_cost_the_store_nothing() -> None:
    world = World()
    desk = world.desk("a")
    for number in range(8):
        desk.settle(await taken(desk, 2), Entry(f"e{number}", {ACCOUNT: 1}, 1))
    assert world.asked == 1
    await desk.tell()
    assert (await world.balance()).used == 8


async def test_what_nobody_needs_goes_back_and_what_runs_stays_held() -> None:
    world = World()
    desk = world.desk("a")
    ticket = await taken(desk, 2)
    assert (await world.balance()).others > 2
    for _ in range(5):
        await desk.tend()
    assert await world.balance() == Balance(0, 2)
    desk.settle(ticket, Entry("e", {ACCOUNT: 2}, 1))
    for _ in range(5):
        await desk.tend()
    assert await world.balance() == Balance(2, 0)


async def test_a_session_that_says_nothing_writes_nothing_and_still_sees_what_others_use() -> None:
    world = World()
    quiet, busy = world.desk("quiet"), world.desk("busy")
    await taken(quiet, 100)
    for _ in range(4):
        await quiet.tend()  # until all that it holds is what its turn may take
    asked = world.asked
    busy.settle(await taken(busy, 200), Entry("e", {ACCOUNT: 200}, 1))
    await busy.tell()
    asked = world.asked
    await quiet.tend()
    assert world.asked == asked
    assert quiet.known(ACCOUNT) == Balance(200, (await world.balance()).others)


async def test_a_turn_that_took_more_than_it_reserved_is_counted_whole() -> None:
    world = World()
    desk = world.desk("a")
    desk.settle(await taken(desk, 2), Entry("e", {ACCOUNT: 700}, 1))
    refused = await desk.reserve([need(301)])
    assert isinstance(refused, Shortage)
    await desk.tell()
    assert (await world.balance()).used == 700
    assert isinstance(await desk.reserve([need(300)]), Ticket)


async def test_a_ticket_counts_once_however_often_it_is_settled() -> None:
    world = World()
    desk = world.desk("a")
    ticket = await taken(desk, 900)
    desk.give_back(ticket)
    desk.give_back(ticket)
    await taken(desk, 900)
    assert isinstance(await desk.reserve([need(101)]), Shortage)


async def test_a_cap_that_is_lowered_holds_for_the_next_turn() -> None:
    world = World()
    desk = world.desk("a")
    for number in range(3):
        desk.settle(await taken(desk, 10), Entry(f"e{number}", {ACCOUNT: 10}, 1))
    assert isinstance(await desk.reserve([need(10, cap=35)]), Shortage)
    assert isinstance(await desk.reserve([need(5, cap=35)]), Ticket)


async def test_slices_are_not_used_beyond_their_lease_and_the_store_is_asked_again() -> None:
    world = World()
    desk = world.desk("a")
    desk.give_back(await taken(desk, 10))
    world.away = True
    assert isinstance(await desk.reserve([need(10)]), Ticket)
    world.now_s += LEASE_S
    with pytest.raises(BudgetStoreAway):
        await desk.reserve([need(10)])
    world.away = False
    await taken(desk, 10)


async def test_what_was_used_while_the_store_was_away_is_told_when_it_is_back() -> None:
    world = World()
    desk = world.desk("a")
    tickets = [await taken(desk, 10) for _ in range(3)]
    world.away = True
    for number, ticket in enumerate(tickets):
        desk.settle(ticket, Entry(f"e{number}", {ACCOUNT: 9}, 1))
    with pytest.raises(BudgetStoreAway):
        await desk.tell()
    world.away = False
    await desk.tell()
    await desk.leave()
    assert await world.balance() == Balance(27, 0)


async def test_balances_tell_slices_from_what_turns_may_take() -> None:
    world = World()
    desk = world.desk("a")
    ticket = await taken(desk, 10)
    await taken(desk, 5)
    desk.settle(ticket, Entry("e", {ACCOUNT: 4}, 1))
    assert (await desk.balances([ACCOUNT]))[ACCOUNT] == Balance(4, 5)


async def test_a_desk_that_ends_tells_all_and_holds_nothing() -> None:
    world = World()
    desk = world.desk("a")
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(desk.run())
        await asyncio.sleep(0)
        desk.settle(await taken(desk, 10), Entry("e", {ACCOUNT: 9}, 1))
        running.cancel()
    assert await world.balance() == Balance(9, 0)


Step = st.tuples(
    st.sampled_from(["take", "take", "take", "settle", "settle", "tell", "tend", "kill", "away", "sleep", "ledger"]),
    st.integers(0, 2),
    st.integers(1, 40),
)


@settings(max_examples=300)
@given(steps=st.lists(Step, max_size=80), cap=st.integers(0, 300))
def test_whatever_servers_do_and_die_of_used_and_held_never_pass_the_cap(  # noqa: C901
    steps: list[tuple[str, int, int]], cap: int
) -> None:
    async def main() -> None:  # noqa: C901
        world = World()
        desks = {number: world.desk(f"d{number}") for number in range(3)}
        running: dict[int, list[tuple[Ticket, int]]] = {number: [] for number in range(3)}
        ledger: list[Entry] = []
        born = 3
        for name, which, amount in steps:
            desk = desks[which]
            try:
                match name:
                    case "take":
                        ticket = await desk.reserve([need(amount, cap)])
                        if isinstance(ticket, Ticket):
                            running[which].append((ticket, amount))
                    case "settle" if running[which]:
                        ticket, most = running[which].pop(0)
                        ledger.append(Entry(f"e{len(ledger)}", {ACCOUNT: min(most, amount)}, 1))
                        desk.settle(ticket, ledger[-1])
                    case "tell":
                        await desk.tell()
                    case "tend":
                        await desk.tend()
                    case "kill":  # what it had running is in nobody's ledger; what it had settled is in the ledger's
                        desks[which], running[which] = world.desk(f"d{born}"), []
                        born += 1
                    case "away":
                        world.away = not world.away
                    case "sleep":  # what the ledger has is settled, and who lives renews, well within a lease
                        world.now_s += 5 * amount
                        await world.store.settle("ledger", Settlement(ledger))
                        for each in desks.values():
                            await each.tend()
                    case "ledger":
                        await world.settle("ledger", Settlement(ledger))
                    case _:
                        pass
            except BudgetStoreAway:
                pass
            balance = await world.balance()
            assert balance.used <= cap
            assert sum(entry.amounts[ACCOUNT] for entry in ledger) <= cap
        await world.store.settle("ledger", Settlement(ledger))
        assert (await world.balance()).used == sum(entry.amounts[ACCOUNT] for entry in ledger)

    asyncio.run(main())
