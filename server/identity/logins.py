"""Logging in and out: a login name and a password, or an API key, for a session token that soon ends.

Tries are counted by account and by address before anything is looked up, so all answers about a name, known or not, are
alike in words and in time. Sessions are not prolonged: who wants to go on logs in again. Owned by
``server.identity.office``.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn

import sqlalchemy as sa

from metering.records import RecordConflict
from server.audit import AuditEntry
from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.guard import Identity
from server.identity.attempts import Attempts, address_name
from server.identity.callers import Callers
from server.identity.desk import Desk
from server.identity.lookup import user_by_login
from server.identity.passwords import Passwords
from server.identity.presented import Presented
from server.identity.signing_keys import SigningKeys
from server.identity.tables import ended_sessions
from server.identity.tokens import Session, new_session_id, signed
from server.identity.user_book import login_name_of

_PER_ACCOUNT: Final = (10, 30.0)
_PER_ADDRESS: Final = (30, 2.0)
"""Tries: so many at once, then one in so many seconds."""
_WRONG: Final = "The login name, the password or the key is wrong."


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A new session: its token, when it ends (epoch milliseconds; in so many seconds), and whose it is."""

    token: str
    expires_at_ms: int
    life_s: int
    identity: Identity


class Logins:
    """See the module."""

    def __init__(
        self, desk: Desk, callers: Callers, signing_keys: SigningKeys, monotonic_s: Callable[[], float]
    ) -> None:
        self.passwords = Passwords()
        self._desk = desk
        self._callers = callers
        self._signing_keys = signing_keys
        self._monotonic_s = monotonic_s
        self._accounts = Attempts(*_PER_ACCOUNT)
        self._addresses = Attempts(*_PER_ADDRESS)

    async def by_password(self, login_name: str, password: str, address: str) -> LoggedIn:
        """A session of the user who goes by this name. Raises Refused, RecordsError."""
        name = login_name_of(login_name)
        account = hashlib.sha256(name.encode()).hexdigest()
        where = address_name(address)
        self._count(account, where)
        user = await self._desk.records.run_read(lambda connection: user_by_login(connection, name))
        fits = await self.passwords.fits(password, None if user is None else user.password)
        if user is None or not fits:
            _wrong()
        self._accounts.give_back(account)
        self._addresses.give_back(where)
        return await self._begin(user.tenant_id, user.user_id, generation=user.generation)

    async def by_key(self, key: str, address: str) -> LoggedIn:
        """A session of whoever has this key; it ends with the key. Raises Refused, RecordsError."""
        where = address_name(address)
        self._count(None, where)
        identity = await self._callers.find(key, address)
        credential = None if identity is None else identity.credential
        if identity is None or (credential is not None and credential.of_session):
            _wrong()  # a session is no key: it does not prolong itself
        if credential is None:
            return await self._begin(identity.tenant_id, identity.user_id, key_id=identity.user_id)
        left_s = credential.ends_at_s - self._monotonic_s()
        return await self._begin(identity.tenant_id, identity.user_id, key_id=credential.name, left_s=left_s)

    async def log_out(self, identity: Identity) -> None:
        """End the session somebody came with, everywhere; of a key there is nothing to end. Raises RecordsError."""
        credential = identity.credential
        if credential is None or not credential.of_session:
            return
        desk, now_ms = self._desk, self._desk.epoch_ms()
        expires_at_ms = now_ms + desk.settings.identity.session_minutes * 60_000  # or sooner: it began before now

        def work(connection: sa.Connection, number: int) -> None:
            connection.execute(ended_sessions.delete().where(ended_sessions.c.expires_at_ms < now_ms))
            row = {"jti": credential.name, "expires_at_ms": expires_at_ms, "version": number}
            connection.execute(ended_sessions.insert().values(row))

        try:
            await desk.write(work)
        except RecordConflict:
            return  # it was ended already

    async def _begin(
        self,
        tenant_id: str,
        user_id: str,
        *,
        key_id: str | None = None,
        generation: int | None = None,
        left_s: float = math.inf,
    ) -> LoggedIn:
        """``left_s``: the session ends by then at the latest."""
        now_ms = self._desk.epoch_ms()
        life_s = min(self._desk.settings.identity.session_minutes * 60, left_s)
        ends_at_ms = now_ms + round(life_s * 1_000)
        session = Session(new_session_id(), tenant_id, user_id, now_ms, ends_at_ms, key_id, generation)
        token = signed(session, await self._signing_keys.signer())
        identity = await self._callers.authenticate(Presented((token,)))
        entry = AuditEntry(identity, "session.begun", tenant_id, session.jti, {"with": "key" if key_id else "password"})
        await self._desk.audit.record(entry)
        return LoggedIn(token, ends_at_ms, math.floor(life_s), identity)

    def _count(self, account: str | None, address: str) -> None:
        now_s = self._monotonic_s()
        waits_s = [self._addresses.take(address, now_s)]
        if account is not None:
            waits_s.append(self._accounts.take(account, now_s))
        if max(waits_s) > 0:
            raise Refused(ErrorCode.RATE_LIMITED, "Too many attempts to log in.", retry_after_s=max(waits_s))


def _wrong() -> NoReturn:
    raise Refused(ErrorCode.AUTH_INVALID, _WRONG)
