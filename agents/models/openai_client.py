"""Where a Chat Completions endpoint is and who asks it, and the SDK's client for that.

Owns the choice among OpenAI's surface, Azure OpenAI's v1 surface (``/openai/v1/``, where a deployment is named like a
model) and Azure's dated one (``/openai/deployments/<name>?api-version=``), and the connection pool. Makes no request.
Driven by ``agents.models.openai_compatible``; the SDK is imported when a client is made.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from agents.errors import ModelRejected
from agents.models.pinned import AddressOf, PinnedTransport

if TYPE_CHECKING:
    from openai import AsyncOpenAI

MAX_CONNECTIONS: Final = 256
KEEPALIVE_S: Final = 120.0
"""A turn rarely comes within the SDK's default of five seconds, and a new TLS connection costs it two round trips."""
AZURE_V1: Final = "/openai/v1"

TokenSource = Callable[[], Awaitable[str]]
"""A bearer token good for the next request; asked before each. Raises ModelError."""


@dataclass(frozen=True, slots=True)
class OpenAICompatibleConfig:
    """Where the model is and how long it may take.

    ``base_url`` is the API's root (``http://localhost:11434/v1``; ``None`` for OpenAI's own), for Azure the resource's
    endpoint, where ``model`` is the deployment; Azure is asked through its v1 surface unless an ``api_version`` is
    named. ``token`` is asked in place of the key. ``first_event_s`` counts from the request to the first piece of the
    answer, ``gap_s`` from one piece to the next; there is no limit on the whole. With ``address_of`` connections are
    made only where it says, redirects are not followed, and no proxy of the environment is used. ``own`` marks a model
    that is asked with the tenant's own key.
    """

    model: str
    base_url: str | None = None
    api_key: str = field(default="none", repr=False)
    kind: Literal["openai", "azure"] = "openai"
    api_version: str | None = None
    token: TokenSource | None = field(default=None, repr=False)
    address_of: AddressOf | None = field(default=None, repr=False)
    own: bool = False
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
        return "openai" if is_openai(self.base_url) else "openai_compatible"


def _who(config: OpenAICompatibleConfig) -> dict[str, str] | None:
    """The one header that says who asks, of a model that is asked with a tenant's key."""
    if not config.own:
        return None
    dated = config.kind == "azure" and config.api_version is not None
    return {"api-key": config.api_key} if dated else {"authorization": f"Bearer {config.api_key}"}


def is_openai(base_url: str | None) -> bool:
    """Whether the address is OpenAI's own."""
    try:
        host = "api.openai.com" if base_url is None else urlsplit(base_url).hostname or ""
    except ValueError:
        return False
    return host.endswith(".openai.com")


def make_client(config: OpenAICompatibleConfig) -> AsyncOpenAI:
    """The client; nothing is connected yet. Raises ModelRejected, or ValueError for an address that is none."""
    import openai  # noqa: PLC0415 - slow to import

    # Only the connection has a transport limit: every other wait is limited where it happens.
    timeout = openai.Timeout(None, connect=config.connect_s, pool=config.connect_s)
    # The SDK brings an HTTP client of its own choice: its classes are taken from it, not imported beside it.
    limits = type(openai.DEFAULT_CONNECTION_LIMITS)(
        max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS, keepalive_expiry=KEEPALIVE_S
    )
    more: dict[str, Any] = {}
    if config.address_of is not None:
        package: Any = import_module(type(limits).__module__.partition(".")[0])
        inner = package.AsyncHTTPTransport(limits=limits, trust_env=False)
        transport = PinnedTransport(inner, config.address_of, _who(config))
        more = {"transport": transport, "trust_env": False, "follow_redirects": False}
    http = openai.DefaultAsyncHttpxClient(timeout=timeout, limits=limits, **more)
    shared: dict[str, Any] = {"timeout": timeout, "max_retries": 0, "http_client": http}
    if config.kind == "openai":
        return openai.AsyncOpenAI(api_key=config.token or config.api_key, base_url=config.base_url, **shared)
    if not config.base_url:
        raise ModelRejected("Azure OpenAI needs the resource's endpoint.", provider=config.provider_name)
    endpoint = config.base_url.rstrip("/").removesuffix(AZURE_V1)
    if config.api_version is None:
        return openai.AsyncOpenAI(api_key=config.token or config.api_key, base_url=f"{endpoint}{AZURE_V1}/", **shared)
    return openai.AsyncAzureOpenAI(
        api_key=None if config.token is not None else config.api_key,
        azure_ad_token_provider=config.token,
        azure_endpoint=endpoint,
        azure_deployment=config.model,
        api_version=config.api_version,
        **shared,
    )
