"""What a request presents to be let in, read from its ASGI scope. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Final

from starlette.types import Scope

from server.guard import forwarded, header, of_own_origin, presented_keys

COOKIE: Final = "convergio_session"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
MOST_VALUES: Final = 4
_MAX_COOKIE_CHARS: Final = 8_192


@dataclass(frozen=True, slots=True)
class Presented:
    """``values`` are keys and tokens, in order; ``cookie`` counts only where there are none.

    ``address`` is the client's, as far as it is known; ``local``: it is this machine, and no proxy says otherwise.
    """

    values: tuple[str, ...] = ()
    cookie: str | None = None
    address: str = ""
    local: bool = False


def presented(scope: Scope) -> Presented:
    """What a request presents."""
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    values = tuple(presented_keys(headers, scope.get("subprotocols", ())))[:MOST_VALUES]
    address = client_address(scope)
    cookie = None if values else _cookie(scope, headers)
    return Presented(values, cookie, address, _is_loopback(address) and not forwarded(headers))


def client_address(scope: Scope) -> str:
    """The client's address, or what a trusted proxy says it is (``server.serving``); empty where there is none."""
    client: tuple[str, int] | None = scope.get("client")
    return client[0] if client is not None else ""


def _cookie(scope: Scope, headers: list[tuple[bytes, bytes]]) -> str | None:
    text = header(headers, b"cookie")
    if text is None or COOKIE not in text or len(text) > _MAX_COOKIE_CHARS:
        return None
    safe = scope["type"] == "http" and scope["method"] in SAFE_METHODS
    if not of_own_origin(headers, safe=safe):
        return None
    try:
        morsel = SimpleCookie(text).get(COOKIE)
    except CookieError:
        return None
    return None if morsel is None else morsel.value


def _is_loopback(address: str) -> bool:
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(known, "ipv4_mapped", None)
    return (mapped or known).is_loopback
