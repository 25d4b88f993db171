"""Which master key seals, and how it is changed without a pause: step by step, each of which may be the last.

The records name the primary key; servers hold whatever their source gives. To rotate: a new key goes into the source,
then it becomes primary, then every data key is wrapped anew, batch by batch, then the old key is forgotten, by the
records first and by the source last. Until then both are at hand, so every row opens at any moment, and whoever takes
up a rotation that was broken off (kill -9) sees from source and records what is left to be done. Blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from metering.records import Records
from server.audit import AuditEntry, AuditLog
from server.guard import Identity
from server.vault.envelope import MasterKey, Place, Sealed, check_value, fits, new_master_key, rewrap
from server.vault.errors import VaultLocked
from server.vault.master_keys import MasterKeys
from server.vault.tables import KEYS, MASTERS

BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class Rotation:
    """What came of it. ``left_over``: what the operator still has to do, in words."""

    master_key_id: str
    rewrapped: int
    resumed: bool
    left_over: str | None = None


def primary_id(connection: sa.Connection, *, lock: bool = False) -> str | None:
    """The id of the key that seals; with ``lock`` it stays that until the transaction ends."""
    question = sa.select(MASTERS.c.master_key_id).where(MASTERS.c.is_primary.is_(True))
    if lock:
        question = question.with_for_update(read=True)
    return connection.execute(question).scalar()


def holds_secrets(connection: sa.Connection) -> bool:
    """Whether anything here needs a master key."""
    return primary_id(connection) is not None


def sealing_key(connection: sa.Connection, masters: MasterKeys, now_ms: int) -> MasterKey:
    """The key to seal with in this transaction, which may write; the first one ever is entered here.

    Raises VaultLocked, VaultUnavailable.
    """
    found = primary_id(connection, lock=True)
    if found is not None:
        return _checked(connection, masters.key(found))
    newest = masters.newest()
    if newest is None:
        raise VaultLocked("there is no master key")
    _enter(connection, newest, now_ms)
    return newest


def rotate(
    records: Records,
    masters: MasterKeys,
    audit: AuditLog,
    actor: Identity,
    epoch_ms: Callable[[], int],
) -> Rotation:
    """Change the master key, or finish a change that was broken off. Raises VaultError, RecordsError."""
    source = masters.source
    newest = masters.newest()
    if newest is None:
        raise VaultLocked("there is no master key yet: nothing to rotate")
    with records.write() as connection:
        sealing_key(connection, masters, epoch_ms())  # it fits, or we go no further
        known = _known(connection)
    resumed = newest.id not in known or len(known) > 1
    if not resumed:
        newest = new_master_key()
        source.add(newest)
        masters.newest()
    with records.write() as connection:
        if primary_id(connection, lock=True) != newest.id:
            _enter(connection, newest, epoch_ms())
            audit.append(connection, AuditEntry(actor, "vault.rotation_begun", actor.tenant_id, newest.id))
    rewrapped = 0
    while (done := _rewrap_some(records, masters, newest)) > 0:
        rewrapped += done
    with records.write() as connection:
        connection.execute(
            sa.delete(MASTERS).where(
                MASTERS.c.master_key_id != newest.id,
                ~sa.exists().where(KEYS.c.master_key_id == MASTERS.c.master_key_id),
            )
        )
        audit.append(
            connection,
            AuditEntry(
                actor, "vault.rotated", actor.tenant_id, newest.id, {"rewrapped": rewrapped, "resumed": resumed}
            ),
        )
    return Rotation(newest.id, rewrapped, resumed, _forget(masters, newest))


def _forget(masters: MasterKeys, newest: MasterKey) -> str | None:
    """Old keys leave the source; in words, why not."""
    if len(masters.source.read()) == 1:
        return None
    try:
        masters.source.keep_only(newest.id)
    except VaultLocked as error:
        return str(error)
    return None


def _rewrap_some(records: Records, masters: MasterKeys, newest: MasterKey) -> int:
    """The next rows that another key wraps, in one transaction; how many there were."""
    question = (
        sa.select(KEYS)
        .where(KEYS.c.master_key_id.is_not(None), KEYS.c.master_key_id != newest.id)
        .order_by(KEYS.c.key_id)
        .limit(BATCH)
        .with_for_update()
    )
    with records.write() as connection:
        rows = connection.execute(question).mappings().all()
        for row in rows:
            place = Place(row["tenant_id"], row["key_id"], row["version"])
            sealed = Sealed(row["master_key_id"], row["wrapped_key"], row["body"])
            again = rewrap(masters.key(sealed.master_key_id), newest, sealed, place)
            values = {"master_key_id": again.master_key_id, "wrapped_key": again.wrapped_key}
            connection.execute(sa.update(KEYS).where(KEYS.c.key_id == row["key_id"]).values(**values))
    return len(rows)


def _known(connection: sa.Connection) -> set[str]:
    return set(connection.execute(sa.select(MASTERS.c.master_key_id)).scalars())


def _enter(connection: sa.Connection, key: MasterKey, now_ms: int) -> None:
    """A key becomes primary."""
    connection.execute(sa.update(MASTERS).where(MASTERS.c.is_primary.is_(True)).values(is_primary=False))
    if key.id in _known(connection):
        connection.execute(sa.update(MASTERS).where(MASTERS.c.master_key_id == key.id).values(is_primary=True))
        return
    values = {"check_value": check_value(key), "is_primary": True, "created_at_ms": now_ms}
    connection.execute(sa.insert(MASTERS).values(master_key_id=key.id, **values))


def _checked(connection: sa.Connection, key: MasterKey) -> MasterKey:
    check = connection.execute(sa.select(MASTERS.c.check_value).where(MASTERS.c.master_key_id == key.id)).scalar()
    if check is None or not fits(key, bytes(check)):
        raise VaultLocked(f"the master key {key.id} is not the one the records were sealed with")
    return key
