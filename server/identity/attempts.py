"""How often somebody may try: token buckets by name, of which only so many are remembered. Pure; times are given.

A bucket that is forgotten is full again, so room is made by forgetting those that were not used for longest.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import Final

MOST_REMEMBERED: Final = 10_000


class Attempts:
    """``burst`` tries at once, then one every ``refill_s`` seconds, for each name."""

    def __init__(self, burst: int, refill_s: float) -> None:
        self._burst = burst
        self._refill_s = refill_s
        self._empty_until_s: OrderedDict[str, float] = OrderedDict()
        """When each bucket will be full again (the generic cell rate algorithm's theoretical arrival time)."""

    def __len__(self) -> int:
        return len(self._empty_until_s)

    def wait_s(self, name: str, now_s: float) -> float:
        """How long until one more try is allowed; 0 where it is now. Takes nothing."""
        full_at_s = max(self._empty_until_s.get(name, now_s), now_s)
        return max(0.0, full_at_s + self._refill_s - now_s - self._burst * self._refill_s)

    def take(self, name: str, now_s: float) -> float:
        """Use one try; where there is none, how long to wait (nothing is used then)."""
        wait_s = self.wait_s(name, now_s)
        if wait_s > 0:
            return wait_s
        self._empty_until_s[name] = max(self._empty_until_s.get(name, now_s), now_s) + self._refill_s
        self._empty_until_s.move_to_end(name)
        if len(self._empty_until_s) > MOST_REMEMBERED:
            self._empty_until_s.popitem(last=False)
        return 0.0

    def give_back(self, name: str) -> None:
        """The try was a good one: it does not count."""
        if name in self._empty_until_s:
            self._empty_until_s[name] -= self._refill_s


def address_name(address: str) -> str:
    """An address as it counts: IPv6 by the network of 64 bits that one household or host has."""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if known.version == 6:
        mapped = known.ipv4_mapped
        return str(mapped) if mapped is not None else str(ipaddress.ip_network((known, 64), strict=False))
    return str(known)
