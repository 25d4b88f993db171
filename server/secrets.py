"""Client secrets: keys for one connection of a browser, minted for somebody who has a real one.

Kept in memory, used once, gone within a minute or when the process ends. Only their hashes are kept. One that was used
still names its holder, who may change and end what it opened. Owned by the host; the clock is given.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.guard import Identity

PREFIX: Final = "ek_"
MAX_LIFE_S: Final = 60
"""How long a secret may wait to be used."""
MAX_WAITING: Final = 10_000


@dataclass(frozen=True, slots=True)
class Grant:
    """What a secret allows: to be somebody, in a session configured like this."""

    identity: Identity
    session: Mapping[str, Any]
    expires_at_s: float


class ClientSecrets:
    """Secrets that wait to be used."""

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._grants: OrderedDict[bytes, Grant] = OrderedDict()
        self._used: OrderedDict[bytes, Grant] = OrderedDict()

    def mint(self, identity: Identity, session: Mapping[str, Any], life_s: float = MAX_LIFE_S) -> str:
        """A new secret. Raises Refused where too many wait."""
        self._forget()
        if len(self._grants) >= MAX_WAITING:
            raise Refused(ErrorCode.RATE_LIMITED, retry_after_s=MAX_LIFE_S)
        value = f"{PREFIX}{secrets.token_urlsafe(32)}"
        expires_at_s = self._monotonic_s() + min(life_s, MAX_LIFE_S)
        self._grants[_hash(value)] = Grant(identity, dict(session), expires_at_s)
        return value

    def redeem(self, value: str) -> Grant | None:
        """What the secret allows, this once; ``None`` where it is none, used or too old."""
        self._forget()
        grant = self._grants.pop(_hash(value), None)
        if grant is not None:
            self._used[_hash(value)] = grant
            if len(self._used) > MAX_WAITING:
                self._used.popitem(last=False)
        return grant

    def give_back(self, value: str) -> None:
        """Nothing came of the connection the secret was used for: it may be used again, as long as it lives."""
        grant = self._used.pop(_hash(value), None)
        if grant is not None:
            self._grants[_hash(value)] = grant

    def holder(self, value: str) -> Identity | None:
        """Whose secret this is, once it was used: what it opened may be changed and ended with it."""
        grant = self._used.get(_hash(value))
        return None if grant is None else grant.identity

    def _forget(self) -> None:
        now_s = self._monotonic_s()
        for key in [key for key, grant in self._grants.items() if grant.expires_at_s <= now_s]:
            del self._grants[key]


def _hash(value: str) -> bytes:
    return hashlib.sha256(value.encode()).digest()
