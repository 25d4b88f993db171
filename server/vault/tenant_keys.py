"""The keys of tenants that are at work now, opened and at hand: what sessions look up before they ask a provider.

A look-up that is cached touches neither database nor Key Vault. Once in ``refresh_s`` the records are asked whether any
key has changed, anywhere; if so, every tenant held here is read anew and whoever listens is told. A tenant that nobody
asks about for ``secret_life_s`` is forgotten, and a secret of the Key Vault is fetched again when it is that old. While
the records or the Key Vault do not answer, what is held stays good for ``outage_s``. Owned by the office, which runs
``tend``; all calls on one event loop.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import anyio

from metering.records import RecordsError
from server.guard import Identity
from server.tenant_settings import RESERVED
from server.vault.errors import KeyUnknown, SecretGone, VaultError, VaultLocked, VaultUnavailable
from server.vault.provider_keys import KeyStatus, ProviderKey
from server.vault.redaction import Redactor
from server.vault.store import Act, KeyStore, StoredKey
from server.vault_settings import VaultSettings

logger = logging.getLogger(__name__)

MOST_TENANTS: Final = 10_000
SWEEP_EVERY: Final = 30
"""Times the records are asked for changes, between two looks for what is still to be deleted elsewhere."""


@dataclass(frozen=True, slots=True)
class OwnKey:
    """A tenant's key, and its secret."""

    key: ProviderKey
    secret: str = field(repr=False)
    fetched_at_s: float = field(default=0.0, compare=False)

    @property
    def identity(self) -> tuple[str, int]:
        """Another one after every rotation."""
        return self.key.key_id, self.key.version


OnChange = Callable[[str, tuple[OwnKey, ...]], None]
"""Told the tenant and its keys as they are now."""


@dataclass(slots=True)
class _Held:
    keys: tuple[OwnKey, ...]
    read_at_s: float
    used_at_s: float
    stale: bool = False


