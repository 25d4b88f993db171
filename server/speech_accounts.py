"""On whose Azure Speech account a tenant's speech runs: the seam between the engines and wherever credentials are kept.

The port is all the engines know. ``SettingsAccounts`` reads the settings; the vault, whose keys change at run time, is
another implementation (``server.vault.speech``). An account that reads differently is another account, with connections
of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from audio.azure.credentials import ChangingCredential
from server.azure_settings import AzureSettings
from server.settings import Settings


@dataclass(frozen=True, slots=True)
class SpeechAccount:
    """One Azure Speech resource with its credential, which no ``repr`` shows.

    ``tenant_id`` is ``None`` for the server's own. One of the vault's has a ``key_id`` and a ``credential``, which may
    be changed or taken back, in place of a key in ``azure``.
    """

    tenant_id: str | None
    azure: AzureSettings
    key_id: str | None = None
    credential: ChangingCredential | None = None

    @property
    def is_withdrawn(self) -> bool:
        """Whether its key was taken back."""
        return self.credential is not None and self.credential.is_withdrawn


class SpeechAccounts(Protocol):
    """Who gives a tenant's account."""

    @property
    def shared(self) -> SpeechAccount | None:
        """The server's own, for tenants that bring none."""
        ...

    async def account_of(self, tenant_id: str) -> SpeechAccount | None:
        """The tenant's own account, else the shared one. Never another tenant's. Raises Refused."""
        ...

    def seen(self, account: SpeechAccount, *, in_use: bool, rejected: bool) -> None:
        """An account has engines still: whether sessions use them, and whether its service refuses the credential."""
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

    def seen(self, account: SpeechAccount, *, in_use: bool, rejected: bool) -> None:
        """See the port. Settings do not change."""
