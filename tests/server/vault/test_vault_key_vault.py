"""Azure Key Vault through Microsoft's own SDK, against a stand-in on loopback: where secrets are kept whole and the
records have only their ids, and where the master key may be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from metering.records import Records
from server.audit import AUDIT, AuditLog
from server.guard import LOCAL_USER, Identity
from server.vault import VAULT
from server.vault.envelope import new_master_key
from server.vault.errors import SecretGone, VaultUnavailable
from server.vault.key_vault import KeyVault, KeyVaultMasterKeys
from server.vault.master_keys import KeyFile, MasterKeys
from server.vault.provider_keys import KeyPlace, NewKey
from server.vault.redaction import Redactor
from server.vault.rotation import rotate
from server.vault.store import Act, KeyStore
from server.vault.tables import KEYS
from server.vault.tenant_keys import TenantKeys
from server.vault_settings import VaultSettings
from tests.server.vault.key_vault_stand_in import StandIn, StaticCredential, key_vault_here

pytest.importorskip("azure.keyvault.secrets", reason="the Key Vault SDK is not installed (extra: azure)")

SECRET = "sk-canary-in-the-key-vault"
NEW = NewKey("openai-compatible", "ours", KeyPlace(base_url="https://models.example.org/v1", model="any"))
ACT = Act(Identity("school", "user_ada"), "school")


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[StandIn]:
    with key_vault_here(tmp_path) as here:
        yield here


@pytest.fixture
def key_vault(stand_in: StandIn) -> Iterator[KeyVault]:
    vault = KeyVault(stand_in.url, credential=StaticCredential(), options=stand_in.options)
    yield vault
    vault.close()


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    opened = Records.in_file(tmp_path / "records.sqlite3")
    opened.migrate([AUDIT, VAULT])
    yield opened
    opened.close()


@pytest.fixture
def store(records: Records, key_vault: KeyVault, tmp_path: Path) -> KeyStore:
    masters = MasterKeys(KeyFile(tmp_path / "none.key"))
    return KeyStore(records, AuditLog(records, lambda: 1), masters, lambda: 1, key_vault)


def keys_of(store: KeyStore, now_s: list[float]) -> TenantKeys:
    settings = VaultSettings(secret_life_s=60, outage_s=600, refresh_s=1)
    return TenantKeys(store, settings, Redactor(), lambda: 1, lambda: now_s[0])


async def test_only_the_secrets_id_is_in_the_records_and_the_challenge_is_answered(
    store: KeyStore, records: Records, stand_in: StandIn
) -> None:
    await store.add(ACT, NEW, SECRET, 5)
    assert stand_in.challenged > 0
    with records.read() as connection:
        row = dict(connection.execute(sa.select(KEYS)).mappings().one())
    assert (row["body"], row["wrapped_key"], row["master_key_id"]) == (None, None, None)
    assert row["secret_id"].startswith(f"{stand_in.url}/secrets/convergio-pk-")
    assert SECRET not in repr(row)
    (stored,) = await store.list("school")
    assert await store.reveal(stored) == SECRET


async def test_a_rotation_is_a_new_version_and_a_deletion_deletes(store: KeyStore, stand_in: StandIn) -> None:
    key = await store.add(ACT, NEW, SECRET, 5)
    await store.rotate(ACT, key.key_id, "another")
    assert [version.value for version in stand_in.only().values()] == [SECRET, "another"]
    (stored,) = await store.list("school")
    assert await store.reveal(stored) == "another"
    await store.delete(ACT, key.key_id)
    assert stand_in.secrets == {}
    assert await store.list("school") == ()


async def test_a_key_is_deleted_at_once_though_the_key_vault_is_down_and_there_later(
    store: KeyStore, records: Records, stand_in: StandIn
) -> None:
    key = await store.add(ACT, NEW, SECRET, 5)
    stand_in.fault = "outage"
    await store.delete(ACT, key.key_id)
    assert await store.list("school") == ()
    await store.sweep()
    assert stand_in.secrets != {}
    stand_in.fault = None
    await store.sweep()
    assert stand_in.secrets == {}
    with records.read() as connection:
        assert connection.execute(sa.select(KEYS)).all() == []


async def test_a_key_that_is_rotated_into_the_records_leaves_nothing_in_the_key_vault(
    store: KeyStore, records: Records, key_vault: KeyVault, stand_in: StandIn, tmp_path: Path
) -> None:
    keys = [await store.add(ACT, NEW, SECRET, 5) for _ in range(2)]
    source = KeyFile(tmp_path / "master.key")
    source.create()
    embedded = KeyStore(records, AuditLog(records, lambda: 1), MasterKeys(source), lambda: 1, None, key_vault)
    await embedded.rotate(ACT, keys[0].key_id, "another")
    assert len(stand_in.secrets) == 1, "the other key's"
    stand_in.fault = "outage"
    await embedded.rotate(ACT, keys[1].key_id, "another")
    assert len(stand_in.secrets) == 1
    assert [await embedded.reveal(stored) for stored in await embedded.list("school")] == ["another", "another"]
    stand_in.fault = None
    await embedded.sweep()
    assert stand_in.secrets == {}
    with records.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(KEYS)).scalar_one() == len(keys)


@pytest.mark.parametrize("fault", ["outage", "throttled", "forbidden"])
async def test_an_outage_is_told_apart_from_a_secret_that_is_gone(
    store: KeyStore, stand_in: StandIn, fault: str
) -> None:
    await store.add(ACT, NEW, SECRET, 5)
    (stored,) = await store.list("school")
    stand_in.fault = fault
    with pytest.raises(VaultUnavailable) as told:
        await store.reveal(stored)
    assert told.value.retry_after_s == (7 if fault == "throttled" else None)
    with pytest.raises(VaultUnavailable):
        await store.add(ACT, NEW, SECRET, 5)
    assert SECRET not in str(told.value)
    assert len(await store.list("school")) == 1


async def test_a_secret_that_was_disabled_or_deleted_is_gone(store: KeyStore, stand_in: StandIn) -> None:
    await store.add(ACT, NEW, SECRET, 5)
    (stored,) = await store.list("school")
    for version in stand_in.only().values():
        version.enabled = False
    with pytest.raises(SecretGone):
        await store.reveal(stored)
    stand_in.secrets.clear()
    with pytest.raises(SecretGone):
        await store.reveal(stored)


async def test_sessions_go_on_through_an_outage_and_stop_when_the_secret_is_disabled(
    store: KeyStore, stand_in: StandIn
) -> None:
    now_s = [0.0]
    keys = keys_of(store, now_s)
    await store.add(ACT, NEW, SECRET, 5)
    assert [own.secret for own in await keys.of("school")] == [SECRET]
    asked = len(stand_in.requests)
    assert [own.secret for own in await keys.of("school")] == [SECRET]
    assert len(stand_in.requests) == asked, "at hand"
    stand_in.fault = "outage"
    for _ in range(3):
        now_s[0] += 50
        keys.held("school")
        await keys.refresh()
        assert [own.secret for own in await keys.of("school")] == [SECRET]
    stand_in.fault = None
    for version in stand_in.only().values():
        version.enabled = False
    for _ in range(2):
        now_s[0] += 40
        keys.held("school")
        await keys.refresh()
    assert keys.held("school") == ()


async def test_an_outage_of_the_key_vault_is_outlived_for_so_long_and_no_longer(
    store: KeyStore, stand_in: StandIn
) -> None:
    now_s = [0.0]
    keys = keys_of(store, now_s)
    await store.add(ACT, NEW, SECRET, 5)
    await keys.of("school")
    stand_in.fault = "outage"
    while now_s[0] < 590:
        now_s[0] += 50
        keys.held("school")
        await keys.refresh()
    assert len(await keys.of("school")) == 1
    now_s[0] += 50
    keys.held("school")
    await keys.refresh()
    with pytest.raises(VaultUnavailable):
        await keys.of("school")


async def test_nobody_waits_for_a_key_vault_that_says_nothing(
    store: KeyStore, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.add(ACT, NEW, SECRET, 5)
    (stored,) = await store.list("school")
    stand_in.fault = "silent"
    monkeypatch.setattr("server.vault.store.KEEPER_LIMIT_S", 0.2)
    with pytest.raises(VaultUnavailable, match="in time"):
        await store.reveal(stored)
    stand_in.closing.set()


async def test_a_secret_of_another_key_vault_is_never_asked_for(key_vault: KeyVault, stand_in: StandIn) -> None:
    with pytest.raises(SecretGone):
        key_vault.get("https://elsewhere.vault.azure.net/secrets/x/1")
    assert stand_in.requests == []


async def test_the_master_key_may_be_a_secret_whose_versions_are_its_rotations(
    records: Records, key_vault: KeyVault, stand_in: StandIn
) -> None:
    source = KeyVaultMasterKeys(key_vault, "convergio-master-key")
    source.add(new_master_key())
    audit = AuditLog(records, lambda: 1)
    store = KeyStore(records, audit, MasterKeys(source), lambda: 1)
    await store.add(ACT, NEW, SECRET, 5)
    done = rotate(records, MasterKeys(source), audit, LOCAL_USER, lambda: 1)
    assert done.rewrapped == 1
    assert done.left_over is not None
    assert "disable the older versions" in done.left_over
    first, _ = stand_in.only().values()
    first.enabled = False
    (stored,) = await store.list("school")
    assert await store.reveal(stored) == SECRET
    assert [key.id for key in source.read()] == [done.master_key_id]
