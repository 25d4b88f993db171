"""A provider key as everybody but the vault sees it: what it is for and where, never what it is. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

Provider = Literal["azure-speech", "azure-openai", "openai-compatible"]
PROVIDERS: Final[tuple[Provider, ...]] = ("azure-speech", "azure-openai", "openai-compatible")
MODELS: Final[frozenset[Provider]] = frozenset({"azure-openai", "openai-compatible"})
"""Those that answer; the other hears and speaks."""
KeyStatus = Literal["active", "rejected", "deleting"]
"""``rejected``: the provider refused it (401); it is used again once a check or a rotation succeeds. ``deleting``:
deleted, and only its secret is still to be taken out of the Key Vault."""


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where a key is good; which of these are there depends on the provider."""

    region: str | None = None
    endpoint: str | None = None
    deployment: str | None = None
    api_version: str | None = None
    base_url: str | None = None
    model: str | None = None

    def json(self) -> str:
        """What is stored."""
        return json.dumps({name: value for name, value in asdict(self).items() if value is not None}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> KeyPlace:
        """The inverse; fields of later programs are passed over."""
        known: dict[str, Any] = {name: value for name, value in json.loads(text).items() if name in cls.__slots__}
        return cls(**known)


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """One key as it is now. Times are epoch milliseconds."""

    key_id: str
    tenant_id: str
    provider: Provider
    label: str
    place: KeyPlace
    version: int
    fingerprint: str
    status: KeyStatus
    created_by: str
    created_at_ms: int
    rotated_at_ms: int | None = None
    checked_at_ms: int | None = None
    last_used_ms: int | None = None


@dataclass(frozen=True, slots=True)
class NewKey:
    """What is to be kept, beside the secret itself."""

    provider: Provider
    label: str
    place: KeyPlace


def provider_key(row: Mapping[Any, Any]) -> ProviderKey:
    """A row of the records, without what is sealed in it."""
    fields = {name: row[name] for name in ProviderKey.__slots__ if name != "place"}
    return ProviderKey(place=KeyPlace.from_json(row["place"]), **fields)
