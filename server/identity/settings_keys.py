"""The keys that stand in the settings, and whose they are. They do not end while the server runs."""

from __future__ import annotations

import hashlib
from typing import Final

from server.guard import Identity
from server.identity.authority import role_permissions
from server.permissions import TenantType
from server.settings import Settings
from server.tenant_settings import DEFAULT_TENANT

_ID_CHARS: Final = 12


class SettingsKeys:
    """Looked up by SHA-256, so what it takes tells nothing of how close a guess was."""

    def __init__(self, settings: Settings) -> None:
        self._tenant_types: dict[str, TenantType] = {DEFAULT_TENANT: "business"}
        self._tenant_types |= {tenant.id: tenant.type for tenant in settings.tenants}
        self._by_digest: dict[bytes, Identity] = {}
        for tenant_id, key in settings.keys:
            digest = digest_bytes(key.get_secret_value())
            permissions = role_permissions(tenant_id, "owner")
            name = f"key_{digest.hex()[:_ID_CHARS]}"
            identity = Identity(tenant_id, name, "owner", permissions, self._tenant_types[tenant_id])
            self._by_digest[digest] = identity
        self._by_name = {identity.user_id: identity for identity in self._by_digest.values()}

    def by_digest(self, digest: bytes) -> Identity | None:
        """Who comes with the key of this SHA-256."""
        return self._by_digest.get(digest)

    def tenant_type(self, tenant_id: str) -> TenantType | None:
        """What kind of tenant this is, where it is one of the settings'."""
        return self._tenant_types.get(tenant_id)

    def by_name(self, name: str) -> Identity | None:
        """Who comes with the key of this name (which is its holder's user id)."""
        return self._by_name.get(name)


def digest_bytes(presented: str) -> bytes:
    """SHA-256, as keys are looked up."""
    return hashlib.sha256(presented.encode()).digest()
