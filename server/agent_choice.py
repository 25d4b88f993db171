"""Which agent and which language model this server has, from its settings.

The one place that knows the model adapters' constructors. Driven by ``server.engines``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Final

from agents.errors import ModelUnavailable
from agents.loop.agent import Agent, default_agent_spec
from agents.models.port import LanguageModel, Message, ModelEvent, ModelProfile, ModelRequest
from agents.tools.builtin import builtin_tools
from server.settings import AgentSettings, ModelSettings

SIMPLE_LANGUAGE: Final = "Use short, plain sentences and everyday words."


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


def build_agent(settings: AgentSettings, model: LanguageModel, *, simple_language: bool = False) -> Agent:
    """The server's agent on this model; with ``simple_language`` it speaks in short, plain sentences."""
    spec = default_agent_spec(settings.name, builtin_tools())
    instructions = settings.instructions or spec.instructions
    if simple_language:
        instructions = f"{instructions} {SIMPLE_LANGUAGE}"
    spec = replace(
        spec,
        instructions=instructions,
        greeting=settings.greeting,
        max_output_tokens=settings.max_output_tokens,
        temperature=settings.temperature,
    )
    return Agent(spec, model)


async def build_model(settings: ModelSettings) -> LanguageModel:
    """The language model the settings name, not yet warm. Raises ModelError."""
    match settings.kind:
        case "none":
            raise ModelUnavailable("Switched off in the settings (model.engine).", provider="none")
        case "openai":
            return _endpoint(settings)
        case "embedded":
            return _embedded(settings)


def _embedded(settings: ModelSettings) -> LanguageModel:
    from agents.models.embedded_llama import EmbeddedLlama, EmbeddedLlamaConfig  # noqa: PLC0415 - only where wanted

    return EmbeddedLlama(EmbeddedLlamaConfig(model_path=settings.model_path))


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
