"""Provider keys in the records: written with their audit row in one transaction, read by their tenant only.

Owns sealing and opening. A secret goes in once and comes out only by ``reveal``, for whoever asks a provider with it.
Where a Key Vault keeps secrets, one is put there before its row is written, and taken out after a row says that it is
deleted; ``sweep`` takes up what was broken off in between. Every change counts in ``vault_changes``, so that other
servers see it. Knows no HTTP.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import anyio
import anyio.to_thread
import sqlalchemy as sa

from metering.records import Records
from server.audit import AuditEntry, AuditLog
from server.guard import Identity
from server.ids import new_id
from server.vault.envelope import Place, Sealed, fingerprint, seal, unseal
from server.vault.errors import KeyUnknown, SecretUnreadable, TooManyKeys, VaultError, VaultUnavailable
from server.vault.key_vault import SecretKeeper
from server.vault.master_keys import MasterKeys
from server.vault.provider_keys import KeyStatus, NewKey, ProviderKey, provider_key
from server.vault.rotation import sealing_key
from server.vault.tables import CHANGES, KEYS

logger = logging.getLogger(__name__)

KEEPER_THREADS: Final = 4
KEEPER_LIMIT_S: Final = 12.0
SWEEP_MOST: Final = 20


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key, and where its secret is: sealed here, or by its id in the Key Vault."""

    key: ProviderKey
    sealed: Sealed | None = field(default=None, repr=False)
    secret_id: str | None = None


@dataclass(frozen=True, slots=True)
class Act:
    """Who does something to a tenant's keys, in which request."""

    actor: Identity
    tenant_id: str
    request_id: str = ""

    def entry(self, action: str, key: ProviderKey) -> AuditEntry:
        """The audit row of it; it names the key by its fingerprint."""
        details = {
            "provider": key.provider,
            "label": key.label,
            "version": key.version,
            "fingerprint": key.fingerprint,
        }
        return AuditEntry(self.actor, f"provider_key.{action}", self.tenant_id, key.key_id, details, self.request_id)


