"""The settings' section about the vault, in which tenants' keys at providers are kept; see ``server.settings``."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from typing import Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from server.setting_types import Directory, Secrets, Section, Words

MASTER_KEY_BYTES: Final = 32
_SECRET_NAME: Final = re.compile(r"^[0-9A-Za-z-]{1,127}$")


class VaultSettings(Section):
    """Where provider keys are kept, and what tenants may reach with them.

    ``store`` ``embedded`` encrypts them into the records under a master key; ``key_vault`` keeps each as a secret in
    the Azure Key Vault at ``key_vault_url``, and only its id in the records. The master key is in ``master_key_file``,
    or in ``master_keys`` (base64 of 32 bytes each, the newest first), or is the secret called ``master_key_secret`` in
    the Key Vault; where none is named, a server on loopback makes a file of its own. ``client_id`` names a
    user-assigned identity for the Key Vault.

    ``private_hosts`` are hosts that tenants may name though they are not on the public Internet. With
    ``require_own_keys`` nothing of the operator's accounts is for tenants. A tenant may keep ``max_keys`` and have
    ``checks_per_minute`` of ``check_s`` each. Keys are looked up anew every ``refresh_s`` where any has changed; those
    of the Key Vault after ``secret_life_s``; what is at hand stays good for ``outage_s`` while neither answers.
    """

    store: Literal["embedded", "key_vault"] = "embedded"
    master_key_file: Directory | None = None
    master_keys: Secrets = ()
    master_key_secret: str | None = None
    key_vault_url: str | None = None
    client_id: str | None = None
    private_hosts: Words = ()
    require_own_keys: bool = False
    max_keys: int = Field(default=20, ge=1, le=1_000)
    checks_per_minute: int = Field(default=20, ge=1, le=1_000)
    check_s: float = Field(default=10.0, ge=0.5, le=60)
    refresh_s: float = Field(default=2.0, ge=0.1, le=60)
    secret_life_s: float = Field(default=60.0, ge=1, le=3_600)
    outage_s: float = Field(default=900.0, ge=0, le=24 * 3_600)

    @model_validator(mode="after")
    def _can_be_meant(self) -> Self:
        named = [bool(self.master_key_file), bool(self.master_keys), bool(self.master_key_secret)]
        if sum(named) > 1:
            raise ValueError("vault.master_key_file, master_keys and master_key_secret exclude each other")
        if self.key_vault_url is not None and not _is_vault(self.key_vault_url):
            raise ValueError("vault.key_vault_url must be the https:// address of a Key Vault, without a path")
        if self.key_vault_url is None and (self.store == "key_vault" or self.master_key_secret):
            raise ValueError("vault.key_vault_url must say where the Key Vault is (https://NAME.vault.azure.net)")
        if self.master_key_secret is not None and not _SECRET_NAME.match(self.master_key_secret):
            raise ValueError("vault.master_key_secret must be a secret's name: letters, digits and dashes")
        for key in self.master_keys:
            if decoded(key) is None:
                raise ValueError("vault.master_keys must be base64 of 32 random bytes each (openssl rand -base64 32)")
        return self

    def key_file(self, data_dir: Path) -> Path:
        """Where the master key is, or would be made."""
        return self.master_key_file or data_dir / "vault.key"


def decoded(key: SecretStr | str) -> bytes | None:
    """A master key's bytes, from base64 of either alphabet; ``None`` where it is none."""
    text = key if isinstance(key, str) else key.get_secret_value()
    try:
        value = base64.b64decode(text.strip().replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        return None
    return value if len(value) == MASTER_KEY_BYTES else None


def _is_vault(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme == "https" and bool(parts.hostname) and parts.path in ("", "/") and not parts.query
    except ValueError:
        return False