class TenantKeys:
    """See the module."""

    def __init__(
        self,
        store: KeyStore,
        settings: VaultSettings,
        redactor: Redactor,
        epoch_ms: Callable[[], int],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._settings = settings
        self._redactor = redactor
        self._epoch_ms = epoch_ms
        self._now_s = now_s
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._reading: dict[str, anyio.Lock] = {}
        self._listeners: list[OnChange] = []
        self._changes: int | None = None
        self._seen_at_s = now_s()
        self._used: dict[str, int] = {}
        self._marks: dict[tuple[str, int], tuple[ProviderKey, KeyStatus]] = {}

    def listen(self, on_change: OnChange) -> None:
        """Tell of every change of a tenant that is held."""
        self._listeners.append(on_change)

    def held(self, tenant_id: str) -> tuple[OwnKey, ...] | None:
        """What is at hand, without a wait; ``None``: nothing, or nothing that may still be used."""
        found = self._held.get(tenant_id)
        if found is None:
            return None
        found.used_at_s = self._now_s()
        return None if found.stale or not self._fresh() else found.keys

    async def of(self, tenant_id: str) -> tuple[OwnKey, ...]:
        """The tenant's keys, the first one made first. Raises VaultError where they cannot be read."""
        found = self.held(tenant_id)
        return found if found is not None else await self._read(tenant_id)

    async def renew(self, tenant_id: str) -> None:
        """This server has just changed them: who works with them learns it now. What fails is tried again."""
        if tenant_id in self._held:
            self._held[tenant_id].stale = True
            try:
                await self._read(tenant_id)
            except VaultError as error:
                logger.warning("provider keys were not read anew", extra={"reason": str(error)})

    def used(self, key: ProviderKey) -> None:
        """A provider was asked with it."""
        self._used[key.key_id] = self._epoch_ms()

    def mark(self, key: ProviderKey, status: KeyStatus) -> None:
        """The provider refuses it, or takes it again; written within ``refresh_s``."""
        found = self._held.get(key.tenant_id)
        now = (
            next((own.key for own in found.keys if own.identity == (key.key_id, key.version)), None) if found else None
        )
        if now is not None and now.status != status:
            self._marks[key.key_id, key.version] = (key, status)

    async def tend(self) -> None:
        """Keep what is held true, until cancelled."""
        rounds, was_well = 0, True
        while True:
            await anyio.sleep(self._settings.refresh_s)
            rounds += 1
            try:
                await self.refresh()
                await self._write_back()
                if rounds % SWEEP_EVERY == 0:
                    await self._store.sweep()
                was_well = True
            except (RecordsError, VaultError) as error:
                if was_well:  # said once
                    logger.warning("the vault cannot be looked after", extra={"reason": str(error)})
                was_well = False

    async def refresh(self) -> None:
        """Forget what nobody uses, and read anew what has changed or is too old. Raises RecordsError."""
        life_s, now_s = self._settings.secret_life_s, self._now_s()
        for tenant_id, each in list(self._held.items()):
            if now_s - each.used_at_s > life_s:
                del self._held[tenant_id]
                self._reading.pop(tenant_id, None)
        if not self._held:
            return
        changes = await self._store.changes()
        self._seen_at_s = self._now_s()
        has_changed, self._changes = changes != self._changes, changes
        for tenant_id, each in list(self._held.items()):
            if has_changed or each.stale or self._now_s() - each.read_at_s > life_s:
                each.stale = each.stale or has_changed
                try:
                    await self._read(tenant_id)
                except VaultError as error:
                    each.stale = True
                    logger.warning("provider keys were not read anew", extra={"reason": str(error)})

    def _fresh(self) -> bool:
        return self._now_s() - self._seen_at_s <= max(self._settings.outage_s, 3 * self._settings.refresh_s)

    async def _read(self, tenant_id: str) -> tuple[OwnKey, ...]:
        lock = self._reading.setdefault(tenant_id, anyio.Lock())
        asked_at_s = self._now_s()
        async with lock:
            held = self._held.get(tenant_id)
            if held is not None and not held.stale and held.read_at_s > asked_at_s:
                return held.keys  # somebody else has read it meanwhile
            keys = await self._opened(tenant_id, held)
            now_s = self._now_s()
            self._seen_at_s = max(self._seen_at_s, asked_at_s)
            used_at_s = now_s if held is None else held.used_at_s
            self._held[tenant_id] = _Held(keys, now_s, used_at_s)
            self._held.move_to_end(tenant_id)
            if len(self._held) > MOST_TENANTS:
                forgotten, _ = self._held.popitem(last=False)
                self._reading.pop(forgotten, None)
        self._tell(tenant_id, keys)
        return keys

    async def _opened(self, tenant_id: str, held: _Held | None) -> tuple[OwnKey, ...]:
        try:
            stored = await self._store.list(tenant_id)
        except RecordsError as error:
            if held is not None and not held.stale and self._fresh():
                return held.keys
            if tenant_id in RESERVED:  # the operator's own: nothing of theirs is another's
                return ()
            raise VaultUnavailable("the provider keys cannot be read at the moment") from error
        before = {own.identity: own for own in held.keys} if held is not None else {}
        opened = [await self._open(each, before.get((each.key.key_id, each.key.version))) for each in stored]
        return tuple(own for own in opened if own is not None)

    async def _revealed(self, stored: StoredKey) -> str:
        try:
            return await self._store.reveal(stored)
        except VaultLocked:  # the master key may have been changed since the row was read
            again = await self._store.stored(stored.key.tenant_id, stored.key.key_id)
            return await self._store.reveal(again)

    async def _open(self, stored: StoredKey, before: OwnKey | None) -> OwnKey | None:
        if before is not None and stored.secret_id is None:  # a version never changes
            return OwnKey(stored.key, before.secret, self._now_s())
        try:
            secret = await self._revealed(stored)
        except (SecretGone, KeyUnknown) as error:
            logger.warning("a provider key is gone", extra={"key_id": stored.key.key_id, "reason": str(error)})
            return None
        except VaultUnavailable:
            if before is not None and self._now_s() - before.fetched_at_s <= self._settings.outage_s:
                return OwnKey(stored.key, before.secret, before.fetched_at_s)
            raise
        self._redactor.learn(secret)
        return OwnKey(stored.key, secret, self._now_s())

    def _tell(self, tenant_id: str, keys: tuple[OwnKey, ...]) -> None:
        for listener in self._listeners:
            listener(tenant_id, keys)

    async def _write_back(self) -> None:
        """When keys were used, and which of them are refused."""
        used, self._used = self._used, {}
        await self._store.used(used)
        marks, self._marks = self._marks, {}
        for key, status in marks.values():
            act = Act(Identity(key.tenant_id, "server"), key.tenant_id)
            if await self._store.mark(act, key, status):
                logger.warning("a provider key is marked", extra={"key_id": key.key_id, "status": status})
