"""The vault of one server: everything about tenants' own keys, made from the settings and the records.

Owns the store, the keys at hand, the checks, tenants' models and what keeps keys out of logs. Routes come in through
``add``, ``rotate``, ``check``, ``delete`` and ``list``; sessions through ``keys`` and ``models``. Made and closed by
``server.offices``; the host runs ``tend``.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

import anyio
import anyio.to_thread

from metering.records import Records
from server.audit import AuditLog
from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.settings import Settings
from server.vault.addresses import Addresses
from server.vault.checks import Checked, KeyChecks
from server.vault.errors import KeyUnknown, SecretGone, TooManyKeys, VaultError, VaultLocked
from server.vault.key_vault import KeyVault, KeyVaultMasterKeys, key_vault
from server.vault.master_keys import GivenKeys, KeyFile, MasterKeys, MasterKeySource
from server.vault.models import ShelfOptions, TenantModels
from server.vault.provider_keys import NewKey, ProviderKey
from server.vault.redaction import Redactor
from server.vault.rotation import holds_secrets, sealing_key
from server.vault.rules import OwnKeyRules
from server.vault.store import Act, KeyStore
from server.vault.tenant_clients import ModelLimits
from server.vault.tenant_keys import TenantKeys

logger = logging.getLogger(__name__)

CHECKS_AT_ONCE: Final = 8
MINUTE_S: Final = 60.0
RETRY_AFTER_S: Final = 30.0
_REFUSALS: Final = {
    "rejected": ErrorCode.REQUEST_INVALID,
    "refused": ErrorCode.REQUEST_INVALID,
    "late": ErrorCode.PROVIDER_TIMEOUT,
    "unreachable": ErrorCode.PROVIDER_UNAVAILABLE,
}


class Vault:
    """See the module. Methods raise Refused, in the contract's words, and RecordsError."""

    def __init__(
        self,
        settings: Settings,
        records: Records,
        audit: AuditLog,
        epoch_ms: Callable[[], int],
        keeper: KeyVault | None = None,
    ) -> None:
        """``keeper`` is the Key Vault, where the settings name one."""
        chosen = settings.vault
        self._settings = chosen
        self._keeper = keeper
        self._records = records
        self._epoch_ms = epoch_ms
        self._checking = anyio.CapacityLimiter(CHECKS_AT_ONCE)
        self._checked_at_s: dict[str, deque[float]] = {}
        self.masters = MasterKeys(master_key_source(settings, keeper))
        self.redactor = Redactor()
        self.addresses = Addresses(chosen.private_hosts)
        limits = ModelLimits.of(settings.model)
        self._checks = KeyChecks(self.addresses, limits, chosen.check_s)
        self.store = KeyStore(
            records, audit, self.masters, epoch_ms, keeper if chosen.store == "key_vault" else None, keeper
        )
        self.keys = TenantKeys(self.store, chosen, self.redactor, epoch_ms)
        options = ShelfOptions(settings.limits.max_tenant_accounts, settings.limits.account_idle_s)
        self.models = TenantModels(self.keys, OwnKeyRules(settings), self.addresses, limits, options)

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, settings: Settings, records: Records, audit: AuditLog, epoch_ms: Callable[[], int]
    ) -> AsyncGenerator[Vault]:
        """The vault while the body runs; one that is locked says so in the log, and keeps nothing."""
        keeper = key_vault(settings.vault)
        vault = cls(settings, records, audit, epoch_ms, keeper)
        if settings.vault.store == "embedded":
            await anyio.to_thread.run_sync(vault.unlock, settings)
        try:
            with vault.redactor.on_logs():
                yield vault
        finally:
            with anyio.CancelScope(shield=True):
                await vault.models.aclose()
                if keeper is not None:
                    await anyio.to_thread.run_sync(keeper.close)

    def unlock(self, settings: Settings) -> None:
        """Try the master key, and on this machine's first run make one. Blocks; says in the log what is wrong."""
        source = self.masters.source
        try:
            if isinstance(source, KeyFile) and settings.loopback and not source.read() and not self._is_sealed():
                source.create()
                logger.warning(
                    "made a master key for provider keys: keep a copy, without it they cannot be read",
                    extra={"file": source.name},
                )
            if self.masters.newest() is None and not self._is_sealed():
                return  # nobody keeps keys here; who wants to is told then
            with self._records.write() as connection:
                sealing_key(connection, self.masters, self._epoch_ms())
        except VaultError as error:
            logger.warning("the vault is locked", extra={"reason": str(error)})

    async def tend(self) -> None:
        """Keep what is at hand true, until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.keys.tend)
            tasks.start_soon(self.models.tend)

    # --- what routes ask ---

    async def add(self, act: Act, new: NewKey, secret: str) -> ProviderKey:
        """Check a key and keep it."""
        self.redactor.learn(secret)
        await self._must_work(act, new, secret)
        try:
            key = await self.store.add(act, new, secret, self._settings.max_keys)
        except VaultError as error:
            raise refused(error) from error
        await self.keys.renew(act.tenant_id)
        return key

    async def rotate(self, act: Act, key_id: str, secret: str) -> ProviderKey:
        """Check another secret for a key, and keep it instead."""
        self.redactor.learn(secret)
        try:
            before = (await self.store.stored(act.tenant_id, key_id)).key
            await self._must_work(act, NewKey(before.provider, before.label, before.place), secret)
            key = await self.store.rotate(act, key_id, secret)
        except VaultError as error:
            raise refused(error) from error
        await self.keys.renew(act.tenant_id)
        return key

    async def check(self, act: Act, key_id: str) -> tuple[ProviderKey, Checked]:
        """Ask the provider with a kept key, and note what came of it."""
        try:
            stored = await self.store.stored(act.tenant_id, key_id)
            secret = await self.store.reveal(stored)
            self.redactor.learn(secret)
            checked = await self._check(act, NewKey(stored.key.provider, stored.key.label, stored.key.place), secret)
            if checked.is_good or checked.verdict == "rejected":
                status = "active" if checked.is_good else "rejected"
                await self.store.mark(act, stored.key, status, checked=True)
            key = (await self.store.stored(act.tenant_id, key_id)).key
        except VaultError as error:
            raise refused(error) from error
        await self.keys.renew(act.tenant_id)
        return key, checked

    async def delete(self, act: Act, key_id: str) -> None:
        """Forget a key."""
        try:
            await self.store.delete(act, key_id)
        except VaultError as error:
            raise refused(error) from error
        await self.keys.renew(act.tenant_id)

    async def list(self, tenant_id: str) -> tuple[ProviderKey, ...]:
        """A tenant's keys, without what they are."""
        return tuple(stored.key for stored in await self.store.list(tenant_id))

    async def get(self, tenant_id: str, key_id: str) -> ProviderKey:
        """One of them."""
        try:
            return (await self.store.stored(tenant_id, key_id)).key
        except VaultError as error:
            raise refused(error) from error

    async def _must_work(self, act: Act, new: NewKey, secret: str) -> None:
        checked = await self._check(act, new, secret)
        if not checked.is_good:
            raise Refused(_REFUSALS[checked.verdict], checked.message, details={"check": checked.verdict})

    async def _check(self, act: Act, new: NewKey, secret: str) -> Checked:
        self._count(act.tenant_id)
        async with self._checking:
            return await self._checks.check(new.provider, new.place, secret)

    def _count(self, tenant_id: str) -> None:
        """A tenant may have so many checks a minute: each makes this server connect where it is told."""
        now_s = time.monotonic()
        for other in [each for each, times in self._checked_at_s.items() if times and times[-1] < now_s - MINUTE_S]:
            del self._checked_at_s[other]
        times = self._checked_at_s.setdefault(tenant_id, deque())
        while times and times[0] < now_s - MINUTE_S:
            times.popleft()
        if len(times) >= self._settings.checks_per_minute:
            raise Refused(ErrorCode.RATE_LIMITED, retry_after_s=MINUTE_S - (now_s - times[0]))
        times.append(now_s)

    def _is_sealed(self) -> bool:
        """Whether the records hold anything that needs a master key."""
        with self._records.read() as connection:
            return holds_secrets(connection)


