"""Where one server's turns reserve and settle: from memory, out of slices it holds of what is left in the store.

Owns the slices. A turn takes from them by a plain call; only where they are too small is the store asked, for what the
turn needs and, while much is left, for more (never more than an eighth of it). What a turn used is told to the store
soon afterwards; until then it counts as held, so the store's accounts never pass a cap. What is not needed goes back
after a while. Slices end with their lease: a desk that could not renew them does not use them.

Knows no limits, no sessions and no prices. ``run`` tends it; for one event loop.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import anyio

from metering.budgets.limits import Need
from metering.budgets.store import Balance, BudgetStore, BudgetStoreAway, Entry, Line, Settlement, Shortage

_log = logging.getLogger(__name__)

LEASE_S: Final = 300.0
"""Long enough for a server that was killed to be started again, and for its usage to be settled from the ledger."""
TEND_S: Final = 2.0
"""How often what nobody needs is given back."""
RENEWALS: Final = 10
"""In a lease."""
LEASE_MARGIN_S: Final = 10.0
"""A lease is over for its holder so long before it is over for the store."""
AHEAD: Final = 64
"""For how many turns a slice is taken at once, where much is left."""
IDLE_TENDS: Final = 2
"""A slice of which nothing was taken between so many tends goes back."""
MOST_ENTRIES: Final = 500
"""Told to the store at once."""
MOST_WAITING: Final = 20_000
"""Entries kept while the store is away; the ledger has them all, and what is dropped here is counted from there."""
FRESH_S: Final = 5.0
"""How old what is known of an account without a slice may be."""
MOST_SEEN: Final = 20_000
_NEVER: Final = (-math.inf, Balance())


@dataclass(slots=True)
class _Slice:
    """One account's. ``held`` is what the store knows of or will be told, ``out`` what running turns may take of it,
    ``unsaid`` what was used of it and is not told yet, ``telling`` what is being told."""

    cap: int
    held: int = 0
    out: int = 0
    unsaid: int = 0
    telling: int = 0
    idle: int = 0
    balance: Balance = field(default_factory=Balance)

    @property
    def free(self) -> int:
        return self.held - self.out - self.unsaid


@dataclass(eq=False, slots=True)
class Ticket:
    """What a turn may take at most, of each account, until it is settled or given back."""

    amounts: Mapping[str, int]
    is_open: bool = field(default=True)


class BudgetDesk:
    """See the module."""

    def __init__(self, store: BudgetStore, holder: str, now_s: Callable[[], float], lease_s: float = LEASE_S) -> None:
        """``holder`` is a name no other desk has or had; ``now_s`` a monotonic clock."""
        self._store = store
        self._holder = holder
        self._now_s = now_s
        self._lease_s = lease_s
        self._slices: dict[str, _Slice] = {}
        self._entries: list[Entry] = []
        self._lock: anyio.Lock | None = None
        self._valid_until_s = now_s() + lease_s - LEASE_MARGIN_S
        self._due: anyio.Event | None = None
        self._seen: dict[str, tuple[float, Balance]] = {}

    # --- turns ---

    def take(self, needs: Sequence[Need]) -> Ticket | None:
        """Reserve from memory; ``None`` where that is not enough."""
        needs = [need for need in needs if need.amount]
        if any(need.account not in self._slices for need in needs) or self._now_s() > self._valid_until_s:
            return None if needs else Ticket({})
        for need in needs:
            here = self._slices[need.account]
            here.cap = need.cap
            known = here.balance.used + here.out + here.unsaid + need.amount
            if here.free < need.amount or known > need.cap:  # a cap may have been lowered since
                return None
        for need in needs:
            here = self._slices[need.account]
            here.out += need.amount
            here.idle = 0
        return Ticket({need.account: need.amount for need in needs})

    async def reserve(self, needs: Sequence[Need]) -> Ticket | Shortage:
        """Reserve, asking the store where need be; what needs nothing of an account is not asked about it. Raises
        BudgetStoreAway."""
        needs = [need for need in needs if need.amount]
        ticket = self.take(needs)
        if ticket is not None:
            return ticket
        async with self._locked():
            if (ticket := self.take(needs)) is not None:  # somebody before us has asked for more
                return ticket
            if self._now_s() > self._valid_until_s:
                await self._renew()
            short = [need for need in needs if self._lacks(need)]
            if short:
                refused = await self._ask(short)
                if refused is not None:
                    return refused
            ticket = self.take(needs)
        if ticket is None:  # given, but by now past a cap that was lowered
            worst = needs[0]
            return Shortage(worst.account, 0, self.known(worst.account) or Balance())
        return ticket

    def settle(self, ticket: Ticket | None, entry: Entry | None) -> None:
        """A turn is over and took what the entry says; of two settlements of a ticket the first counts."""
        if ticket is not None and ticket.is_open:
            ticket.is_open = False
            for name, amount in ticket.amounts.items():
                self._slices[name].out -= amount
        if entry is None:
            return
        for name, amount in entry.amounts.items():
            if (here := self._slices.get(name)) is not None:
                here.unsaid += amount
        self._entries.append(entry)
        if len(self._entries) > MOST_WAITING:
            dropped = self._entries.pop(0)
            self._forget(dropped)
            _log.warning("what was used is not told: too much waits", extra={"entry": dropped.event_id})
        if self._due is not None:
            self._due.set()

    def give_back(self, ticket: Ticket) -> None:
        """Nothing was done, or what was done is counted elsewhere."""
        self.settle(ticket, None)

    # --- what is known ---

    def known(self, account: str) -> Balance | None:
        """How an account stood when the store was last asked, with what was used here since; ``None``: unknown."""
        here = self._slices.get(account)
        if here is not None:
            return Balance(here.balance.used + here.unsaid + here.telling, here.balance.others + here.out)
        return self._seen[account][1] if account in self._seen else None

    async def learn(self, accounts: Sequence[str]) -> None:
        """Know how accounts stand, give or take what others did in the last seconds. Raises BudgetStoreAway."""
        since_s = self._now_s() - FRESH_S
        new = [name for name in accounts if name not in self._slices and self._seen.get(name, _NEVER)[0] < since_s]
        if new:
            if len(self._seen) + len(new) > MOST_SEEN:
                self._seen.clear()
            found = await self._store.balances(new)
            self._seen |= {name: (self._now_s(), balance) for name, balance in found.items()}

    async def balances(self, accounts: Sequence[str]) -> dict[str, Balance]:
        """How accounts stand, everywhere: used and reserved. Raises BudgetStoreAway."""
        async with self._locked():
            await self._tell({})
            found = dict(await self._store.balances(accounts))
            for name, here in self._slices.items():
                if name in found:  # the store counts our slice as held; of it only what turns may take is reserved
                    there = found[name]
                    others = max(0, there.others - here.held) + here.out
                    found[name] = Balance(there.used + here.unsaid, others)
        return found

    # --- tending ---

    async def run(self) -> None:
        """Tell the store what was used, soon after it was, and tend the slices; until cancelled, then give all back."""
        self._due = anyio.Event()
        next_tend_s = self._now_s() + TEND_S
        try:
            while True:
                with anyio.move_on_after(max(0.0, next_tend_s - self._now_s())):
                    await self._due.wait()
                self._due = anyio.Event()
                try:
                    if self._now_s() >= next_tend_s:
                        next_tend_s = self._now_s() + TEND_S
                        await self.tend()
                    else:
                        await self.tell()
                except BudgetStoreAway as away:
                    _log.warning("the budget store is away", extra={"reason": str(away)})
                    await anyio.sleep(max(0.0, next_tend_s - self._now_s()))
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(TEND_S):
                await self.leave()

    async def tell(self) -> None:
        """Tell the store what was used. Raises BudgetStoreAway; what was not told then is told the next time."""
        async with self._locked():
            await self._tell({})

    async def tend(self) -> None:
        """Tell what was used, give back what nobody needs, renew the rest. Raises BudgetStoreAway."""
        async with self._locked():
            back: dict[str, int] = {}
            for name, here in self._slices.items():
                here.idle += 1
                if here.idle > IDLE_TENDS and here.free > 0:
                    back[name] = here.free
            idle = [name for name, here in self._slices.items() if here.idle > IDLE_TENDS and name not in back]
            await self._tell(back)
            await self._learn_of(idle)
            if self._now_s() >= self._valid_until_s - self._lease_s * (1 - 1 / RENEWALS) + LEASE_MARGIN_S:
                await self._renew()
            self._slices = {name: here for name, here in self._slices.items() if here.held or here.out or here.unsaid}

    async def leave(self) -> None:
        """Tell what was used and give back all that no running turn may take; best effort."""
        try:
            async with self._locked():
                await self._tell({name: max(0, here.free) for name, here in self._slices.items()})
        except BudgetStoreAway:
            return  # leases end, and the ledger has the rest

    # --- under the lock ---

    def _lacks(self, need: Need) -> bool:
        here = self._slices.get(need.account)
        return here is None or here.free < need.amount

    async def _ask(self, needs: Sequence[Need]) -> Shortage | None:
        """More of what is lacking, in one step; a shortage where there is none. Returns what is in the way."""
        lines: list[Line] = []
        for need in needs:
            here = self._slices.setdefault(need.account, _Slice(need.cap))
            lines.append(Line(need.account, here.held, need.amount - here.free, need.amount * AHEAD, need.cap))
        answer = await self._store.reserve(self._holder, lines, self._lease_ms)
        if isinstance(answer, Shortage):
            self._slices[answer.account].balance = answer.balance
            return answer
        for name, more in answer.amounts.items():
            here = self._slices[name]
            here.held += more
            here.balance = answer.balances[name]
        return None

    async def _tell(self, back: Mapping[str, int]) -> None:
        """Tell entries, and that less is held: what was used, and what is given ``back``."""
        while self._entries or back:
            batch, self._entries = self._entries[:MOST_ENTRIES], self._entries[MOST_ENTRIES:]
            used: dict[str, int] = {}
            for entry in batch:
                for name, amount in entry.amounts.items():
                    used[name] = used.get(name, 0) + amount
            mine = {name: used.get(name, 0) for name in {*used, *back} if name in self._slices}
            before: dict[str, int] = {}
            for name, amount in mine.items():  # lowered before it is told: nothing of it is taken meanwhile
                here = self._slices[name]
                before[name] = max(0, here.held - back.get(name, 0))
                here.held = max(0, before[name] - amount)
                here.unsaid -= amount
                here.telling = amount
            back = {}
            holds = {name: self._slices[name].held for name in mine}
            try:
                balances = await self._store.settle(self._holder, Settlement(batch, holds))
            except BaseException:
                self._entries = batch + self._entries
                for name, amount in mine.items():
                    self._slices[name].unsaid += amount
                    self._slices[name].held = before[name]
                    self._slices[name].telling = 0
                raise
            for name in mine:
                self._slices[name].telling = 0
            for name, balance in balances.items():
                self._slices[name].balance = balance

    async def _learn_of(self, accounts: Sequence[str]) -> None:
        """How accounts stand of which nothing is taken here, and others may take: read, not written."""
        if not accounts:
            return
        for name, there in (await self._store.balances(accounts)).items():
            here = self._slices[name]
            here.balance = Balance(there.used, max(0, there.others - here.held))

    async def _renew(self) -> None:
        lines = [Line(name, here.held, 0, 0, here.cap) for name, here in self._slices.items() if here.held]
        began_s = self._now_s()
        if lines:
            for name, held in (await self._store.renew(self._holder, lines, self._lease_ms)).items():
                self._slices[name].held = held
        self._valid_until_s = began_s + self._lease_s - LEASE_MARGIN_S

    def _forget(self, entry: Entry) -> None:
        for name, amount in entry.amounts.items():
            if (here := self._slices.get(name)) is not None:
                here.unsaid -= amount
                here.held = max(0, here.held - amount)

    @property
    def _lease_ms(self) -> int:
        return round(self._lease_s * 1_000)

    def _locked(self) -> anyio.Lock:
        if self._lock is None:
            self._lock = anyio.Lock()
        return self._lock
