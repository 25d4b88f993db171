"""The office of identity: books of tenants, users and keys, logins, and who is calling; and its work in the background.

What routes and the edge use, on one database. Made by ``server.offices`` for a server (which also runs it), and by the
command line for one piece of work.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import anyio

from metering.records import Records, RecordsError
from server.audit import AuditLog
from server.guard import OPERATOR_AT_TERMINAL, Identity
from server.identity.callers import Callers
from server.identity.desk import Desk
from server.identity.key_book import KeyBook
from server.identity.leaving import Leaving
from server.identity.logins import Logins
from server.identity.presented import Presented
from server.identity.signing_keys import SigningKeys
from server.identity.tenant_book import TenantBook
from server.identity.user_book import UserBook
from server.settings import Settings

logger = logging.getLogger(__name__)

SYNC_INTERVAL_S: Final = 2.0
USES_WRITTEN_EVERY: Final = 15
"""Syncs."""
_LAST_WRITE_LIMIT_S: Final = 2.0


class IdentityOffice:
    """See the module."""

    def __init__(
        self,
        settings: Settings,
        records: Records,
        audit: AuditLog,
        epoch_ms: Callable[[], int],
        monotonic_s: Callable[[], float],
    ) -> None:
        signing_keys = SigningKeys(records, epoch_ms, monotonic_s)
        self.callers = Callers(settings, records, signing_keys, epoch_ms, monotonic_s)
        desk = Desk(settings, records, audit, epoch_ms, self._changed)
        self.tenants = TenantBook(desk)
        self.users = UserBook(desk)
        self.keys = KeyBook(desk)
        self.logins = Logins(desk, self.callers, signing_keys, monotonic_s)
        self._records = records
        self.leaving = Leaving(epoch_ms)
        """What becomes of a person's login and keys when they are deleted."""
        self._failing = False

    async def authenticate(self, presented: Presented) -> Identity:
        """Who is calling. Raises Refused."""
        return await self.callers.authenticate(presented)

    async def end_person(self, tenant_id: str, user_id: str) -> None:
        """Their login and their keys open nothing any more, from here on in this process. Raises RecordsError."""
        await self._records.run_write(lambda connection: self.leaving.leave(connection, tenant_id, user_id))
        await self.callers.sync()

    async def first_key(self) -> str | None:
        """An operator's key for a server with neither keys nor users; ``None``: it has some. Raises RecordsError."""
        return await self.keys.create_first(OPERATOR_AT_TERMINAL)

    async def run(self) -> None:
        """Heed what other processes change, and write down which keys are used, until cancelled."""
        syncs = 0
        try:
            while True:
                await self._sync()
                await anyio.sleep(SYNC_INTERVAL_S)
                syncs += 1
                if syncs % USES_WRITTEN_EVERY == 0:
                    await self._write_uses()
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(_LAST_WRITE_LIMIT_S):
                await self._write_uses()

    async def _changed(self) -> None:
        """Something was written here."""
        await self._sync()

    async def _sync(self) -> None:
        try:
            await self.callers.sync()
            self._failing = False
        except RecordsError as error:
            if not self._failing:
                logger.warning("changes of keys cannot be read", extra={"reason": str(error)})
            self._failing = True

    async def _write_uses(self) -> None:
        uses, self.callers.used_at_ms = self.callers.used_at_ms, {}
        if not uses:
            return
        try:
            await self.keys.used(uses)
        except RecordsError:
            self.callers.used_at_ms = uses | self.callers.used_at_ms
