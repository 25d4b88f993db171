"""What each type of tenant is owed: how long data may be kept, and what is never done with minors' words. Pure.

One table and one function, ``protection_of``; everything that treats a school otherwise than others asks it. Contract
section 10 has the days and months; docs/guides/privacy.md shows the table, and a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from server.permissions import TenantType


@dataclass(frozen=True, slots=True)
class Span:
    """What may be chosen, and what is where nobody chooses."""

    default: int
    least: int
    most: int

    def allows(self, value: int) -> bool:
        return self.least <= value <= self.most


@dataclass(frozen=True, slots=True)
class Protection:
    """The rules for one type of tenant.

    ``recording``: audio may be kept, of who consents. ``words_in_logs``, ``words_in_traces``: what is said may stand
    there where the operator turned transcripts on. ``cost_spoken``: warnings about money may be spoken to the user.
    """

    conversation_days: Span
    usage_months: Span
    recording: bool
    words_in_logs: bool
    words_in_traces: bool
    cost_spoken: bool


_PROTECTIONS: Final[Mapping[TenantType, Protection]] = MappingProxyType(
    {
        "consumer": Protection(Span(180, 1, 365), Span(24, 12, 24), True, True, True, True),
        "school": Protection(Span(30, 30, 90), Span(24, 12, 24), False, False, False, False),
        "business": Protection(Span(365, 1, 2_555), Span(24, 12, 84), True, True, True, True),
    }
)


def protection_of(tenant_type: TenantType) -> Protection:
    """The rules for tenants of this type."""
    return _PROTECTIONS[tenant_type]
