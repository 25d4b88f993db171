"""A language model behind the Chat Completions API: OpenAI, Azure OpenAI, vLLM, Ollama, llama.cpp and the like.

Owns the requests to one deployment and every limit of theirs. Never retries: ``agents.models.fallback`` decides who is
asked instead. What a content filter refuses is an answer, not a failure. Knows nothing of turns or tools. One instance
per deployment, built at the edge and shared by all sessions; the SDK is imported when it is built, not before (it is
slow to import).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import anyio

from agents.errors import ModelRateLimited, ModelUnavailable
from agents.models.carried import carried_headers
from agents.models.openai_client import OpenAICompatibleConfig, is_openai, make_client
from agents.models.openai_errors import filter_verdict, hung_up, refused_parameter, to_model_error
from agents.models.openai_wire import CompletionReader, Dialect, request_body
from agents.models.port import (
    ContentFilter,
    Message,
    ModelEvent,
    ModelProfile,
    ModelRequest,
    Preparing,
    QuotaSpent,
    TextDelta,
)
from agents.models.rate_limits import spent_for_s

if TYPE_CHECKING:
    from openai import AsyncStream
    from openai.types.chat import ChatCompletionChunk

USAGE_WAIT_S: Final = 1.0
"""How long after the last word the usage report may take; then it is estimated."""
CLOSE_LIMIT_S: Final = 2.0
WARM_UP_LIMIT_S: Final = 60.0
"""A local server may load its model on the first request."""


class _Filtered(Exception):
    """The content filter refused; carries its verdict out of the request."""

    def __init__(self, verdict: ContentFilter) -> None:
        super().__init__(verdict.stage)
        self.verdict = verdict


class OpenAICompatibleModel:
    """``LanguageModel`` over the Chat Completions API."""

    def __init__(self, config: OpenAICompatibleConfig) -> None:
        """Imports the SDK and makes the client; nothing is connected yet.

        Raises:
            ModelUnavailable: an address that is none.
        """
        self._config = config
        self._profile = ModelProfile(
            config.provider_name, config.model, config.tools, config.context_tokens, config.own
        )
        modern = config.kind == "azure" or is_openai(config.base_url)
        self._dialect = Dialect(limit_name="max_completion_tokens" if modern else "max_tokens")
        try:
            urlsplit(config.base_url or "")
            self._client = make_client(config)
        except ValueError as error:
            raise ModelUnavailable("The language model's address is not valid.", provider=self.provider) from error

    @property
    def profile(self) -> ModelProfile:
        return self._profile

    @property
    def provider(self) -> str:
        """The provider's stable name."""
        return self._profile.provider

    async def warm_up(self, messages: tuple[Message, ...]) -> None:
        """Connect, load and prime the prompt cache with a completion of one token. Raises ModelError."""
        if not messages or messages[-1].role != "user":
            messages = (*messages, Message("user", "Hello"))
        patient = replace(self._config, first_event_s=WARM_UP_LIMIT_S)
        async with aclosing(self._stream(ModelRequest(messages, max_output_tokens=1), patient)) as events:
            async for _ in events:
                pass

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        """Run one completion. Closing the generator or cancelling its task closes the HTTP stream at once.

        Raises (while iterated):
            ModelTimeout: no connection, first piece or next piece within its limit.
            ModelRateLimited: 429, with the provider's ``Retry-After``.
            ModelRejected: any other 4xx (RequestRejected where another request may pass).
            ModelUnavailable: not reachable, 5xx, or the answer broke off.
        """
        return self._stream(request, self._config)

    async def aclose(self) -> None:
        """Close all connections."""
        with anyio.move_on_after(CLOSE_LIMIT_S, shield=True):
            await self._client.close()

    async def _stream(self, request: ModelRequest, limits: OpenAICompatibleConfig) -> AsyncGenerator[ModelEvent]:
        reader = CompletionReader(request)
        try:
            async with aclosing(self._answer(request, limits, reader)) as events:
                async for event in events:
                    yield event
        except _Filtered as filtered:
            reader.refuse(filtered.verdict)
        if not reader.complete:
            raise ModelUnavailable("The language model's answer broke off.", provider=self.provider, has_cost=True)
        for call in reader.tool_requests():
            yield call
        yield reader.finished()

    async def _answer(
        self, request: ModelRequest, limits: OpenAICompatibleConfig, reader: CompletionReader
    ) -> AsyncGenerator[ModelEvent]:
        limit_s = limits.first_event_s
        started = anyio.current_time()
        async with self._opened(request, limit_s) as chunks:
            rest_s = spent_for_s(chunks.response.headers)
            if rest_s is not None:
                yield QuotaSpent(rest_s)
            limit_s = max(0.0, limit_s - (anyio.current_time() - started))
            while (text := await self._next(chunks, reader, limit_s)) is not None:
                if text:
                    yield TextDelta(text)
                elif reader.prepares:
                    yield Preparing()
                limit_s = min(limits.gap_s, USAGE_WAIT_S) if reader.complete else limits.gap_s

    @asynccontextmanager
    async def _opened(self, request: ModelRequest, limit_s: float) -> AsyncGenerator[AsyncStream[ChatCompletionChunk]]:
        stream = await self._open(request, limit_s)
        try:
            yield stream
        finally:
            with anyio.move_on_after(CLOSE_LIMIT_S, shield=True):
                await stream.close()

    async def _open(self, request: ModelRequest, limit_s: float) -> AsyncStream[ChatCompletionChunk]:
        import openai  # noqa: PLC0415 - see the module's docstring

        while True:
            dialect = self._dialect
            try:
                with anyio.fail_after(limit_s):
                    return await self._create(request_body(request, self._config.model, dialect) | carried_headers())
            except openai.BadRequestError as error:
                verdict = filter_verdict(error)
                if verdict is not None:
                    raise _Filtered(verdict) from None
                # Servers differ in which optional parameters they take. Each refusal is learned once: this ends.
                parameter = refused_parameter(error)
                learned = dialect.without(parameter) if parameter else None
                if learned is None:
                    raise to_model_error(error, self.provider) from error
                self._dialect = learned
            except Exception as error:
                raise to_model_error(error, self.provider) from error

    async def _create(self, body: dict[str, Any]) -> AsyncStream[ChatCompletionChunk]:
        import openai  # noqa: PLC0415 - see the module's docstring

        # The body is built from our own values; the SDK's overloads cannot follow a dictionary.
        create: Any = self._client.chat.completions.create
        try:
            return await create(**body)
        except openai.APIConnectionError as error:
            if not hung_up(error):
                raise
        # No retry of a request, but of its delivery: a server may close an idle connection at the very moment it is
        # used again (llama.cpp's does so in one of twenty quick successions).
        return await create(**body)

    async def _next(
        self, chunks: AsyncStream[ChatCompletionChunk], reader: CompletionReader, limit_s: float
    ) -> str | None:
        """The next chunk's text, or ``None`` at the end. What goes wrong after the last word changes nothing."""
        import openai  # noqa: PLC0415 - see the module's docstring

        try:
            with anyio.fail_after(limit_s):
                chunk = await anext(chunks)
            # The SDK does not check what servers send: reading it may fail in any way.
            return reader.feed(chunk)
        except StopAsyncIteration:
            return None
        except Exception as error:
            if reader.complete:
                return None
            verdict = filter_verdict(error) if isinstance(error, openai.APIError) else None
            if verdict is not None:
                raise _Filtered(verdict) from None
            failure = to_model_error(error, self.provider)
            failure.has_cost = not isinstance(failure, ModelRateLimited)
            raise failure from error
