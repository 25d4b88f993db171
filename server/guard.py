"""Who may speak to this server: Host, Origin and API key, judged from a request's headers alone.

Pure functions over ASGI headers; ``server.edge`` applies them to every request and every socket before anything
else happens. They stop DNS rebinding (a web page that names this machine by a name of its own), pages of other
origins (browsers send Origin with every WebSocket and every unsafe request), and strangers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.settings import Settings

LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
PROTOCOL: Final = "convergio.v1"
KEY_PROTOCOL_PREFIXES: Final = ("convergio.key.", "openai-insecure-api-key.")
"""Browsers cannot set headers on a WebSocket; they may offer their key as a subprotocol: ours, or OpenAI's SDKs'."""

Headers = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Identity:
    """To whom a request is attributed."""

    tenant_id: str
    user_id: str


LOCAL_USER: Final = Identity("local", "local")
"""The person at this machine, where no keys are configured."""


def header(headers: Headers, name: bytes) -> str | None:
    """A header's value (the first, where it comes twice); ``name`` in lower case."""
    for key, value in headers:
        if key.lower() == name:
            return value.decode("latin-1")
    return None


def check_host(settings: Settings, host_header: str | None) -> None:
    """Raise Refused unless the Host header names this server by a name it answers to."""
    names = frozenset(name.lower() for name in settings.allowed_hosts)
    if settings.keys and not names:
        return
    if settings.telephony.public_url is not None:
        names |= {urlsplit(settings.telephony.public_url).hostname or ""}
    name = _host_name(host_header)
    if name not in names | LOOPBACK_HOSTS:
        raise Refused(
            ErrorCode.AUTH_FORBIDDEN,
            "This server does not answer to that host name (see allowed_hosts in the settings).",
        )


def check_origin(settings: Settings, origin: str | None, host_header: str | None) -> None:
    """Raise Refused for a browser page of another origin that is not in ``allowed_origins``."""
    if origin is None or origin in settings.allowed_origins:
        return
    if origin != "null" and host_header is not None and urlsplit(origin).netloc.lower() == host_header.lower():
        return
    raise Refused(
        ErrorCode.AUTH_FORBIDDEN, "Pages of this origin may not use this server (see allowed_origins in the settings)."
    )


def presented_keys(headers: Headers, subprotocols: Iterable[str] = ()) -> list[str]:
    """The keys a request presents: ``Authorization: Bearer``, Azure's ``api-key``, or an offered subprotocol."""
    pairs = list(headers)
    presented: list[str] = []
    scheme, _, credentials = (header(pairs, b"authorization") or "").partition(" ")
    if scheme.lower() == "bearer":
        presented.append(credentials.strip())
    if (key := header(pairs, b"api-key")) is not None:
        presented.append(key.strip())
    offered = [(protocol, prefix) for protocol in subprotocols for prefix in KEY_PROTOCOL_PREFIXES]
    presented += [protocol.removeprefix(prefix) for protocol, prefix in offered if protocol.startswith(prefix)]
    return presented


def identify(settings: Settings, presented: Iterable[str]) -> Identity:
    """The caller's identity from the keys presented.

    Raises:
        Refused: keys are configured and none of them was presented.
    """
    if not settings.keys:
        return LOCAL_USER
    for key in presented:
        if (owner := settings.key_owner(key)) is not None:
            return Identity(owner.tenant_id, owner.name)
    raise Refused(ErrorCode.AUTH_INVALID)


def _host_name(host_header: str | None) -> str | None:
    if not host_header:
        return None
    try:
        return urlsplit(f"//{host_header}").hostname
    except ValueError:
        return None
