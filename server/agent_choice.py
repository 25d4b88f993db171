"""Which agent this server has, from its settings, and the model of an agent that has none.

The models themselves are chosen in ``server.model_choice``. Driven by ``server.engines``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Final

from agents.errors import ModelUnavailable
from agents.loop.agent import Agent, default_agent_spec
from agents.models.port import LanguageModel, Message, ModelEvent, ModelProfile, ModelRequest
from agents.tools.builtin import builtin_tools
from server.settings import AgentSettings

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
