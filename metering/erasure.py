"""What may be done to usage events that are in the ledger: a person's id replaced by a pseudonym, old months purged.

Both are rare, both leave every quantity and sum as it is, and the database's triggers permit nothing else (see the
ledgers' schemas). Owns the port and its words; the SQL ledgers implement it, the privacy office of the server drives
it. All methods block and may be called from any thread.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

PSEUDONYM_PREFIX: Final = "erased_"
LEAST_KEPT_MS: Final = 365 * 86_400_000
"""No purge reaches what is younger, whoever asks for it: a year of accounts."""


def new_pseudonym() -> str:
    """A name that leads back to nobody: drawn, not derived."""
    return PSEUDONYM_PREFIX + secrets.token_hex(12)


def months_before(now_ms: int, months: int) -> int:
    """The beginning (UTC) of the oldest month that is kept whole where ``months`` are: purges take whole months."""
    today = datetime.fromtimestamp(now_ms / 1_000, UTC)
    count = today.year * 12 + today.month - 1 - months
    first = datetime(count // 12, count % 12 + 1, 1, tzinfo=UTC)
    return int(first.timestamp()) * 1_000


class ErasableLedger(Protocol):
    """The further methods of a ledger that keeps its events in files."""

    def pseudonymise(
        self, tenant_id: str, user_id: str, pseudonym: str, keep_sessions: Sequence[str], at_most: int
    ) -> int:
        """Give so many of a person's events the pseudonym, except those of some sessions; returns how many.

        Fewer than ``at_most``: there are no more. Raises LedgerError.
        """
        ...

    def purge(self, tenant_id: str, started_before: int, now_ms: int, at_most: int) -> int:
        """Take out so many of a tenant's events that began before then; returns how many. Sums stay.

        What arrives later for that time is not taken any more, so nothing is counted twice. Raises LedgerError.
        """
        ...

    def tenants(self) -> tuple[str, ...]:
        """Everybody who ever used anything. Raises LedgerError."""
        ...

    def compact(self) -> None:
        """Leave nothing of what was replaced or taken out in the ledger's files, as far as they are ours.

        Raises LedgerError.
        """
        ...
