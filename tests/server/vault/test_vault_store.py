"""Keys at rest, on SQLite and PostgreSQL: sealed to their place, opened by the right master key only, and wrapped anew
by a rotation that may end at any step and is taken up again."""

from __future__ import annotations

import itertools
import os
import random
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlalchemy as sa

from metering.records import Records
from server.audit import AUDIT, AuditLog
from server.guard import LOCAL_USER, Identity
from server.vault import VAULT
from server.vault.envelope import MasterKey, Place, check_value, fits, new_master_key, rewrap, seal, unseal
from server.vault.errors import KeyUnknown, SecretUnreadable, TooManyKeys, VaultLocked
from server.vault.master_keys import GivenKeys, KeyFile, MasterKeys
from server.vault.provider_keys import KeyPlace, NewKey
from server.vault.rotation import rotate
from server.vault.store import Act, KeyStore
from server.vault.tables import KEYS, MASTERS
from server.vault_settings import VaultSettings

PLACE = Place("school", "pk_1", 1)
NEW = NewKey("openai-compatible", "ours", KeyPlace(base_url="https://models.example.org/v1", model="any"))
SECRET = "sk-canary-at-rest-4f1e"
CLOCK = itertools.count(1)
ACT = Act(Identity("school", "user_ada"), "school", "req_1")


