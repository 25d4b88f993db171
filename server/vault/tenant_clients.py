"""A tenant's own model: the adapter for an OpenAI-compatible endpoint or an Azure OpenAI deployment, with its key.

Connections go only where the address rules let them, and follow no redirect. Driven by checks of keys and by the
shelf of tenants' models.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module

import anyio.to_thread

from agents.models.openai_client import OpenAICompatibleConfig
from agents.models.pinned import AddressOf
from agents.models.port import LanguageModel
from server.model_settings import ModelSettings
from server.vault.provider_keys import KeyPlace, Provider


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """How long a tenant's model may take: as long as the server's own."""

    connect_s: float
    first_event_s: float
    gap_s: float
    takeover_s: float
    context_tokens: int

    @classmethod
    def of(cls, settings: ModelSettings) -> ModelLimits:
        """Those of the settings."""
        chosen = settings
        return cls(chosen.connect_s, chosen.first_event_s, chosen.gap_s, chosen.takeover_s, chosen.context_tokens)


async def load_sdk() -> None:
    """Import the provider's SDK, which takes a second or more, on a thread: conversations go on meanwhile."""
    for name in ("openai", "agents.models.openai_compatible"):
        if name not in sys.modules:
            await anyio.to_thread.run_sync(import_module, name)


def tenant_model(
    provider: Provider, place: KeyPlace, secret: str, address_of: AddressOf, limits: ModelLimits
) -> LanguageModel:
    """The model, which its caller closes; nothing is connected yet. Raises ModelError."""
    from agents.models.openai_compatible import OpenAICompatibleModel  # noqa: PLC0415 - the SDK is slow to import

    is_azure = provider == "azure-openai"
    config = OpenAICompatibleConfig(
        (place.deployment if is_azure else place.model) or "",
        place.endpoint if is_azure else place.base_url,
        secret,
        kind="azure" if is_azure else "openai",
        api_version=place.api_version,
        address_of=address_of,
        own=True,
        context_tokens=limits.context_tokens,
        connect_s=limits.connect_s,
        first_event_s=limits.first_event_s,
        gap_s=limits.gap_s,
    )
    return OpenAICompatibleModel(config)
