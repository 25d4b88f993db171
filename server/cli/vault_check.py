"""What ``doctor`` finds about the vault: whether there is a master key, and whether every provider key opens."""

from __future__ import annotations

from metering.records import RecordsError
from server.cli.findings import Finding
from server.offices import open_records
from server.settings import Settings
from server.vault.errors import VaultError
from server.vault.key_vault import key_vault
from server.vault.master_keys import MasterKeys
from server.vault.office import master_key_source
from server.vault.status import VaultStatus, vault_status


def examine_vault(settings: Settings) -> Finding:
    """One finding; changes nothing."""
    what = "provider keys"
    if settings.ledger.url is None and not settings.records_path.exists():
        if settings.loopback or settings.vault.master_keys or settings.vault.key_vault_url:
            return Finding(what, "ok", "none yet")
        if settings.vault.key_file(settings.data_dir).exists():
            return Finding(what, "ok", "none yet")
        return _no_master_key(what)
    try:
        found = _status(settings)
    except (RecordsError, VaultError) as error:
        return Finding(what, "wrong", str(error), "Is the database there, and ledger.url right?")
    told = "; ".join(found.lines())
    if found.problem is not None:
        return Finding(what, "wrong", told, "Bring the master key back: docs/guides/byok.md")
    if found.broken:
        return Finding(what, "wrong", told, "Were rows changed by hand? docs/guides/byok.md")
    if found.master_key_id is None and found.store == "embedded" and not settings.loopback:
        return _no_master_key(what)
    if found.rotating:
        return Finding(what, "note", told, "convergio-voice vault rotate")
    return Finding(what, "ok", told)


def _no_master_key(what: str) -> Finding:
    mend = "openssl rand -base64 32 > vault.key; chmod 600 vault.key; name it as vault.master_key_file."
    return Finding(what, "note", "no master key: tenants cannot store keys of their own", mend)


def _status(settings: Settings) -> VaultStatus:
    keeper = key_vault(settings.vault)
    records = open_records(settings)
    try:
        return vault_status(settings, records, MasterKeys(master_key_source(settings, keeper)))
    finally:
        records.close()
        if keeper is not None:
            keeper.close()
