"""An HTTP transport that connects where somebody else says, and nowhere else.

Before each connection the host's address is asked of a function, and the connection is made to just that address: what
was checked is what is reached, whatever the name resolves to a moment later (DNS rebinding). TLS still verifies the
host's name. Where it is told which headers say who asks, those are sent and the protocol's own, and nothing else: what
a library adds from the process's environment (an organisation, a gateway's token) is not for strangers.

Knows no rule about addresses; wraps the transport of the HTTP package at hand, by its public parts only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

AddressOf = Callable[[str, int], Awaitable[str]]
"""The address to connect to for a host and port. Raises whatever keeps the request from being made."""

PLAIN_HEADERS: Final = frozenset(
    (
        "accept",
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "traceparent",
        "transfer-encoding",
        "user-agent",
    )
)
"""Of the protocol, and of nobody in particular."""


class PinnedTransport:
    """Stands where an ``AsyncBaseTransport`` does."""

    def __init__(self, inner: Any, address_of: AddressOf, who: Mapping[str, str] | None = None) -> None:
        """``inner`` is the package's ``AsyncHTTPTransport``; it must not use a proxy. ``who`` are the headers that say
        who asks, their names in lower case."""
        self._inner = inner
        self._address_of = address_of
        self._who = who

    async def handle_async_request(self, request: Any) -> Any:
        """The request, sent to the address that was said; ``Host`` and TLS name stay the host's."""
        host = str(request.url.host)
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        address = await self._address_of(host, port)
        if self._who is not None:
            for name in {str(name).lower() for name in request.headers} - PLAIN_HEADERS:
                del request.headers[name]
            request.headers.update(self._who)
        request.url = request.url.copy_with(host=address)
        request.extensions = {**request.extensions, "sni_hostname": host}
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close its connections."""
        await self._inner.aclose()

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._inner.__aexit__(kind, error, trace)
