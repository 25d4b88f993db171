"""What ``/v1/provider-keys`` takes and tells: keys go in once, and never come out."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from server.contracts.base import Contract, Count, Milliseconds, ServerId

ProviderName = Literal["azure-speech", "azure-openai", "openai-compatible"]
Secret = Annotated[SecretStr, Field(min_length=1, max_length=1_024, json_schema_extra={"pattern": r"^[\x21-\x7e]+$"})]
"""The provider's key: printable ASCII without spaces. Write-only."""

Address = Annotated[str, Field(min_length=8, max_length=500)]
_PLACES = {
    "azure-speech": ((), ("region", "endpoint")),
    "azure-openai": (("endpoint", "deployment"), ("api_version",)),
    "openai-compatible": (("base_url", "model"), ()),
}


class KeyPlaceFields(Contract):
    """Where the key is good. `azure-speech`: `region`, or `endpoint`. `azure-openai`: `endpoint` and `deployment`,
    perhaps `api_version`. `openai-compatible`: `base_url` and `model`."""

    region: Annotated[str, Field(pattern=r"^[a-z0-9]{2,40}$")] | None = None
    endpoint: Address | None = None
    deployment: Annotated[str, Field(pattern=r"^[\w.-]{1,64}$")] | None = None
    api_version: Annotated[str, Field(pattern=r"^[\w.-]{1,40}$")] | None = None
    base_url: Address | None = None
    model: Annotated[str, Field(pattern=r"^[\w.:/@+-]{1,200}$")] | None = None


class ProviderKeyRequest(KeyPlaceFields):
    """A key to keep. It is checked first, with one call to the provider."""

    provider: ProviderName
    label: Annotated[str, Field(min_length=1, max_length=80)]
    """For people."""
    key: Secret

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        check_secret(self.key)
        needed, allowed = _PLACES[self.provider]
        for name in KeyPlaceFields.model_fields:
            given = getattr(self, name) is not None
            if name in needed and not given:
                raise ValueError(f"{name} is needed for {self.provider}")
            if given and name not in (*needed, *allowed):
                raise ValueError(f"{name} is not for {self.provider}")
        if self.provider == "azure-speech" and (self.region is None) == (self.endpoint is None):
            raise ValueError("azure-speech needs a region or an endpoint, not both")
        secret = self.key.get_secret_value()
        names = ("label", *KeyPlaceFields.model_fields)
        if len(secret) >= 8 and any(secret in (getattr(self, name) or "") for name in names):
            raise ValueError("the key must stand in no other field")
        return self


class ProviderKeyRotation(Contract):
    """Another secret for the same key."""

    key: Secret

    @model_validator(mode="after")
    def _is_a_key(self) -> Self:
        check_secret(self.key)
        return self


class ProviderKeyInfo(KeyPlaceFields):
    """A key that is kept: everything but what it is."""

    key_id: ServerId
    provider: ProviderName
    label: str
    version: Count
    """Grows with every rotation."""
    fingerprint: str
    """Tells the tenant's keys apart; the same key has the same one."""
    status: Literal["active", "rejected"]
    """`rejected`: the provider refused it. It is taken up again once a check, a rotation or a later turn succeeds."""
    created_at_ms: Milliseconds
    rotated_at_ms: Milliseconds | None = None
    checked_at_ms: Milliseconds | None = None
    last_used_ms: Milliseconds | None = None
    """To within some seconds. Absent: never."""


class ProviderKeyResponse(Contract):
    """One key."""

    request_id: ServerId
    provider_key: ProviderKeyInfo


class ProviderKeyCheckResponse(Contract):
    """What the provider said to a key that is kept."""

    request_id: ServerId
    provider_key: ProviderKeyInfo
    result: Literal["works", "throttled", "rejected", "refused", "late", "unreachable"]
    """`throttled`: the key is known, and its quota is used up for now."""
    message: str | None = None


class ProviderKeyList(Contract):
    """The tenant's keys, the first one made first: the order in which they are used."""

    request_id: ServerId
    provider_keys: tuple[ProviderKeyInfo, ...]


def check_secret(secret: SecretStr) -> None:
    """Raise ValueError for what no HTTP header could carry; the words never hold any of it."""
    if not all("!" <= letter <= "~" for letter in secret.get_secret_value()):
        raise ValueError("key must be printable ASCII without spaces")
