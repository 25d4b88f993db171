"""Who may speak to this server, judged from a request's headers alone: Host, Origin, and what credentials it presents.

Pure functions over ASGI headers; ``server.edge`` applies them to every request and every socket before anything
else happens. They stop DNS rebinding (a web page that names this machine by a name of its own) and pages of other
origins (browsers send Origin with every WebSocket and every unsafe request). Whose the credentials are is found out by
``server.identity``; what comes of that, an ``Identity``, is defined here for everybody.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.permissions import OPERATOR, PERMISSIONS, Permission, Role, TenantType
from server.settings import Settings

LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
PROTOCOL: Final = "convergio.v1"
KEY_PROTOCOL_PREFIXES: Final = ("convergio.key.", "openai-insecure-api-key.")
"""Browsers cannot set headers on a WebSocket; they may offer their key as a subprotocol: ours, or OpenAI's SDKs'."""

_FORWARDED: Final = frozenset({b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"})

Headers = Iterable[tuple[bytes, bytes]]


class Credential:
    """What somebody came with: an API key, or the session of a login; shared by all that goes on with it.

    It ends at its time, or when it is revoked: whoever holds it sees that at once. Times are monotonic, so that no
    jump of the wall clock prolongs or ends what has begun.
    """

    __slots__ = ("__weakref__", "ends_at_s", "generation", "key_id", "name", "revoked", "tenant_id", "user_id")

    def __init__(
        self,
        name: str,
        tenant_id: str,
        user_id: str,
        *,
        key_id: str | None = None,
        generation: int | None = None,
        ends_at_s: float = math.inf,
    ) -> None:
        """``name`` is the key's id or the session's; ``key_id`` the key that a session was begun with."""
        self.name = name
        self.tenant_id = tenant_id
        self.user_id = user_id
        self.key_id = key_id
        self.generation = generation
        """Of the user's password, where the session was begun with that."""
        self.revoked = False
        self.ends_at_s = ends_at_s

    @property
    def of_session(self) -> bool:
        """Whether it is a login's session, not a key."""
        return self.key_id is not None or self.generation is not None

    def ended(self, now_s: float) -> bool:
        """Whether nothing may be done with it any more."""
        return self.revoked or now_s >= self.ends_at_s


@dataclass(frozen=True, slots=True)
class Identity:
    """To whom a request is attributed, and what they may do. Two are equal when they are the same caller."""

    tenant_id: str
    user_id: str
    role: Role = field(default="service", compare=False)
    permissions: frozenset[Permission] = field(default=PERMISSIONS["service"], compare=False)
    tenant_type: TenantType = field(default="business", compare=False)
    agent_id: str | None = field(default=None, compare=False)
    """The only agent they may talk to; ``None``: any."""
    test: bool = field(default=False, compare=False)
    """They came with a test key: what they do may cost nothing."""
    credential: Credential | None = field(default=None, compare=False, repr=False)
    """What they came with, where that can end."""

    def may(self, permission: Permission) -> bool:
        """Whether the caller may do that, in their own tenant."""
        return permission in self.permissions


LOCAL_USER: Final = Identity("local", "local", "owner", OPERATOR, "consumer")
"""The person at this machine, where nobody has to log in."""
OPERATOR_AT_TERMINAL: Final = Identity("local", "cli", "owner", OPERATOR, "consumer")
"""Whoever runs the server's commands on its machine."""


def require(caller: Identity, permission: Permission, tenant_id: str | None = None) -> str:
    """The tenant a request is about: ``tenant_id``, or the caller's own.

    Raises:
        Refused: the caller may not do that, or not in that tenant.
    """
    if not caller.may(permission):
        raise Refused(ErrorCode.AUTH_FORBIDDEN, f"This needs the permission {permission}.")
    if tenant_id in (None, caller.tenant_id):
        return caller.tenant_id
    if not caller.may(Permission.OPERATE):
        raise Refused(ErrorCode.AUTH_FORBIDDEN, "Another tenant's affairs are not yours.")
    return tenant_id


def header(headers: Headers, name: bytes) -> str | None:
    """A header's value (the first, where it comes twice); ``name`` in lower case."""
    for key, value in headers:
        if key.lower() == name:
            return value.decode("latin-1")
    return None


def host_names(settings: Settings) -> frozenset[str] | None:
    """The names this server answers to; ``None``: to any."""
    names = frozenset(name.lower() for name in settings.allowed_hosts)
    if settings.guarded and not names:
        return None
    if settings.telephony.public_url is not None:
        names |= {urlsplit(settings.telephony.public_url).hostname or ""}
    return names | LOOPBACK_HOSTS


def check_host(names: frozenset[str] | None, host_header: str | None) -> None:
    """Raise Refused unless the Host header names this server by one of its ``host_names``."""
    if names is not None and _host_name(host_header) not in names:
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


def of_own_origin(headers: Headers, *, safe: bool) -> bool:
    """Whether a browser says that the server's own page asks (or its user, where that is ``safe``): then cookies count.

    Browsers that are too old to say so are believed for what is safe only.
    """
    pairs = list(headers)
    site, origin = header(pairs, b"sec-fetch-site"), header(pairs, b"origin")
    if origin is not None:
        host = header(pairs, b"host") or ""
        return urlsplit(origin).netloc.lower() == host.lower() and site in (None, "same-origin")
    return safe and site in (None, "same-origin", "none")


def forwarded(headers: Headers) -> bool:
    """Whether a proxy says that it stands between the client and this server."""
    return any(name.lower() in _FORWARDED for name, _ in headers)


def _host_name(host_header: str | None) -> str | None:
    if not host_header:
        return None
    try:
        return urlsplit(f"//{host_header}").hostname
    except ValueError:
        return None
