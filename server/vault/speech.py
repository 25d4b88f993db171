"""Tenants' own Azure Speech accounts, from the keys they keep in the vault: the source behind ``SpeechAccounts``.

One credential for each key, for as long as the key is there: a rotation changes it and a deletion takes it back, so
that engines which run on it go on with the new one, or make way, at their next turn. Driven by ``server.engines`` for
accounts, and by ``server.vault.tenant_keys`` for changes.
"""

from __future__ import annotations

import logging
from typing import Final

from audio.azure.credentials import ChangingCredential
from server.azure_settings import AzureSettings
from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.speech_accounts import SpeechAccount, SpeechAccounts
from server.vault.errors import VaultError
from server.vault.provider_keys import KeyPlace
from server.vault.rules import OwnKeyRules
from server.vault.tenant_keys import OwnKey, TenantKeys

logger = logging.getLogger(__name__)

UNREADABLE: Final = "Your provider keys cannot be read at the moment."
RETRY_AFTER_S: Final = 30.0


class VaultAccounts:
    """``SpeechAccounts`` of the vault before those of the settings. Not bound to a vault, it has only the latter."""

    def __init__(self, otherwise: SpeechAccounts, voice: AzureSettings, rules: OwnKeyRules) -> None:
        """``voice`` says how tenants' accounts speak and hear: all of the server's own but place and credential."""
        self._otherwise = otherwise
        self._voice = voice
        self._rules = rules
        self._keys: TenantKeys | None = None
        self._made: dict[str, SpeechAccount] = {}

    def bind(self, keys: TenantKeys) -> None:
        """From now on these are looked up first."""
        self._keys = keys
        keys.listen(self._changed)

    @property
    def shared(self) -> SpeechAccount | None:
        """See the port."""
        return self._otherwise.shared

    async def account_of(self, tenant_id: str) -> SpeechAccount | None:
        """See the port. Raises Refused where the tenant's keys cannot be read."""
        try:
            own = await self._own(tenant_id)
        except VaultError as error:
            logger.warning("a tenant's keys cannot be read", extra={"tenant_id": tenant_id, "reason": str(error)})
            raise Refused(ErrorCode.PROVIDER_UNAVAILABLE, UNREADABLE, retry_after_s=RETRY_AFTER_S) from error
        if own is not None:
            return self._account(own)
        account = await self._otherwise.account_of(tenant_id)
        if account is not None and account.tenant_id is None and self._rules.requires(tenant_id):
            return None
        return account

    def seen(self, account: SpeechAccount, *, in_use: bool, rejected: bool) -> None:
        """The account has engines still: whether sessions use them, and whether its service refuses it."""
        if self._keys is None or account.key_id is None or account.tenant_id is None:
            return
        for own in self._keys.held(account.tenant_id) or ():  # which keeps them at hand, and true
            if own.key.key_id == account.key_id and in_use:
                self._keys.used(own.key)
                self._keys.mark(own.key, "rejected" if rejected else "active")

    async def _own(self, tenant_id: str) -> OwnKey | None:
        if self._keys is None:
            return None
        keys = await self._keys.of(tenant_id)
        return next((own for own in keys if own.key.provider == "azure-speech"), None)

    def _account(self, own: OwnKey) -> SpeechAccount:
        made = self._made.get(own.key.key_id)
        if made is None:
            azure = _azure(self._voice, own.key.place)
            credential = ChangingCredential(own.secret)
            made = SpeechAccount(own.key.tenant_id, azure, own.key.key_id, credential)
            self._made[own.key.key_id] = made
        return made

    def _changed(self, tenant_id: str, keys: tuple[OwnKey, ...]) -> None:
        now = {own.key.key_id: own for own in keys}
        for key_id, account in list(self._made.items()):
            if account.tenant_id != tenant_id or account.credential is None:
                continue
            own = now.get(key_id)
            if own is None:
                account.credential.withdraw()
                del self._made[key_id]
            else:
                account.credential.change(own.secret)


def _azure(voice: AzureSettings, place: KeyPlace) -> AzureSettings:
    """How the server speaks and hears, at another place."""
    nowhere = {"host": None, "key": None, "managed_identity": False, "resource_id": None, "client_id": None}
    here = {"region": place.region, "endpoint": place.endpoint, "custom_endpoint_id": None}
    return voice.model_copy(update=nowhere | here)
