"""A budget store in memory: what the port means, without a database. For one process, and for tests of the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from metering.budgets.limits import share
from metering.budgets.store import Balance, Entry, Given, Line, Settlement, Shortage


class MemoryBudgets:
    """See the port. ``now_ms`` is the clock of leases."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._used: dict[str, int] = {}
        self._touched: dict[str, int] = {}
        self._holds: dict[tuple[str, str], tuple[int, int]] = {}
        self._entries: dict[str, tuple[int, dict[str, int]]] = {}
        self._marks: dict[str, int] = {}

    async def reserve(self, holder: str, lines: Sequence[Line], lease_ms: int) -> Given | Shortage:
        given: dict[str, int] = {}
        balances: dict[str, Balance] = {}
        for line in lines:
            balance = balances[line.account] = self._balance(line.account, holder)
            free = line.cap - balance.used - balance.others - line.have
            amount = share(line.amount, line.most, free)
            if amount is None:
                return Shortage(line.account, max(0, free), balance)
            given[line.account] = amount
        until_ms = self._now_ms() + lease_ms
        for line in lines:
            self._holds[holder, line.account] = (line.have + given[line.account], until_ms)
        return Given(given, balances)

    async def settle(self, holder: str, settlement: Settlement) -> Mapping[str, Balance]:
        for entry in settlement.entries:
            self._enter(entry)
        for name, amount in settlement.holds.items():
            held, until_ms = self._holds.get((holder, name), (0, 0))
            if amount:
                self._holds[holder, name] = (min(held, amount), until_ms)
            else:
                self._holds.pop((holder, name), None)
        return {name: self._balance(name, holder) for name in settlement.holds}

    async def renew(self, holder: str, lines: Sequence[Line], lease_ms: int) -> Mapping[str, int]:
        now_ms, held = self._now_ms(), dict[str, int]()
        for line in lines:
            until_ms = self._holds.get((holder, line.account), (0, 0))[1]
            balance = self._balance(line.account, holder)
            free = max(0, line.cap - balance.used - balance.others)
            held[line.account] = line.have if until_ms > now_ms else min(line.have, free)
        self._holds = {key: hold for key, hold in self._holds.items() if key[0] != holder}
        self._holds |= {(holder, name): (amount, now_ms + lease_ms) for name, amount in held.items() if amount}
        return held

    async def balances(self, accounts: Sequence[str]) -> Mapping[str, Balance]:
        return {name: self._balance(name, "") for name in accounts}

    async def mark(self, name: str) -> int | None:
        return self._marks.get(name)

    async def set_mark(self, name: str, value: int) -> None:
        self._marks[name] = value

    async def prune(self, before_ms: int) -> None:
        self._entries = {name: entry for name, entry in self._entries.items() if entry[0] >= before_ms}
        self._used = {name: used for name, used in self._used.items() if self._touched[name] >= before_ms}

    async def aclose(self) -> None:
        """Nothing to release."""

    def _balance(self, name: str, holder: str) -> Balance:
        now_ms = self._now_ms()
        others = sum(
            amount
            for (whose, which), (amount, until_ms) in self._holds.items()
            if which == name and whose != holder and until_ms > now_ms
        )
        return Balance(self._used.get(name, 0), others)

    def _enter(self, entry: Entry) -> None:
        if entry.event_id in self._entries:
            return
        self._entries[entry.event_id] = (entry.at_ms, dict(entry.amounts))
        self._count(entry.amounts, entry.at_ms, 1)
        if entry.replaces is not None:
            _, before = self._entries.get(entry.replaces, (0, {}))
            self._count(before, entry.at_ms, -1)
            self._entries[entry.replaces] = (entry.at_ms, {})

    def _count(self, amounts: Mapping[str, int], at_ms: int, sign: int) -> None:
        for name, amount in amounts.items():
            self._used[name] = self._used.get(name, 0) + sign * amount
            self._touched[name] = max(at_ms, self._touched.get(name, 0))
