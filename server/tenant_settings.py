"""The settings' section about tenants: who they are, by which keys they come, and the accounts they bring.

A vault with an API for keys will take its place for the accounts: ``server.speech_accounts`` is the seam. See
``server.settings``.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Final, NamedTuple, Self

from pydantic import Field, SecretStr, model_validator

from server.azure_settings import AzureSettings
from server.permissions import TenantType
from server.setting_types import Secrets, Section

DEFAULT_TENANT: Final = "default"
"""Whose the settings' own ``api_keys`` are."""
RESERVED: Final = frozenset({DEFAULT_TENANT, "local"})


class TenantSettings(Section):
    """One tenant. With an ``azure`` account of its own its speech runs on that, and on nobody else's.

    ``type`` decides how long its data is kept, and what is never done with it (``server.privacy.protection``).
    """

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    type: TenantType = "business"
    api_keys: Secrets = Field(min_length=1)
    azure: AzureSettings | None = None

    @model_validator(mode="after")
    def _account_is_whole(self) -> Self:
        if self.id in RESERVED:
            raise ValueError(f"the name {self.id} is taken: choose another id")
        if self.azure is not None and not self.azure.usable:
            raise ValueError(
                "a tenant's azure must say where the service is (region, host or endpoint) and hold its key "
                "(or managed_identity be true)"
            )
        return self


class KeyOwner(NamedTuple):
    """Whose an API key is: the tenant, and a stable, secret-free name of the key."""

    tenant_id: str
    name: str


def owner_of(presented: str, keys: Iterable[tuple[str, SecretStr]]) -> KeyOwner | None:
    """Whose key it is, or None where it is none of these (tenant, key).

    Every key is compared, in constant time, by its SHA-256.
    """
    digest = hashlib.sha256(presented.encode()).digest()
    owner: KeyOwner | None = None
    for tenant_id, key in keys:
        known = hashlib.sha256(key.get_secret_value().encode()).digest()
        if hmac.compare_digest(known, digest):
            owner = KeyOwner(tenant_id, f"key_{known.hex()[:12]}")
    return owner
