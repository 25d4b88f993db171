"""On whose Azure Speech account a tenant's speech runs: the seam between the engines and wherever credentials are kept.

The port is all the engines know. ``SettingsAccounts`` reads the settings; a vault with keys that change at run time is
another implementation and changes nothing else: an account that reads differently is another account, with connections
of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from server.azure_settings import AzureSettings
from server.settings import Settings


@dataclass(frozen=True, slots=True)
class SpeechAccount:
    """One Azure Speech resource with its credential, which no ``repr`` shows.

    ``tenant_id`` is ``None`` for the server's own.
    """

    tenant_id: str | None
    azure: AzureSettings


class SpeechAccounts(Protocol):
    """Who gives a tenant's account."""

    @property
    def shared(self) -> SpeechAccount | None:
        """The server's own, for tenants that bring none."""
        ...

    async def account_of(self, tenant_id: str) -> SpeechAccount | None:
        """The tenant's own account, else the shared one. Never another tenant's."""
        ...


class SettingsAccounts:
    """Accounts as the settings name them."""

    def __init__(self, settings: Settings) -> None:
        self._shared = SpeechAccount(None, settings.azure) if settings.azure.usable else None
        self._own = {
            tenant.id: SpeechAccount(tenant.id, tenant.azure) for tenant in settings.tenants if tenant.azure is not None
        }

    @property
    def shared(self) -> SpeechAccount | None:
        """See the port."""
        return self._shared

    async def account_of(self, tenant_id: str) -> SpeechAccount | None:
        """See the port."""
        return self._own.get(tenant_id, self._shared)
