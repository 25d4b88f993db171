"""Who is let in to what: which paths want a caller, and whose the key, the session or the client secret is.

Applied by ``server.edge`` to every request and socket, after Host and Origin. Puts ``identity`` (and, for a client
secret, ``grant`` and ``secret``) into the scope's state. Routes judge by permissions (``server.guard.require``).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.types import Scope

from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.guard import Identity, check_host, check_origin, header, host_names
from server.identity.presented import SAFE_METHODS, Presented, presented
from server.secrets import PREFIX, ClientSecrets
from server.settings import Settings

Authenticate = Callable[[Presented], Awaitable[Identity]]
"""Who presents that. Raises Refused."""

_KEYED_PREFIXES: Final = ("/v1/", "/metrics", "/openai/", "/voice-live/")
_OPEN: Final = frozenset({"/v1/auth/login"})
"""Where one goes to become somebody."""
_SECRETS_OPEN: Final = ("/v1/realtime", "/v1/realtime/calls", "/v1/voice/ws", "/v1/ws", "/v1/voice/webrtc")
"""What a client secret opens: a connection of one's own, nothing else."""
_CALLS: Final = ("/v1/realtime/calls/", "/v1/voice/webrtc/rtc_")
"""What the holder of a used secret may still do: change and end the call it opened."""
_CARRIERS: Final = "/v1/phone/"
"""Where telephone carriers come, with credentials of their own: each route there checks them itself."""


class Admission:
    """See the module."""

    def __init__(self, settings: Settings, secrets: ClientSecrets, authenticate: Authenticate) -> None:
        self._settings = settings
        self._names = host_names(settings)
        self._secrets = secrets
        self._authenticate = authenticate

    async def admit(self, scope: Scope) -> None:
        """Raise Refused, or leave in the scope's state who it is (where the path wants that)."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        host = header(headers, b"host")
        check_host(self._names, host)
        if scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS:
            check_origin(self._settings, header(headers, b"origin"), host)
        path: str = scope["path"]
        keyed = path.startswith(_KEYED_PREFIXES) and not path.startswith(_CARRIERS) and path not in _OPEN
        if keyed and scope.get("method") != "OPTIONS":
            await self._identify(scope, presented(scope))

    def give_back(self, scope: Scope) -> None:
        """The request was refused: the secret it used up has opened nothing."""
        secret: str | None = scope["state"].pop("secret", None)
        if secret is not None:
            self._secrets.give_back(secret)

    async def _identify(self, scope: Scope, shown: Presented) -> None:
        state = scope["state"]
        secret = next((value for value in shown.values if value.startswith(PREFIX)), None)
        if secret is not None and scope["path"] in _SECRETS_OPEN and scope.get("method", "POST") == "POST":
            grant = self._secrets.redeem(secret)
            if grant is not None:
                state["identity"], state["grant"], state["secret"] = _alive(grant.identity), grant, secret
                return
        if secret is not None and scope["path"].startswith(_CALLS):
            holder = self._secrets.holder(secret)
            if holder is not None:
                state["identity"] = _alive(holder)
                return
        state["identity"] = await self._authenticate(shown)


def _alive(holder: Identity) -> Identity:
    """A secret is worth no more than the key it was minted with. Raises Refused."""
    if holder.credential is not None and holder.credential.ended(time.monotonic()):
        raise Refused(ErrorCode.AUTH_INVALID)
    return holder
