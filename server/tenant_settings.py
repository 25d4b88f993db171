"""The settings' section about tenants: who they are, by which keys they come, and the accounts they bring.

More of them may be in the database (``server.identity``), beside which these stand. Keys that tenants keep in the vault
(``server.vault``) come before the accounts named here. See ``server.settings``.
"""

from __future__ import annotations

from typing import Final, Self

from pydantic import Field, model_validator

from server.azure_settings import AzureSettings
from server.permissions import TenantType
from server.setting_types import Secrets, Section

DEFAULT_TENANT: Final = "default"
"""Whose the settings' own ``api_keys`` are."""
RESERVED: Final = frozenset({DEFAULT_TENANT, "local"})


class TenantSettings(Section):
    """One tenant. With an ``azure`` account of its own its speech runs on that, and on nobody else's.

    ``type`` decides how long its data is kept, and what is never done with it (``server.privacy.protection``);
    ``require_own_keys``: nothing of the operator's accounts is for this tenant (``None``: as ``vault`` says).
    """

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    type: TenantType = "business"
    api_keys: Secrets = Field(min_length=1)
    azure: AzureSettings | None = None
    require_own_keys: bool | None = None

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
