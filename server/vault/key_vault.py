"""Azure Key Vault through Microsoft's SDK: secrets of tenants, each by its id, and master keys as versions of one.

Blocks, on worker threads only: the SDK's own waits and retries are bounded. Errors are ours, and never hold what was
sent. Asked with the machine's managed identity, or whoever is signed in (``DefaultAzureCredential``).
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final, Protocol, TypeVar, cast
from urllib.parse import urlsplit

from server.vault.envelope import MasterKey
from server.vault.errors import SecretGone, VaultError, VaultLocked, VaultUnavailable
from server.vault_settings import VaultSettings, decoded

logger = logging.getLogger(__name__)
T = TypeVar("T")

CLIENT_OPTIONS: Final[Mapping[str, Any]] = {
    "connection_timeout": 3,
    "read_timeout": 5,
    "retry_total": 1,
    "retry_backoff_factor": 0.2,
    "retry_backoff_max": 1,
    "retry_on_status_codes": [500, 502, 503, 504],  # not 429: its pause may be long, and is our caller's to keep
    "logging_enable": False,
}
MOST_VERSIONS: Final = 20


class SecretKeeper(Protocol):
    """Where whole secrets are kept elsewhere. All of it blocks; raises VaultUnavailable, SecretGone."""

    def put(self, name: str, secret: str, tags: Mapping[str, str]) -> str:
        """Keep a secret, or a new version of it; the id by which exactly this one is got."""
        ...

    def get(self, secret_id: str) -> str: ...

    def delete(self, secret_id: str) -> None:
        """All versions. One that is not there is deleted."""
        ...


class KeyVault:
    """See the module."""

    def __init__(
        self,
        url: str,
        client_id: str | None = None,
        *,
        credential: Any = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """``credential`` and ``options`` of the SDK's client are for tests and sovereign clouds."""
        self._url = url.rstrip("/")
        self._client_id = client_id
        self._credential = credential
        self._options = {**CLIENT_OPTIONS, **(options or {})}
        self._made: Any = None

    def put(self, name: str, secret: str, tags: Mapping[str, str]) -> str:
        """See the port."""
        kept = self._asked(lambda client: client.set_secret(name, secret, tags=dict(tags), content_type="text/plain"))
        return str(kept.id)

    def get(self, secret_id: str) -> str:
        """See the port. A secret of another Key Vault than this is never asked for."""
        name, version = self._named(secret_id)
        found = self._asked(lambda client: client.get_secret(name, version))
        if found.value is None:
            raise SecretGone("the secret in the Key Vault is empty")
        return str(found.value)

    def delete(self, secret_id: str) -> None:
        """See the port. The Key Vault keeps what is deleted for as long as it is set to, out of everybody's reach."""
        name, _ = self._named(secret_id)
        try:
            self._asked(lambda client: client.begin_delete_secret(name))
        except SecretGone:
            return

    def versions(self, name: str) -> list[str]:
        """The enabled versions' values, the newest first; empty where there is no such secret."""

        def read(client: Any) -> list[str]:
            found = [each for each in client.list_properties_of_secret_versions(name) if each.enabled]
            found.sort(key=lambda each: (each.created_on, each.version), reverse=True)
            return [str(client.get_secret(name, each.version).value) for each in found[:MOST_VERSIONS]]

        try:
            return self._asked(read)
        except SecretGone:
            return []

    def close(self) -> None:
        """Close its connections."""
        if self._made is not None:
            self._made.close()

    def _named(self, secret_id: str) -> tuple[str, str | None]:
        parts = urlsplit(secret_id)
        path = parts.path.strip("/").split("/")
        if parts.netloc != urlsplit(self._url).netloc or path[0] != "secrets" or len(path) not in (2, 3):
            raise SecretGone("the secret is in another Key Vault than vault.key_vault_url")
        return path[1], path[2] if len(path) == 3 else None

    def _asked(self, work: Callable[[Any], T]) -> T:
        client = self._client()
        errors: Any = import_module("azure.core.exceptions")
        try:
            return work(client)
        except errors.ResourceNotFoundError:
            raise SecretGone("the Key Vault has no such secret") from None
        except errors.ClientAuthenticationError:
            raise VaultUnavailable("the Key Vault does not know this identity") from None
        except errors.HttpResponseError as error:
            raise _refusal(error) from None
        except errors.AzureError as error:
            raise VaultUnavailable(f"the Key Vault does not answer ({type(error).__name__})") from None

    def _client(self) -> Any:
        if self._made is None:
            try:
                secrets: Any = import_module("azure.keyvault.secrets")
                if self._credential is None:
                    identity: Any = import_module("azure.identity")
                    named = {"managed_identity_client_id": self._client_id} if self._client_id else {}
                    self._credential = identity.DefaultAzureCredential(**named)
            except ImportError:
                raise VaultLocked("Azure Key Vault needs more packages: uv sync --inexact --extra azure") from None
            self._made = secrets.SecretClient(self._url, self._credential, **self._options)
        return self._made


class KeyVaultMasterKeys:
    """Master keys as the versions of one secret: a new version is a new key, an old one is disabled."""

    def __init__(self, vault: KeyVault, name: str) -> None:
        self._vault = vault
        self._name = name

    @property
    def name(self) -> str:
        return f"the Key Vault's secret {self._name}"

    @property
    def is_ours(self) -> bool:
        return True

    def read(self) -> tuple[MasterKey, ...]:
        values = [decoded(value) for value in self._vault.versions(self._name)]
        if any(value is None for value in values):
            raise VaultLocked(f"{self.name} must hold base64 of 32 bytes in each enabled version")
        return tuple(MasterKey(value) for value in values if value is not None)

    def add(self, key: MasterKey) -> None:
        self._vault.put(self._name, base64.b64encode(key.value).decode(), {"convergio": "master-key"})

    def keep_only(self, key_id: str) -> None:
        raise VaultLocked(f"disable the older versions of {self.name}")


def key_vault(settings: VaultSettings) -> KeyVault | None:
    """The Key Vault the settings name."""
    return None if settings.key_vault_url is None else KeyVault(settings.key_vault_url, settings.client_id)


def _refusal(error: Any) -> VaultError:
    status = cast("int | None", error.status_code)
    inner = getattr(getattr(error, "error", None), "innererror", None)
    inner_code = inner.get("code") if isinstance(inner, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    if status == 403 and (inner_code == "SecretDisabled" or "disabled secret" in str(error)):
        return SecretGone("the secret is disabled in the Key Vault")
    if status == 403:
        return VaultUnavailable("the Key Vault refuses this identity (403): see infra/README.md for its roles")
    if status == 429:
        wait = str(error.response.headers.get("Retry-After")) if error.response is not None else ""
        return VaultUnavailable("the Key Vault is asked too often", float(wait) if wait.isdigit() else None)
    return VaultUnavailable(f"the Key Vault fails ({status})")
