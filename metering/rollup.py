"""Daily sums over current events: what reports read instead of the events. Pure.

A ledger keeps these rows beside its events and changes them in the transaction that appends, so they are never
behind; ``Rollup.of`` makes the same rows from the events alone, which is how they are rebuilt and tested. A replaced
event's share is taken out when its correction arrives. Days are UTC days of ``started_at``, counted from 1970-01-01.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from json.encoder import encode_basestring_ascii as _quoted
from operator import attrgetter
from typing import TypeVar

from metering.codec import COUNT_FIELDS
from metering.ledger import TOTAL_FIELDS, DailyAmount, DailyUsage, UsageTotals, is_unclaimed
from metering.quantities import quantities
from metering.usage import UsageEvent
from metering.user_sums import SUM_FIELDS, TurnSums, UserAmountKey, UserKey

DAY_MS = 86_400_000
K = TypeVar("K")

Named = tuple[str, str]
"""A tenant, and the id of an event of its."""
UsageKey = tuple[int, str, str, str]
"""Day, tenant, agent, lane."""
AmountKey = tuple[int, str, str, str, str, str, str]
"""Day, tenant, agent, lane, provider, model, meter."""


@dataclass(slots=True)
class Rollup:
    """Sums by key. As a difference, between two states of a ledger, its values may be negative."""

    usage: dict[UsageKey, UsageTotals] = field(default_factory=dict[UsageKey, UsageTotals])
    amounts: dict[AmountKey, tuple[int, int]] = field(default_factory=dict[AmountKey, tuple[int, int]])
    """Amount and whole seconds (see ``Quantity``)."""
    users: dict[UserKey, TurnSums] = field(default_factory=dict[UserKey, TurnSums])
    user_amounts: dict[UserAmountKey, tuple[int, int]] = field(default_factory=dict[UserAmountKey, tuple[int, int]])
    """The same two by person (``metering.user_sums``)."""

    @classmethod
    def of(cls, added: Iterable[UsageEvent], removed: Iterable[UsageEvent] = ()) -> Rollup:
        """The sums of ``added`` less those of ``removed``."""
        tally = Tally()
        tally.add(added)
        tally.add(removed, -1)
        return tally.rollup

    def days(self) -> tuple[DailyUsage, ...]:
        """The rows about turns, in the order of their keys."""
        return tuple(DailyUsage(*key, totals) for key, totals in sorted(self.usage.items(), key=lambda row: row[0]))

    def quantities(self) -> tuple[DailyAmount, ...]:
        """The rows about providers, in the order of their keys."""
        return tuple(DailyAmount(*key, *sums) for key, sums in sorted(self.amounts.items()))


class Tally:
    """Sums in the making, for events that come in portions."""

    def __init__(self) -> None:
        self._usage: dict[UsageKey, list[int]] = {}
        self._amounts: dict[AmountKey, tuple[int, int]] = {}
        self._users: dict[UserKey, list[int]] = {}
        self._user_amounts: dict[UserAmountKey, tuple[int, int]] = {}

    def add(self, events: Iterable[UsageEvent], sign: int = 1) -> None:
        """Count these in, or (-1) out."""
        for event in events:
            key = (event.started_at // DAY_MS, event.tenant_id, event.agent_id, event.mode)
            _add(self._usage.setdefault(key, [0] * len(TOTAL_FIELDS)), event, sign)
            person = (*key, event.user_id)
            _add_turn(self._users.setdefault(person, [0] * len(SUM_FIELDS)), event, sign)
            for used in quantities(event):
                what = (used.provider, used.model, used.meter)
                more = (sign * used.amount, sign * used.whole_seconds)
                _count(self._amounts, (*key, *what), more)
                _count(self._user_amounts, (*person, *what), more)

    @property
    def rollup(self) -> Rollup:
        """The sums so far."""
        return Rollup(
            {key: UsageTotals(*sums) for key, sums in self._usage.items()},
            self._amounts,
            {key: TurnSums(*sums) for key, sums in self._users.items()},
            self._user_amounts,
        )


_counts = attrgetter(*COUNT_FIELDS)


def _add(sums: list[int], event: UsageEvent, sign: int) -> None:
    """Count an event into sums in the order of ``TOTAL_FIELDS``: as ``UsageTotals.of`` does, in a third of the time."""
    flags = (not event.success, event.interrupted, event.estimated, is_unclaimed(event))
    for place, value in enumerate((1, *_counts(event), *flags)):
        if value:
            sums[place] += sign * value


_turn_counts = attrgetter(*SUM_FIELDS[1:-3])


def _add_turn(sums: list[int], event: UsageEvent, sign: int) -> None:
    """Likewise, in the order of ``SUM_FIELDS``."""
    flags = (not event.success, event.interrupted, is_unclaimed(event))
    for place, value in enumerate((1, *_turn_counts(event), *flags)):
        if value:
            sums[place] += sign * value


def _count(amounts: dict[K, tuple[int, int]], key: K, more: tuple[int, int]) -> None:
    amount, seconds = amounts.get(key, (0, 0))
    amounts[key] = (amount + more[0], seconds + more[1])


def change(new: Sequence[UsageEvent], replaced: set[Named], originals: Iterable[UsageEvent]) -> Rollup:
    """What appending ``new`` does to a ledger's sums.

    ``replaced`` names, of the new events, those that anything in the ledger now corrects (they may have arrived after
    their correction); ``originals`` are the events that the new ones correct, as far as the ledger has them.
    """
    arrived = {named(event) for event in new}
    corrected = {(event.tenant_id, event.corrects) for event in new if event.corrects is not None}
    added = [event for event in new if named(event) not in replaced]
    removed = [event for event in originals if named(event) in corrected - arrived]
    return Rollup.of(added, removed)


def named(event: UsageEvent) -> Named:
    """The event's tenant and id."""
    return event.tenant_id, event.event_id


def row_id(key: UsageKey | AmountKey | UserKey | UserAmountKey) -> str:
    """A key as one short text, for a unique index (names alone may be too long for one): a hash of its JSON."""
    names = ", ".join(map(_quoted, key[1:]))
    return hashlib.sha256(f"[{key[0]}, {names}]".encode()).hexdigest()[:32]
