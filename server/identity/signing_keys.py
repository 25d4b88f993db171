"""The keys that sign session tokens: made here, kept in the database, taken turns with.

The newest signs; older ones still verify for as long as what they signed may live. Servers on one database share them,
and one that meets a key it does not know looks for it, at most once a second. Raises RecordsError where it cannot.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import anyio
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from metering.records import Records
from server.identity.entries import fresh_id
from server.identity.tables import signing_keys, take_number

ROTATE_MS: Final = 24 * 3_600_000
KEPT_MS: Final = ROTATE_MS + 13 * 3_600_000
"""A key's turn, and the longest a session may last afterwards (``identity.session_minutes``), with an hour to spare."""
LOOK_AGAIN_S: Final = 1.0
_LIMIT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key pair. ``kid`` names it in a token's header."""

    kid: str
    private: Ed25519PrivateKey
    public: Ed25519PublicKey
    created_at_ms: int


class SigningKeys:
    """See the module."""

    def __init__(self, records: Records, epoch_ms: Callable[[], int], monotonic_s: Callable[[], float]) -> None:
        self._records = records
        self._epoch_ms = epoch_ms
        self._monotonic_s = monotonic_s
        self._known: dict[str, SigningKey] = {}
        self._looked_at_s = -LOOK_AGAIN_S
        self._looking = anyio.Lock()

    async def signer(self) -> SigningKey:
        """The key to sign with; a new one where the newest has had its turn."""
        current = self._current()
        if current is None:
            rows = await self._records.run_write(self._take_turns, _LIMIT_S)
            self._learn(rows)
            current = self._current()
        assert current is not None, "one was just made"
        return current

    async def verifier(self, kid: str) -> SigningKey | None:
        """The key of this name, if there is one that still holds."""
        if kid not in self._known and self._monotonic_s() - self._looked_at_s >= LOOK_AGAIN_S:
            async with self._looking:
                if kid not in self._known and self._monotonic_s() - self._looked_at_s >= LOOK_AGAIN_S:
                    self._looked_at_s = self._monotonic_s()
                    self._learn(await self._records.run_read(self._read, _LIMIT_S))
        key = self._known.get(kid)
        return key if key is not None and self._epoch_ms() - key.created_at_ms < KEPT_MS else None

    def _current(self) -> SigningKey | None:
        """The newest whose turn it is. One from the future (a clock was wrong) verifies, but does not sign."""
        now_ms = self._epoch_ms()
        turn = [key for key in self._known.values() if 0 <= now_ms - key.created_at_ms < ROTATE_MS]
        return max(turn, key=lambda key: key.created_at_ms, default=None)

    def _take_turns(self, connection: sa.Connection) -> list[SigningKey]:
        """The keys, among them one whose turn it is: of servers that find none at once, one makes it."""
        take_number(connection)  # for its lock
        now_ms = self._epoch_ms()
        connection.execute(signing_keys.delete().where(signing_keys.c.created_at_ms < now_ms - KEPT_MS))
        known = self._read(connection)
        if not any(0 <= now_ms - key.created_at_ms < ROTATE_MS for key in known):
            private = Ed25519PrivateKey.generate()
            row = {
                "kid": fresh_id("k"),
                "private_key": base64.b64encode(private.private_bytes_raw()).decode(),
                "created_at_ms": now_ms,
            }
            connection.execute(signing_keys.insert().values(row))
            known = self._read(connection)
        return known

    def _read(self, connection: sa.Connection) -> list[SigningKey]:
        keys: list[SigningKey] = []
        for row in connection.execute(sa.select(signing_keys)):
            private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(row.private_key))
            keys.append(SigningKey(row.kid, private, private.public_key(), row.created_at_ms))
        return keys

    def _learn(self, keys: list[SigningKey]) -> None:
        self._known = {key.kid: key for key in keys}
