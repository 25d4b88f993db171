"""Short-lived credentials of a TURN server, and the ICE servers a client is told.

The REST scheme of coturn (draft-uberti-behave-turn-rest-00, ``use-auth-secret``): the user name says when it expires,
the password proves that we knew the shared secret. Pure; time is passed in. Called where sessions are opened.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TurnCredentials:
    """What a client shows a TURN server, good until ``expires_s`` (Unix time)."""

    username: str
    password: str = field(repr=False)
    expires_s: int


@dataclass(frozen=True, slots=True)
class IceServer:
    """One entry of a browser's ``iceServers``; user name and credential are those of TURN, else None."""

    urls: tuple[str, ...]
    username: str | None = None
    credential: str | None = field(default=None, repr=False)


def turn_credentials(secret: str, user: str, now_s: float, lifetime_s: int) -> TurnCredentials:
    """Credentials for ``user`` from ``now_s`` (Unix time) on. Raises ValueError for an empty secret or lifetime."""
    if not secret or lifetime_s <= 0:
        raise ValueError("TURN credentials need a secret and a lifetime")
    expires_s = int(now_s) + lifetime_s
    username = f"{expires_s}:{user}" if user else str(expires_s)
    # The scheme prescribes SHA-1; as a keyed hash it is not weakened by collisions.
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return TurnCredentials(username, base64.b64encode(digest).decode("ascii"), expires_s)


def ice_servers(
    stun_urls: Sequence[str], turn_urls: Sequence[str], credentials: TurnCredentials | None
) -> tuple[IceServer, ...]:
    """What to tell a client. TURN servers are left out without credentials: no server takes anybody."""
    servers: list[IceServer] = []
    if stun_urls:
        servers.append(IceServer(tuple(stun_urls)))
    if turn_urls and credentials is not None:
        servers.append(IceServer(tuple(turn_urls), credentials.username, credentials.password))
    return tuple(servers)
