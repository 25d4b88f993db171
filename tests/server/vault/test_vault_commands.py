"""``convergio-voice vault``, ``doctor``'s word on it, and where a master key comes from on a first run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from server.audit import AuditLog
from server.cli.main import run
from server.cli.vault_check import examine_vault
from server.guard import Identity
from server.offices import Offices, open_records
from server.settings import Settings, load_settings
from server.vault.errors import VaultLocked
from server.vault.master_keys import KeyFile, MasterKeys
from server.vault.provider_keys import KeyPlace, NewKey
from server.vault.store import Act, KeyStore

SECRET = "sk-canary-of-a-command"
ACT = Act(Identity("school", "user_ada"), "school")
NEW = NewKey("openai-compatible", "ours", KeyPlace(base_url="https://models.example.org/v1", model="any"))
OPEN_TO_ALL: dict[str, Any] = {"host": "0.0.0.0", "api_keys": ["a-long-random-secret"]}


async def first_run(settings: Settings) -> None:
    async with Offices.opened(settings, lambda: 1):
        pass


async def with_a_key(data_dir: Path) -> Settings:
    settings = load_settings(data_dir=data_dir)
    async with Offices.opened(settings, lambda: 1) as offices:
        await offices.vault.store.add(ACT, NEW, SECRET, 5)
    return settings


async def test_on_loopback_the_first_run_makes_a_master_key_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = load_settings(data_dir=tmp_path)
    await first_run(settings)
    assert "keep a copy" in caplog.text
    made = KeyFile(tmp_path / "vault.key").read()
    caplog.clear()
    await first_run(settings)
    assert KeyFile(tmp_path / "vault.key").read() == made
    assert caplog.text == ""


async def test_elsewhere_none_is_made_and_keys_are_not_kept_until_there_is_one(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, **OPEN_TO_ALL)
    async with Offices.opened(settings, lambda: 1) as offices:
        assert not (tmp_path / "vault.key").exists()
        with pytest.raises(VaultLocked):
            await offices.vault.store.add(ACT, NEW, SECRET, 5)
        assert examine_vault(settings).verdict == "note"
        KeyFile(tmp_path / "vault.key").create()
        await offices.vault.store.add(ACT, NEW, SECRET, 5)
    assert examine_vault(settings).verdict == "ok"


async def test_a_lost_master_key_is_never_replaced_by_a_new_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = await with_a_key(tmp_path)
    (tmp_path / "vault.key").unlink()
    await first_run(settings)
    assert not (tmp_path / "vault.key").exists()
    assert "the vault is locked" in caplog.text
    finding = examine_vault(settings)
    assert (finding.verdict, "locked" in finding.found) == ("wrong", True)


async def test_status_keys_and_rotate_tell_everything_but_the_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = await with_a_key(tmp_path)
    assert run(["vault", "status", "--data-dir", str(tmp_path)]) == 0
    assert run(["vault", "keys", "--data-dir", str(tmp_path), "--tenant", "school"]) == 0
    assert run(["vault", "rotate", "--data-dir", str(tmp_path), "--json"]) == 0
    said = capsys.readouterr().out
    assert "1 provider keys" in said
    assert "ours" in said
    assert json.loads(said[said.index("{") :])["rewrapped"] == 1
    assert SECRET not in said
    records = open_records(settings)
    try:
        store = KeyStore(records, AuditLog(records, lambda: 1), MasterKeys(KeyFile(tmp_path / "vault.key")), lambda: 1)
        (stored,) = await store.list("school")
        assert await store.reveal(stored) == SECRET
    finally:
        records.close()
    (tmp_path / "vault.key").chmod(0o644)
    assert run(["vault", "status", "--data-dir", str(tmp_path)]) == 1
    assert "chmod 600" in capsys.readouterr().out


def test_where_there_are_no_records_there_is_nothing_to_look_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["vault", "status", "--data-dir", str(tmp_path)]) == 1
    assert "start the server once" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"master_keys": ["short"]}, "base64 of 32"),
        ({"master_keys": ["QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="], "master_key_file": "x"}, "exclude"),
        ({"store": "key_vault"}, "key_vault_url"),
        ({"key_vault_url": "http://plain.vault.azure.net"}, "https://"),
    ],
)
def test_settings_that_cannot_be_meant_stop_the_start(given: dict[str, Any], words: str) -> None:
    with pytest.raises(Exception, match=words):
        load_settings(vault=given)