def master_key_source(settings: Settings, keeper: KeyVault | None) -> MasterKeySource:
    """Where the settings have the master key."""
    chosen = settings.vault
    if chosen.master_keys:
        return GivenKeys(chosen)
    if chosen.master_key_secret is not None and keeper is not None:
        return KeyVaultMasterKeys(keeper, chosen.master_key_secret)
    return KeyFile(chosen.key_file(settings.data_dir))


def refused(error: VaultError) -> Refused:
    """The contract's words for what the vault raises."""
    match error:
        case KeyUnknown():
            return Refused(ErrorCode.REQUEST_INVALID, str(error), http_status=404)
        case TooManyKeys():
            return Refused(ErrorCode.QUOTA_EXCEEDED, str(error))
        case SecretGone():
            return Refused(ErrorCode.REQUEST_INVALID, f"The key cannot be used: {error}.", http_status=404)
        case VaultLocked():
            words = "This server cannot keep provider keys: its operator has to see to the vault's master key."
            logger.warning("the vault is locked", extra={"reason": str(error)})
            return Refused(ErrorCode.SERVER_OVERLOADED, words, retry_after_s=RETRY_AFTER_S)
        case _:
            logger.warning("the vault fails", extra={"reason": str(error)})
            words = "The provider keys cannot be reached at the moment."
            return Refused(ErrorCode.SERVER_OVERLOADED, words, retry_after_s=RETRY_AFTER_S)
