"""How the vault stands, for the operator: where the master key is, and whether what is kept opens. Blocks.

Driven by ``convergio-voice vault`` and by ``doctor``. Asks no provider, and no Key Vault for tenants' secrets.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from metering.records import Records
from server.settings import Settings
from server.vault.envelope import Place, Sealed, unseal
from server.vault.errors import VaultError
from server.vault.master_keys import MasterKeys
from server.vault.provider_keys import ProviderKey, provider_key
from server.vault.rotation import primary_id
from server.vault.tables import KEYS, MASTERS


@dataclass(frozen=True, slots=True)
class VaultStatus:
    """``rotating``: a change of the master key was not finished. ``broken``: ids of keys that do not open."""

    store: str
    master_key: str
    master_key_id: str | None
    keys: int
    rejected: int
    in_key_vault: int
    rotating: bool
    broken: tuple[str, ...]
    problem: str | None

    @property
    def is_well(self) -> bool:
        """Whether everything opens."""
        return self.problem is None and not self.broken

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self) | {"well": self.is_well}

    def lines(self) -> list[str]:
        """For people."""
        where = f"in {self.master_key}" if self.master_key_id is not None else f"none yet ({self.master_key})"
        told = [f"{self.keys} provider keys, {self.in_key_vault} of them in the Key Vault, {self.rejected} rejected"]
        told.append(f"master key: {self.master_key_id or ''} {where}".replace("  ", " "))
        if self.rotating:
            told.append("a change of the master key was not finished: convergio-voice vault rotate")
        if self.problem is not None:
            told.append(f"locked: {self.problem}")
        told += [f"{key_id} does not open: delete it and have its tenant store it again" for key_id in self.broken]
        return told


def vault_status(settings: Settings, records: Records, masters: MasterKeys) -> VaultStatus:
    """See ``VaultStatus``. Raises RecordsError."""
    with records.read() as connection:
        rows = connection.execute(sa.select(KEYS).where(KEYS.c.status != "deleting")).mappings().all()
        known = connection.execute(sa.select(sa.func.count()).select_from(MASTERS)).scalar_one()
        primary = primary_id(connection)
    problem: str | None = None
    broken: list[str] = []
    try:
        masters.newest()
        if primary is not None:
            masters.key(primary)
    except VaultError as error:
        problem = str(error)
    for row in rows if problem is None else ():
        if row["secret_id"] is not None:
            continue
        sealed = Sealed(row["master_key_id"], bytes(row["wrapped_key"]), bytes(row["body"]))
        try:
            unseal(masters.key(sealed.master_key_id), sealed, Place(row["tenant_id"], row["key_id"], row["version"]))
        except VaultError:
            broken.append(row["key_id"])
    return VaultStatus(
        settings.vault.store,
        masters.source.name,
        primary,
        len(rows),
        sum(row["status"] == "rejected" for row in rows),
        sum(row["secret_id"] is not None for row in rows),
        known > 1,
        tuple(broken),
        problem,
    )


def all_keys(records: Records, tenant_id: str | None = None) -> list[ProviderKey]:
    """Every key there is, or one tenant's. Raises RecordsError."""
    question = sa.select(KEYS).where(KEYS.c.status != "deleting").order_by(KEYS.c.tenant_id, KEYS.c.created_at_ms)
    if tenant_id is not None:
        question = question.where(KEYS.c.tenant_id == tenant_id)
    with records.read() as connection:
        return [provider_key(row) for row in connection.execute(question).mappings()]
