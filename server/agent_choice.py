"""Which agent and which language model this server has, from its settings.

The one place that knows the model adapters' constructors. Driven by ``server.engines``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace

from agents.errors import ModelUnavailable
from agents.loop.agent import Agent, AgentSpec
from agents.models.port import LanguageModel, Message, ModelEvent, ModelProfile, ModelRequest
from server.settings import AgentSettings, ModelSettings


class UnavailableModel:
    """A ``LanguageModel`` that says why there is none; the conversation turns that into an honest apology."""

    def __init__(self, why: str) -> None:
        self._why = why

    @property
    def profile(self) -> ModelProfile:
        return ModelProfile("none", "none", tools=False)

    async def warm_up(self, messages: tuple[Message, ...]) -> None:
        raise ModelUnavailable(self._why, provider="none")

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        raise ModelUnavailable(self._why, provider="none")
        yield  # an async generator, as the port has it

    async def aclose(self) -> None:
        """Nothing to release."""


def build_agent(settings: AgentSettings, model: LanguageModel) -> Agent:
    """The server's agent on this model."""
    return Agent(AgentSpec(), model)


async def build_model(settings: ModelSettings) -> LanguageModel:
    """The language model the settings name, not yet warm. Raises ModelError."""
    match settings.kind:
        case "none":
            raise ModelUnavailable("Switched off in the settings (model.engine).", provider="none")
        case "openai":
            return _endpoint(settings)
        case "embedded":
            raise ModelUnavailable("No language model is configured.", provider="none")


def _endpoint(settings: ModelSettings) -> LanguageModel:
    from agents.models.openai_compatible import (  # noqa: PLC0415 - the SDK is slow to import
        OpenAICompatibleConfig,
        OpenAICompatibleModel,
    )

    assert settings.model is not None, "the settings were checked"
    config = OpenAICompatibleConfig(
        settings.model,
        settings.base_url,
        "none" if settings.api_key is None else settings.api_key.get_secret_value(),
        context_tokens=settings.context_tokens,
    )
    if settings.azure_api_version is not None:
        config = replace(config, kind="azure", api_version=settings.azure_api_version)
    return OpenAICompatibleModel(config)
