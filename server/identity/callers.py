"""Who presents a credential: the settings' keys, the database's keys, and sessions; from memory wherever that is known.

A request of somebody known asks the database nothing. Instead what changed is asked for every two seconds (``sync``),
and at once after a change made here: revoking takes effect everywhere in this process then, in others within seconds.
While the database is away whoever is known goes on for ``GRACE_S``; whoever is not is refused, never let in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

import anyio
import sqlalchemy as sa

from metering.records import Records, RecordsError
from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.guard import LOCAL_USER, Credential, Identity
from server.identity.attempts import Attempts, address_name
from server.identity.authority import key_permissions, role_permissions
from server.identity.caller_cache import CallerCache
from server.identity.entries import narrowed
from server.identity.keys import claims_to_be_key, digest_of, is_well_formed
from server.identity.lookup import Changes, KeyFound, changes_since, key_by_digest, key_by_id, session_ended, user_by_id
from server.identity.presented import Presented
from server.identity.settings_keys import SettingsKeys, digest_bytes
from server.identity.signing_keys import SigningKeys
from server.identity.tables import current_number
from server.identity.tokens import Session, claims_to_be_token, verified
from server.permissions import TenantType
from server.settings import Settings

Found = TypeVar("Found")

GRACE_S: Final = 300.0
LOOKUP_LIMIT_S: Final = 2.0
MOST_LOOKUPS: Final = 2
MOST_WAITING: Final = 64
AWAY_S: Final = 1.0
"""How long nobody asks again after the database did not answer."""
_GUESSES: Final = (300, 0.2)
"""Unknown keys per address: so many at once, then one in so many seconds."""


class Callers:
    """See the module."""

    def __init__(
        self,
        settings: Settings,
        records: Records,
        signing_keys: SigningKeys,
        epoch_ms: Callable[[], int],
        monotonic_s: Callable[[], float],
    ) -> None:
        self.used_at_ms: dict[str, int] = {}
        """When keys were used that were not since this was last emptied; bounded by who is known."""
        self._guarded = settings.guarded
        self._settings_keys = SettingsKeys(settings)
        self._records = records
        self._signing_keys = signing_keys
        self._epoch_ms = epoch_ms
        self._monotonic_s = monotonic_s
        self._cache = CallerCache()
        self._guesses = Attempts(*_GUESSES)
        self._synced_at_s = -math.inf
        self._away_until_s = -math.inf
        self._syncing = anyio.Lock()
        self._lookups = anyio.CapacityLimiter(MOST_LOOKUPS)
        self._waiting = 0

    async def authenticate(self, presented: Presented) -> Identity:
        """Who this is. Raises Refused where it is nobody, cannot be found out, or was guessed at too often."""
        claimed = False
        for value in presented.values:
            identity = await self.find(value, presented.address)
            if identity is not None:
                return identity
            claimed = claimed or claims_to_be_key(value) or claims_to_be_token(value)
        if presented.cookie is not None:
            identity = await self.find(presented.cookie, presented.address)
            if identity is not None:
                return identity
        if presented.local and not self._guarded and not claimed:
            return LOCAL_USER
        raise Refused(ErrorCode.AUTH_INVALID)

    async def find(self, value: str, address: str) -> Identity | None:
        """Whose a key or token is; ``None``: nobody's. Raises Refused where that cannot be found out."""
        digest = digest_bytes(value)
        identity = self._settings_keys.by_digest(digest)
        if identity is not None:
            return identity
        now_s = self._monotonic_s()
        identity = self._cache.find(digest, now_s)
        if identity is not None:
            if now_s - self._synced_at_s > GRACE_S:
                raise _overloaded()
            self._note_use(identity)
            return identity
        if self._cache.is_unknown(digest) or not (claims_to_be_key(value) or claims_to_be_token(value)):
            return None
        return await self._look_up(digest, value, address_name(address), now_s)

    async def sync(self) -> None:
        """Heed what has changed. Raises RecordsError."""
        async with self._syncing:
            asked_at_s, number = self._monotonic_s(), self._cache.number

            def work(connection: sa.Connection) -> Changes:
                return Changes(current_number(connection)) if number is None else changes_since(connection, number)

            self._cache.heed(await self._records.run_read(work, LOOKUP_LIMIT_S))
            self._synced_at_s = asked_at_s

    # --- finding out ---

    async def _look_up(self, digest: bytes, value: str, address: str, now_s: float) -> Identity | None:
        wait_s = self._guesses.wait_s(address, now_s)
        if wait_s > 0:
            raise Refused(ErrorCode.RATE_LIMITED, retry_after_s=wait_s)
        identity: Identity | None = None
        try:
            if claims_to_be_key(value):
                if is_well_formed(value):
                    identity = await self._by_key(digest, digest_of(value))
            else:
                session = await verified(value, self._signing_keys, self._epoch_ms())
                if session is not None:
                    identity = await self._by_session(digest, session)
        except RecordsError as error:
            self._away_until_s = self._monotonic_s() + AWAY_S
            raise _overloaded() from error
        if identity is None or (identity.credential is not None and identity.credential.ended(self._monotonic_s())):
            self._guesses.take(address, now_s)
            return None
        self._note_use(identity)
        return identity

    async def _by_key(self, digest: bytes, kept: str) -> Identity | None:
        number, found = await self._ask(lambda c: (current_number(c), key_by_digest(c, kept)))
        identity = None if found is None else self._identity_of_key(found)
        self._cache.keep(digest, identity, number)
        return identity

    async def _by_session(self, digest: bytes, session: Session) -> Identity | None:
        def work(connection: sa.Connection) -> tuple[int, Identity | None]:
            number = current_number(connection)
            if session_ended(connection, session.jti):
                return number, None
            return number, self._holder(connection, session)

        number, holder = await self._ask(work)
        identity = None if holder is None else self._in_session(holder, session)
        self._cache.keep(digest, identity, number)
        return identity

    def _holder(self, connection: sa.Connection, session: Session) -> Identity | None:
        """Who began the session, as they are now; without a credential yet."""
        if session.key_id is not None:
            found = key_by_id(connection, session.key_id)
            known = self._settings_keys.by_name(session.key_id) if found is None else self._of_key(found)
        else:
            user = user_by_id(connection, session.user_id)
            kind = None if user is None else self._tenant_type(user.tenant_id, user.tenant_type)
            if user is None or kind is None or user.generation != session.generation:
                return None
            allowed = role_permissions(user.tenant_id, user.role)
            known = Identity(user.tenant_id, user.user_id, user.role, allowed, kind)
        same = known is not None and (known.tenant_id, known.user_id) == (session.tenant_id, session.user_id)
        return known if same else None

    def _identity_of_key(self, found: KeyFound) -> Identity | None:
        identity, ends_at_s = self._of_key(found), math.inf
        if identity is None:
            return None
        if found.expires_at_ms is not None:
            ends_at_s = self._monotonic_s() + (found.expires_at_ms - self._epoch_ms()) / 1_000
        credential = Credential(found.key_id, identity.tenant_id, identity.user_id, ends_at_s=ends_at_s)
        return replace(identity, credential=self._cache.credential(credential))

    def _of_key(self, found: KeyFound) -> Identity | None:
        kind = self._tenant_type(found.tenant_id, found.tenant_type)
        expired = found.expires_at_ms is not None and found.expires_at_ms <= self._epoch_ms()
        if kind is None or expired:
            return None
        allowed = key_permissions(found.tenant_id, found.role, narrowed(found.permissions), found.environment)
        user_id, test = found.user_id or found.key_id, found.environment == "test"
        return Identity(found.tenant_id, user_id, found.role, allowed, kind, found.agent_id, test)

    def _in_session(self, holder: Identity, session: Session) -> Identity:
        left_s = (session.expires_at_ms - self._epoch_ms()) / 1_000
        credential = Credential(
            session.jti,
            holder.tenant_id,
            holder.user_id,
            key_id=session.key_id,
            generation=session.generation,
            ends_at_s=self._monotonic_s() + left_s,
        )
        return replace(holder, credential=self._cache.credential(credential))

    def _tenant_type(self, tenant_id: str, kept: TenantType | None) -> TenantType | None:
        """``None``: there is no such tenant any more."""
        return self._settings_keys.tenant_type(tenant_id) or kept

    async def _ask(self, work: Callable[[sa.Connection], tuple[int, Found]]) -> tuple[int, Found]:
        """A question to the database, of which only so many run or wait. Raises Refused, RecordsError."""
        if self._waiting >= MOST_WAITING or self._monotonic_s() < self._away_until_s:
            raise _overloaded()
        self._waiting += 1
        try:
            async with self._lookups:
                return await self._records.run_read(work, LOOKUP_LIMIT_S)
        finally:
            self._waiting -= 1

    def _note_use(self, identity: Identity) -> None:
        credential = identity.credential
        if credential is None or credential.generation is not None:
            return
        key_id = credential.key_id or credential.name
        if key_id not in self.used_at_ms:
            self.used_at_ms[key_id] = self._epoch_ms()


def _overloaded() -> Refused:
    words = "Whose this is cannot be found out at the moment."
    return Refused(ErrorCode.SERVER_OVERLOADED, words, retry_after_s=2.0)
