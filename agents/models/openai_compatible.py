"""A language model behind the Chat Completions API: OpenAI, Azure OpenAI, vLLM, Ollama, llama.cpp and the like.

Owns one HTTP connection pool through the official ``openai`` SDK, and every limit of a request. Never retries: the
conversation decides whether to wait, hedge or fall back. Knows nothing of turns or tools. One instance per provider
deployment, built at the edge and shared by all sessions; the SDK is imported when it is built, not before (it is slow
to import).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

import anyio

from agents.errors import ModelRejected, ModelUnavailable
from agents.models.carried import carried_headers
from agents.models.openai_errors import hung_up, refused_parameter, to_model_error
from agents.models.openai_wire import CompletionReader, Dialect, request_body
from agents.models.port import Message, ModelEvent, ModelProfile, ModelRequest, TextDelta

if TYPE_CHECKING:
    from openai import AsyncOpenAI, AsyncStream
    from openai.types.chat import ChatCompletionChunk

USAGE_WAIT_S: Final = 1.0
"""How long after the last word the usage report may take; then it is estimated."""
CLOSE_LIMIT_S: Final = 2.0
WARM_UP_LIMIT_S: Final = 60.0
"""A local server may load its model on the first request."""
MAX_CONNECTIONS: Final = 256
KEEPALIVE_S: Final = 120.0
"""A turn rarely comes within the SDK's default of five seconds, and a new TLS connection costs it two round trips."""


@dataclass(frozen=True, slots=True)
class OpenAICompatibleConfig:
    """Where the model is and how long it may take.

    ``base_url`` is the API's root (``http://localhost:11434/v1``; ``None`` for OpenAI's own), for Azure the resource's
    endpoint, where ``model`` is the deployment. ``first_event_s`` counts from the request to the first piece of the
    answer, ``gap_s`` from one piece to the next; there is no limit on the whole.
    """

    model: str
    base_url: str | None = None
    api_key: str = field(default="none", repr=False)
    kind: Literal["openai", "azure"] = "openai"
    api_version: str = "2024-10-21"
    provider: str = ""
    tools: bool = True
    context_tokens: int = 8_192
    connect_s: float = 5.0
    first_event_s: float = 20.0
    gap_s: float = 15.0

    @property
    def provider_name(self) -> str:
        """``provider``, or what the address says."""
        if self.provider:
            return self.provider
        if self.kind == "azure":
            return "azure_openai"
        return "openai" if _is_openai(self.base_url) else "openai_compatible"


def _is_openai(base_url: str | None) -> bool:
    try:
        host = "api.openai.com" if base_url is None else urlsplit(base_url).hostname or ""
    except ValueError:
        return False
    return host.endswith(".openai.com")


class OpenAICompatibleModel:
    """``LanguageModel`` over the Chat Completions API."""

    def __init__(self, config: OpenAICompatibleConfig) -> None:
        """Imports the SDK and makes the client; nothing is connected yet.

        Raises:
            ModelUnavailable: an address that is none.
        """
        self._config = config
        self._profile = ModelProfile(config.provider_name, config.model, config.tools, config.context_tokens)
        modern = config.kind == "azure" or _is_openai(config.base_url)
        self._dialect = Dialect(limit_name="max_completion_tokens" if modern else "max_tokens")
        try:
            urlsplit(config.base_url or "")
            self._client = _make_client(config)
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
            ModelRejected: any other 4xx.
            ModelUnavailable: not reachable, 5xx, or the answer broke off.
        """
        return self._stream(request, self._config)

    async def aclose(self) -> None:
        """Close all connections."""
        with anyio.move_on_after(CLOSE_LIMIT_S, shield=True):
            await self._client.close()

    async def _stream(self, request: ModelRequest, limits: OpenAICompatibleConfig) -> AsyncGenerator[ModelEvent]:
        reader = CompletionReader(request)
        limit_s = limits.first_event_s
        started = anyio.current_time()
        async with self._opened(request, limit_s) as chunks:
            limit_s = max(0.0, limit_s - (anyio.current_time() - started))
            while (text := await self._next(chunks, reader, limit_s)) is not None:
                if text:
                    yield TextDelta(text)
                limit_s = min(limits.gap_s, USAGE_WAIT_S) if reader.complete else limits.gap_s
        if not reader.complete:
            raise ModelUnavailable("The language model's answer broke off.", provider=self.provider)
        for call in reader.tool_requests():
            yield call
        yield reader.finished()

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
            raise to_model_error(error, self.provider) from error


def _make_client(config: OpenAICompatibleConfig) -> AsyncOpenAI:
    import openai  # noqa: PLC0415

    # Only the connection has a transport limit: every other wait is limited where it happens.
    timeout = openai.Timeout(None, connect=config.connect_s, pool=config.connect_s)
    # The SDK brings an HTTP client of its own choice: its classes are taken from it, not imported beside it.
    limits = type(openai.DEFAULT_CONNECTION_LIMITS)(
        max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS, keepalive_expiry=KEEPALIVE_S
    )
    http = openai.DefaultAsyncHttpxClient(timeout=timeout, limits=limits)
    if config.kind == "openai":
        return openai.AsyncOpenAI(
            api_key=config.api_key, base_url=config.base_url, timeout=timeout, max_retries=0, http_client=http
        )
    if not config.base_url:
        raise ModelRejected("Azure OpenAI needs the resource's endpoint.", provider=config.provider_name)
    return openai.AsyncAzureOpenAI(
        api_key=config.api_key,
        azure_endpoint=config.base_url,
        azure_deployment=config.model,
        api_version=config.api_version,
        timeout=timeout,
        max_retries=0,
        http_client=http,
    )
