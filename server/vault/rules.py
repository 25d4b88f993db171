"""Which tenants must bring keys of their own. Pure; from the settings."""

from __future__ import annotations

from server.settings import Settings
from server.tenant_settings import RESERVED


class OwnKeyRules:
    """``vault.require_own_keys`` for everybody but the operator; a tenant's own ``require_own_keys`` decides for it."""

    def __init__(self, settings: Settings) -> None:
        self._default = settings.vault.require_own_keys
        self._by_tenant = {
            tenant.id: tenant.require_own_keys for tenant in settings.tenants if tenant.require_own_keys is not None
        }

    def requires(self, tenant_id: str) -> bool:
        """Whether nothing of the operator's accounts is for this tenant."""
        if tenant_id in RESERVED:
            return False
        return self._by_tenant.get(tenant_id, self._default)