@pytest.fixture(params=["sqlite", "postgres"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Records]:
    if request.param == "sqlite":
        opened = Records.in_file(tmp_path / "records.sqlite3")
    else:
        url: str = request.getfixturevalue("postgres").database()
        opened = Records("postgresql+psycopg" + url.removeprefix("postgresql"))
    opened.migrate([AUDIT, VAULT])
    yield opened
    opened.close()


@pytest.fixture
def key_file(tmp_path: Path) -> KeyFile:
    file = KeyFile(tmp_path / "vault.key")
    file.create()
    return file


def store_of(records: Records, source: Any) -> KeyStore:
    return KeyStore(records, AuditLog(records, lambda: 1), MasterKeys(source), CLOCK.__next__)


async def opened_by(store: KeyStore, tenant_id: str = "school") -> list[str]:
    return [await store.reveal(stored) for stored in await store.list(tenant_id)]


def change(records: Records, source: Any) -> Any:
    return rotate(records, MasterKeys(source), AuditLog(records, lambda: 1), LOCAL_USER, lambda: 1)


# --- the envelope ---


@pytest.mark.parametrize("secret", ["k", SECRET, "ü" * 500])
def test_what_is_sealed_opens_with_the_same_key_at_the_same_place_only(secret: str) -> None:
    master = new_master_key()
    sealed = seal(master, secret, PLACE)
    assert unseal(master, sealed, PLACE) == secret
    for elsewhere in (replace(PLACE, tenant_id="clinic"), replace(PLACE, key_id="pk_2"), replace(PLACE, version=2)):
        with pytest.raises(SecretUnreadable):
            unseal(master, sealed, elsewhere)
    with pytest.raises(SecretUnreadable):
        unseal(new_master_key(), sealed, PLACE)


@pytest.mark.parametrize("part", ["wrapped_key", "body"])
def test_one_changed_bit_anywhere_and_it_does_not_open(part: str) -> None:
    master = new_master_key()
    sealed = seal(master, SECRET, PLACE)
    value: bytes = getattr(sealed, part)
    for at in range(len(value)):
        bent = value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
        with pytest.raises(SecretUnreadable):
            unseal(master, replace(sealed, **{part: bent}), PLACE)
    for short in (b"", value[:5], value[:-1]):
        with pytest.raises(SecretUnreadable):
            unseal(master, replace(sealed, **{part: short}), PLACE)


def test_sealing_twice_shows_nothing_and_rewrapping_leaves_the_secret_as_it_is() -> None:
    old, new = new_master_key(), new_master_key()
    one, two = seal(old, SECRET, PLACE), seal(old, SECRET, PLACE)
    assert one.body != two.body
    assert one.wrapped_key != two.wrapped_key
    again = rewrap(old, new, one, PLACE)
    assert (again.body, again.master_key_id) == (one.body, new.id)
    assert unseal(new, again, PLACE) == SECRET
    with pytest.raises(SecretUnreadable):
        unseal(old, again, PLACE)


def test_a_master_key_is_told_from_others_and_never_shown() -> None:
    key, other = new_master_key(), new_master_key()
    assert fits(key, check_value(key))
    assert not fits(other, check_value(key))
    assert key.value.hex() not in repr(key)
    assert repr(key.value) not in repr(key)
    with pytest.raises(ValueError, match="32 bytes"):
        MasterKey(b"short")


# --- master keys ---


def test_a_file_of_master_keys_is_its_owners_only(tmp_path: Path, key_file: KeyFile) -> None:
    path = tmp_path / "vault.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (key,) = key_file.read()
    assert key_file.create().id == key.id, "who comes second has the first one's"
    path.chmod(0o640)
    with pytest.raises(VaultLocked, match="chmod 600"):
        key_file.read()
    path.chmod(0o600)
    path.write_text("not a key\n")
    with pytest.raises(VaultLocked, match="base64"):
        key_file.read()
    assert [each.name for each in tmp_path.iterdir() if each.name.endswith("vault.key")] == ["vault.key"]


# --- in the records ---


async def test_a_key_is_kept_sealed_and_given_back_to_its_tenant(records: Records, key_file: KeyFile) -> None:
    store = store_of(records, key_file)
    key = await store.add(ACT, NEW, SECRET, 5)
    assert await opened_by(store) == [SECRET]
    assert (await store.stored("school", key.key_id)).key == key
    with records.read() as connection:
        row = connection.execute(sa.select(KEYS)).mappings().one()
    assert SECRET not in repr(dict(row))
    with pytest.raises(KeyUnknown):
        await store.stored("clinic", key.key_id)
    assert await store.list("clinic") == ()


async def test_a_row_moved_to_another_tenant_does_not_open_there(records: Records, key_file: KeyFile) -> None:
    store = store_of(records, key_file)
    await store.add(ACT, NEW, SECRET, 5)
    with records.write() as connection:
        connection.execute(sa.update(KEYS).values(tenant_id="clinic"))
    (moved,) = await store.list("clinic")
    with pytest.raises(SecretUnreadable):
        await store.reveal(moved)


async def test_rotating_a_key_replaces_it_and_deleting_it_leaves_nothing(records: Records, key_file: KeyFile) -> None:
    store = store_of(records, key_file)
    key = await store.add(ACT, NEW, SECRET, 5)
    changes = await store.changes()
    after = await store.rotate(ACT, key.key_id, "another-secret")
    assert (after.version, await opened_by(store)) == (2, ["another-secret"])
    await store.delete(ACT, key.key_id)
    assert await store.list("school") == ()
    with pytest.raises(KeyUnknown):
        await store.delete(ACT, key.key_id)
    assert await store.changes() == changes + 2
    with records.read() as connection:
        assert connection.execute(sa.select(KEYS)).all() == []


async def test_of_many_at_once_no_more_are_kept_than_may_be(records: Records, key_file: KeyFile) -> None:
    store = store_of(records, key_file)
    refused: list[TooManyKeys] = []

    async def add() -> None:
        try:
            await store.add(ACT, NEW, SECRET, 3)
        except TooManyKeys as error:
            refused.append(error)

    await store.add(ACT, NEW, SECRET, 3)
    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(add)
    assert (len(await store.list("school")), len(refused)) == (3, 6)


async def test_with_another_master_key_nothing_is_opened_and_nothing_sealed(
    records: Records, key_file: KeyFile, tmp_path: Path
) -> None:
    await store_of(records, key_file).add(ACT, NEW, SECRET, 5)
    wrong = KeyFile(tmp_path / "other.key")
    wrong.create()
    store = store_of(records, wrong)
    (stored,) = await store.list("school")
    with pytest.raises(VaultLocked):
        await store.reveal(stored)
    with pytest.raises(VaultLocked):
        await store.add(ACT, NEW, SECRET, 5)
    assert len(await store.list("school")) == 1


# --- another master key ---


async def test_a_rotation_wraps_every_key_anew_under_a_server_that_goes_on(records: Records, key_file: KeyFile) -> None:
    server = store_of(records, key_file)
    for number in range(7):
        await server.add(ACT, NEW, f"{SECRET}-{number}", 50)
    (old,) = key_file.read()
    done = await anyio.to_thread.run_sync(change, records, key_file)
    assert (done.rewrapped, done.resumed, done.left_over) == (7, False, None)
    (new,) = key_file.read()
    assert new.id == done.master_key_id != old.id
    assert await opened_by(server) == [f"{SECRET}-{number}" for number in range(7)], "it reads the file again"
    await server.add(ACT, NEW, SECRET, 50)
    with records.read() as connection:
        assert set(connection.execute(sa.select(KEYS.c.master_key_id)).scalars()) == {new.id}
        assert list(connection.execute(sa.select(MASTERS.c.master_key_id)).scalars()) == [new.id]


class _Died(Exception):
    """The process is gone."""


class Mortal(KeyFile):
    """A source whose process ends before the step of that number."""

    def __init__(self, path: Path, dies_at: int) -> None:
        super().__init__(path)
        self._left = dies_at

    def _step(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise _Died

    def read(self) -> tuple[MasterKey, ...]:
        self._step()
        return super().read()

    def add(self, key: MasterKey) -> None:
        self._step()
        KeyFile(self._path).add(key)

    def keep_only(self, key_id: str) -> None:
        self._step()
        KeyFile(self._path).keep_only(key_id)


async def test_a_rotation_that_ended_at_any_step_is_finished_by_the_next(
    records: Records, key_file: KeyFile, tmp_path: Path
) -> None:
    store = store_of(records, key_file)
    await store.add(ACT, NEW, SECRET, 50)
    for dies_at in range(12):
        try:
            change(records, Mortal(tmp_path / "vault.key", dies_at))
        except _Died:
            assert await opened_by(store_of(records, key_file)) == [SECRET]
            await store_of(records, key_file).rotate(ACT, (await store.list("school"))[0].key.key_id, SECRET)
            done = change(records, key_file)
            assert done.left_over is None
        else:
            break
    else:
        pytest.fail("it never comes to its end")
    assert len(key_file.read()) == 1
    assert await opened_by(store_of(records, key_file)) == [SECRET]


async def test_keys_of_the_settings_are_changed_by_the_operator_with_both_at_hand_meanwhile(records: Records) -> None:
    first, second = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=", "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI="
    before = GivenKeys(VaultSettings(master_keys=(first,)))  # type: ignore[arg-type]
    both = GivenKeys(VaultSettings(master_keys=(second, first)))  # type: ignore[arg-type]
    await store_of(records, before).add(ACT, NEW, SECRET, 5)
    with pytest.raises(VaultLocked, match="in front of"):
        change(records, before)
    assert await opened_by(store_of(records, both)) == [SECRET]
    done = change(records, both)
    assert (done.rewrapped, done.left_over) == (1, "take the old keys out of vault.master_keys")
    after = GivenKeys(VaultSettings(master_keys=(second,)))  # type: ignore[arg-type]
    assert await opened_by(store_of(records, after)) == [SECRET]


async def test_kill_minus_nine_in_the_middle_loses_no_key(tmp_path: Path) -> None:
    """The command itself, killed again and again at moments of chance while a server goes on reading and writing."""
    records = Records.in_file(tmp_path / "records.sqlite3")
    records.migrate([AUDIT, VAULT])
    source = KeyFile(tmp_path / "vault.key")
    source.create()
    store = store_of(records, source)
    secrets = [f"{SECRET}-{number}" for number in range(250)]
    for secret in secrets:
        await store.add(ACT, NEW, secret, 1_000)
    command = [sys.executable, "-c", "from server.cli.main import main; main()", "vault", "rotate"]
    command += ["--data-dir", str(tmp_path)]
    chance, killed = random.Random(4), 0
    for _ in range(6):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, **quiet)  # noqa: ASYNC220 - it returns at once
        began = (await opened_by(store))[:1]
        assert began == secrets[:1]
        while len(source.read()) == 1 and process.poll() is None:  # noqa: ASYNC110 - another process's doing
            await anyio.sleep(0.001)  # it has begun once there are two keys
        await anyio.sleep(chance.uniform(0, 0.06))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.wait(30)
        assert sorted(await opened_by(store_of(records, source))) == sorted(secrets)
        secrets.append(f"{SECRET}-more-{len(secrets)}")
        await store.add(ACT, NEW, secrets[-1], 1_000)
    done = await anyio.to_thread.run_sync(change, records, source)
    assert done.left_over is None
    assert len(source.read()) == 1
    assert sorted(await opened_by(store)) == sorted(secrets)
    assert killed > 0
    assert await AuditLog(records, lambda: 1).verify() is None
    assert not [name for name in os.listdir(tmp_path) if SECRET in (tmp_path / name).read_bytes().decode("latin-1")]
    records.close()
