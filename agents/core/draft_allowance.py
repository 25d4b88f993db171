"""How much of a tenant's model tokens may be wasted on drafts, shared by all of its sessions in this process.

Owns the count of what each tenant's turns used and wasted within a sliding window; knows no session and no model. One
``DraftAllowances`` per server, owned by the host, which lends sessions their tenant's ``DraftAllowance``; sessions ask
it before every decision of the turn machine and tell it what every turn and draft took. For the event loop's thread.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

WASTE_SHARE: Final = 0.15
"""Of a hundred tokens of answers so many more may be wasted."""
START_TOKENS: Final = 4_000
"""What a tenant may waste before it has used anything: a few drafts."""
WINDOW_S: Final = 600.0
SLOTS: Final = 20
"""The window slides by a slot at a time."""
MOST_TENANTS: Final = 1_024
"""Of more, whoever was idle longest is forgotten, and begins anew."""


class DraftAllowance(Protocol):
    """One tenant's."""

    def may_draft(self) -> bool:
        """Whether a reply may be drafted now, before its turn is certain."""
        ...

    def spent(self, wasted: int, used: int) -> None:
        """Tokens of a draft or a turn that is over: those in vain, and those of answers."""
        ...


@dataclass(slots=True)
class _Slot:
    """What was told within one slot of the window. ``credit`` may be wasted besides a share of what was used."""

    number: int
    wasted: int = 0
    used: int = 0
    credit: int = 0


class DraftAllowances:
    """See the module. Within any window a tenant wastes at most its share of what it used and the credit it began with,
    and what the drafts take that are under way when that is spent.

    A tenant that is beyond it drafts again once it has used enough, or its waste has left the window; one that did
    nothing for a whole window begins anew.
    """

    def __init__(self, share: float, monotonic_s: Callable[[], float], most_tenants: int = MOST_TENANTS) -> None:
        """``share`` is from 0, which forbids drafts, to 1. Raises ValueError for any other."""
        if not 0.0 <= share <= 1.0:
            raise ValueError("a share of tokens is from 0 to 1")
        self._share = share
        self._now_s = monotonic_s
        self._most = most_tenants
        self._tenants: OrderedDict[str, deque[_Slot]] = OrderedDict()

    def of(self, tenant_id: str) -> DraftAllowance:
        """The tenant's allowance, to be kept as long as a session lasts."""
        return _TenantAllowance(self, tenant_id)

    @property
    def paused(self) -> int:
        """How many tenants have spent theirs at the moment."""
        return sum(not self.may_draft(tenant_id) for tenant_id in tuple(self._tenants))

    @property
    def tenants(self) -> int:
        """How many are remembered."""
        return len(self._tenants)

    def may_draft(self, tenant_id: str) -> bool:
        """Whether a session of the tenant may draft a reply now."""
        slots = self._current(tenant_id)
        if slots is None:
            return self._share > 0
        allowed = self._share * sum(slot.used for slot in slots) + sum(slot.credit for slot in slots)
        return sum(slot.wasted for slot in slots) < allowed

    def spent(self, tenant_id: str, wasted: int, used: int) -> None:
        """Count what one of the tenant's turns or drafts took, in tokens."""
        if not (wasted or used):
            return
        number, slots = self._slot_number(), self._current(tenant_id)
        if slots is None:
            credit = START_TOKENS if self._share else 0
            slots = self._tenants[tenant_id] = deque([_Slot(number, credit=credit)])
            if len(self._tenants) > self._most:
                self._tenants.popitem(last=False)
        self._tenants.move_to_end(tenant_id)
        if slots[-1].number != number:
            slots.append(_Slot(number))
        slot = slots[-1]
        slot.wasted += wasted
        slot.used += used

    def _current(self, tenant_id: str) -> deque[_Slot] | None:
        """The tenant's slots within the window, the oldest first; ``None`` where there are none."""
        slots = self._tenants.get(tenant_id)
        if slots is None:
            return None
        gone = self._slot_number() - SLOTS
        while slots and slots[0].number <= gone:
            slots.popleft()
        if not slots:
            del self._tenants[tenant_id]
            return None
        return slots

    def _slot_number(self) -> int:
        return int(self._now_s() * SLOTS / WINDOW_S)


@dataclass(frozen=True, slots=True)
class _TenantAllowance:
    """One tenant's part of them all."""

    all: DraftAllowances
    tenant_id: str

    def may_draft(self) -> bool:
        return self.all.may_draft(self.tenant_id)

    def spent(self, wasted: int, used: int) -> None:
        self.all.spent(self.tenant_id, wasted, used)
