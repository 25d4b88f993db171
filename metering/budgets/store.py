"""The port of whatever counts budgets for all servers at once, and the values it takes and gives.

A store knows accounts by name, what was used of each, and who holds how much of what is left: one *hold* for each
holder and account, with a lease. A hold that is not renewed is over, so what a killed server had comes back; what it
used is in the ledger and is settled from there.

Invariant: used and held together never pass an account's cap by anything that ``reserve`` gave.

Every call may be repeated, because one that ran into a time limit may have been done: a holder always states what it
has of an account, never a difference, and an entry counts once, by its id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from metering.errors import MeteringError


class BudgetStoreAway(MeteringError):
    """The store cannot be asked now; nothing of the failed call may be counted on."""


@dataclass(frozen=True, slots=True)
class Line:
    """A holder that has ``have`` of an account needs ``amount`` more and would take ``most``, within ``cap``."""

    account: str
    have: int
    amount: int
    most: int
    cap: int


@dataclass(frozen=True, slots=True)
class Balance:
    """What is used of an account, and what is held of it by others than whoever asks."""

    used: int = 0
    others: int = 0


@dataclass(frozen=True, slots=True)
class Given:
    """How much more the holder has of each account, and how those accounts stand."""

    amounts: Mapping[str, int]
    balances: Mapping[str, Balance]


@dataclass(frozen=True, slots=True)
class Shortage:
    """There is too little of ``account``: nothing was given. ``left`` is what could have been."""

    account: str
    left: int
    balance: Balance = Balance()


@dataclass(frozen=True, slots=True)
class Entry:
    """One usage event as the accounts count it. ``replaces`` is the event it corrects, whose amounts no longer
    count, whichever of the two comes first."""

    event_id: str
    amounts: Mapping[str, int]
    at_ms: int
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """Entries, and what the holder still has: of no account more than before."""

    entries: Sequence[Entry] = ()
    holds: Mapping[str, int] = field(default_factory=dict[str, int])


class BudgetStore(Protocol):
    """See the module. All methods raise BudgetStoreAway."""

    async def reserve(self, holder: str, lines: Sequence[Line], lease_ms: int) -> Given | Shortage:
        """Hold more of some accounts: of each at least its ``amount``, or of none."""
        ...

    async def settle(self, holder: str, settlement: Settlement) -> Mapping[str, Balance]:
        """Count what was used, and let go of what is no longer held. Returns the balances of ``holds``' accounts."""
        ...

    async def renew(self, holder: str, lines: Sequence[Line], lease_ms: int) -> Mapping[str, int]:
        """Go on holding ``have`` of each account (and nothing else). Returns what it is now: of a lease that had
        ended only as much as is still free."""
        ...

    async def balances(self, accounts: Sequence[str]) -> Mapping[str, Balance]:
        """How accounts stand."""
        ...

    async def mark(self, name: str) -> int | None:
        """A number that was kept by ``set_mark``."""
        ...

    async def set_mark(self, name: str, value: int) -> None:
        """Keep a number."""
        ...

    async def prune(self, before_ms: int) -> None:
        """Forget entries and accounts that nothing was counted on since then."""
        ...

    async def aclose(self) -> None:
        """Release what it holds of the machine."""
        ...