class KeyStore:
    """See the module. Raises VaultError and RecordsError throughout."""

    def __init__(
        self,
        records: Records,
        audit: AuditLog,
        masters: MasterKeys,
        epoch_ms: Callable[[], int],
        keeper: SecretKeeper | None = None,
        reader: SecretKeeper | None = None,
    ) -> None:
        """``keeper`` keeps whole secrets elsewhere; without one they are sealed into the records. ``reader`` gives and
        deletes those that were kept elsewhere before."""
        self._records = records
        self._audit = audit
        self._masters = masters
        self._epoch_ms = epoch_ms
        self._keeper = keeper
        self._reader = keeper or reader
        self._threads: anyio.CapacityLimiter | None = None

    async def add(self, act: Act, new: NewKey, secret: str, most: int) -> ProviderKey:
        """Keep a key that was checked just now; a tenant may have ``most``."""
        key = ProviderKey(
            key_id=new_id("pk"),
            tenant_id=act.tenant_id,
            provider=new.provider,
            label=new.label,
            place=new.place,
            version=1,
            fingerprint=fingerprint(act.tenant_id, secret),
            status="active",
            created_by=act.actor.user_id,
            created_at_ms=self._epoch_ms(),
            checked_at_ms=self._epoch_ms(),
        )
        secret_id = await self._keep(key, secret)

        def insert(connection: sa.Connection) -> None:
            count = sa.select(sa.func.count()).select_from(KEYS).where(_of(act.tenant_id))
            _changed(connection)  # a lock, too: of two at once, the second counts the first
            if int(connection.execute(count).scalar() or 0) >= most:
                raise TooManyKeys(f"A tenant may keep {most} keys. Delete one first.")
            values = _values(key) | self._sealed(connection, key, secret, secret_id)
            connection.execute(sa.insert(KEYS).values(**values))
            self._audit.append(connection, act.entry("created", key))

        try:
            await self._records.run_write(insert)
        except BaseException:
            await self._let_go(secret_id)
            raise
        return key

    async def rotate(self, act: Act, key_id: str, secret: str) -> ProviderKey:
        """A new version of a key, whose secret was checked just now. The one before is gone."""
        stored = await self.stored(act.tenant_id, key_id)
        before = stored.key
        next_version = before.version + 1
        draft = replace(before, version=next_version, fingerprint=fingerprint(act.tenant_id, secret))
        secret_id = await self._keep(draft, secret)
        leaves = secret_id is None and stored.secret_id is not None
        left_id = f"{key_id}_left"

        def change(connection: sa.Connection) -> ProviderKey:
            _changed(connection)
            now_ms = self._epoch_ms()
            key = replace(draft, status="active", rotated_at_ms=now_ms, checked_at_ms=now_ms)
            values = _values(key) | self._sealed(connection, key, secret, secret_id)
            done = connection.execute(
                sa.update(KEYS)
                .where(_of(act.tenant_id), KEYS.c.key_id == key_id, KEYS.c.version == before.version)
                .values(**values)
            )
            if done.rowcount != 1:
                raise KeyUnknown("The key was changed or deleted meanwhile.")
            if secret_id is not None:  # which has the name of what was left there, if anything was
                connection.execute(sa.delete(KEYS).where(KEYS.c.key_id == left_id))
            elif leaves:  # for the sweep, should the Key Vault not answer now
                left = _values(replace(before, key_id=left_id, status="deleting"))
                connection.execute(sa.insert(KEYS).values(**left, secret_id=stored.secret_id))
            self._audit.append(connection, act.entry("rotated", key))
            return key

        key = await self._records.run_write(change)
        if leaves and await self._let_go(stored.secret_id):
            await self._forget(left_id)
        return key

    async def delete(self, act: Act, key_id: str) -> None:
        """Gone when this returns; a Key Vault that does not answer is asked again later."""

        def remove(connection: sa.Connection) -> str | None:
            _changed(connection)
            stored = _found(connection, act.tenant_id, key_id)
            mine = KEYS.c.key_id == key_id
            if stored.secret_id is None:
                connection.execute(sa.delete(KEYS).where(mine))
            else:
                connection.execute(sa.update(KEYS).where(mine).values(status="deleting"))
            self._audit.append(connection, act.entry("deleted", stored.key))
            return stored.secret_id

        secret_id = await self._records.run_write(remove)
        if secret_id is not None and await self._let_go(secret_id):
            await self._forget(key_id)

    async def mark(self, act: Act, key: ProviderKey, status: KeyStatus, *, checked: bool = False) -> bool:
        """What became of asking the provider with this version of a key. Whether its status is another now."""

        def update(connection: sa.Connection) -> bool:
            same = (_of(act.tenant_id), KEYS.c.key_id == key.key_id, KEYS.c.version == key.version)
            if checked:
                connection.execute(sa.update(KEYS).where(*same).values(checked_at_ms=self._epoch_ms()))
            done = connection.execute(sa.update(KEYS).where(*same, KEYS.c.status != status).values(status=status))
            if done.rowcount:
                _changed(connection)
                self._audit.append(connection, act.entry("rejected" if status == "rejected" else "accepted", key))
            return bool(done.rowcount)

        return await self._records.run_write(update)

    async def used(self, at_ms: Mapping[str, int]) -> None:
        """When keys were used last, by key id."""

        def update(connection: sa.Connection) -> None:
            for key_id, last_ms in sorted(at_ms.items()):
                connection.execute(sa.update(KEYS).where(KEYS.c.key_id == key_id).values(last_used_ms=last_ms))

        if at_ms:
            await self._records.run_write(update)

    async def list(self, tenant_id: str) -> tuple[StoredKey, ...]:
        """A tenant's keys, the first one made first."""
        question = sa.select(KEYS).where(_of(tenant_id)).order_by(KEYS.c.created_at_ms, KEYS.c.key_id)
        rows = await self._records.run_read(lambda connection: connection.execute(question).mappings().all())
        return tuple(_stored(row) for row in rows)

    async def stored(self, tenant_id: str, key_id: str) -> StoredKey:
        """One key of a tenant's. Raises KeyUnknown."""
        return await self._records.run_read(lambda connection: _found(connection, tenant_id, key_id))

    async def changes(self) -> int:
        """A number that is another after every change, whoever made it."""
        return await self._records.run_read(
            lambda connection: int(connection.execute(sa.select(CHANGES.c.n)).scalar_one())
        )

    async def reveal(self, stored: StoredKey) -> str:
        """The secret."""
        if stored.secret_id is not None:
            if self._reader is None:
                raise VaultUnavailable("the key is in a Key Vault, and vault.key_vault_url names none")
            keeper, secret_id = self._reader, stored.secret_id
            return await self._in_thread(lambda: keeper.get(secret_id))
        sealed = stored.sealed
        if sealed is None:
            raise SecretUnreadable("the key's row has no secret")
        masters, place = self._masters, _place(stored.key)
        return await self._in_thread(lambda: unseal(masters.key(sealed.master_key_id), sealed, place))

    async def sweep(self) -> None:
        """Take out of the Key Vault what was deleted while it did not answer."""
        question = sa.select(KEYS).where(KEYS.c.status == "deleting").limit(SWEEP_MOST)
        rows = await self._records.run_read(lambda connection: connection.execute(question).mappings().all())
        for stored in map(_stored, rows):
            if await self._let_go(stored.secret_id):
                await self._forget(stored.key.key_id)

    # --- secrets ---

    def _sealed(
        self, connection: sa.Connection, key: ProviderKey, secret: str, secret_id: str | None
    ) -> dict[str, Any]:
        if secret_id is not None:
            return {"secret_id": secret_id, "master_key_id": None, "wrapped_key": None, "body": None}
        sealed = seal(sealing_key(connection, self._masters, self._epoch_ms()), secret, _place(key))
        return {
            "secret_id": None,
            "master_key_id": sealed.master_key_id,
            "wrapped_key": sealed.wrapped_key,
            "body": sealed.body,
        }

    async def _keep(self, key: ProviderKey, secret: str) -> str | None:
        if self._keeper is None:
            return None
        keeper, name = self._keeper, f"convergio-{key.key_id.replace('_', '-')}"
        tags = {"convergio-tenant": key.tenant_id, "convergio-provider": key.provider}
        return await self._in_thread(lambda: keeper.put(name, secret, tags))

    async def _let_go(self, secret_id: str | None) -> bool:
        """Whether the Key Vault has it no more."""
        if secret_id is None or self._reader is None:
            return secret_id is None
        keeper = self._reader
        with anyio.CancelScope(shield=True):  # bounded inside
            try:
                await self._in_thread(lambda: keeper.delete(secret_id))
            except VaultError as error:
                logger.warning("a secret stays in the Key Vault for now", extra={"reason": str(error)})
                return False
        return True

    async def _forget(self, key_id: str) -> None:
        gone = sa.delete(KEYS).where(KEYS.c.key_id == key_id, KEYS.c.status == "deleting")
        await self._records.run_write(lambda connection: connection.execute(gone).rowcount)

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(KEEPER_THREADS)
        try:
            with anyio.fail_after(KEEPER_LIMIT_S):
                return await anyio.to_thread.run_sync(work, limiter=self._threads, abandon_on_cancel=True)
        except TimeoutError:
            raise VaultUnavailable("the vault does not answer in time") from None


def _of(tenant_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(KEYS.c.tenant_id == tenant_id, KEYS.c.status != "deleting")


def _found(connection: sa.Connection, tenant_id: str, key_id: str) -> StoredKey:
    question = sa.select(KEYS).where(_of(tenant_id), KEYS.c.key_id == key_id)
    row = connection.execute(question).mappings().first()
    if row is None:
        raise KeyUnknown("There is no provider key of that id.")
    return _stored(row)


def _stored(row: Mapping[Any, Any]) -> StoredKey:
    key = provider_key(row)
    if row["secret_id"] is not None:
        return StoredKey(key, None, row["secret_id"])
    return StoredKey(key, Sealed(row["master_key_id"], bytes(row["wrapped_key"]), bytes(row["body"])))


def _place(key: ProviderKey) -> Place:
    return Place(key.tenant_id, key.key_id, key.version)


def _values(key: ProviderKey) -> dict[str, Any]:
    values = {name: getattr(key, name) for name in ProviderKey.__slots__}
    return values | {"place": key.place.json()}


def _changed(connection: sa.Connection) -> None:
    connection.execute(sa.update(CHANGES).values(n=CHANGES.c.n + 1))
