"""Whether a request comes from Call Automation: its token, checked against the issuer's keys.

https://learn.microsoft.com/azure/communication-services/how-tos/call-automation/secure-webhook-endpoint. RS256 only;
the audience is our resource. Keys come from the OpenID configuration, are kept for an hour, and are fetched anew for a
key nobody knows, at most once a minute: strangers cannot have us ask for ever.
"""

from __future__ import annotations

import logging
import time
from typing import Any, Final, cast

import anyio
import httpx
import jwt
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.telephony_settings import AcsSettings

logger = logging.getLogger(__name__)

KEEP_S: Final = 3_600.0
ANEW_S: Final = 60.0
FETCH_LIMIT_S: Final = 5.0
MAX_BYTES: Final = 256 * 1024
MAX_KEYS: Final = 64
MAX_TOKEN_CHARS: Final = 8_192
LEEWAY_S: Final = 60


class AcsTokens:
    """Checks tokens for one resource."""

    def __init__(self, settings: AcsSettings, http: httpx.AsyncClient) -> None:
        self._settings = settings
        self._http = http
        self._keys: dict[str, PyJWK] = {}
        self._fetched_s: float | None = None
        self._lock = anyio.Lock()

    async def check(self, authorization: str | None) -> None:
        """Raise Refused unless this ``Authorization`` header holds a token of the service's for our resource."""
        scheme, _, token = (authorization or "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN_CHARS:
            raise Refused(ErrorCode.AUTH_INVALID)
        try:
            header = jwt.get_unverified_header(token)
            key = await self._key(str(header.get("kid", "")))
            if key is None or header.get("alg") != "RS256":
                raise Refused(ErrorCode.AUTH_INVALID)
            jwt.decode(
                token,
                key,
                algorithms=["RS256"],
                audience=self._settings.resource_id,
                issuer=self._settings.issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud"]},
            )
        except PyJWTError as error:
            raise Refused(ErrorCode.AUTH_INVALID) from error

    async def _key(self, kid: str) -> PyJWK | None:
        async with self._lock:
            age_s = None if self._fetched_s is None else time.monotonic() - self._fetched_s
            if age_s is None or age_s > KEEP_S or (kid not in self._keys and age_s > ANEW_S):
                await self._fetch()
            return self._keys.get(kid)

    async def _fetch(self) -> None:
        self._fetched_s = time.monotonic()
        try:
            with anyio.fail_after(FETCH_LIMIT_S):
                configuration = await self._json(self._settings.openid_configuration)
                found = await self._json(str(configuration.get("jwks_uri", "")))
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError, TypeError) as error:
            logger.warning("the keys of Azure Communication Services cannot be fetched", extra={"why": str(error)})
            return
        given: object = found.get("keys")
        keys = cast("list[dict[str, Any]]", given)[:MAX_KEYS] if isinstance(given, list) else []
        fetched: dict[str, PyJWK] = {}
        for each in keys:
            try:
                fetched[str(each["kid"])] = PyJWK(each, algorithm="RS256")
            except (PyJWTError, KeyError, TypeError):
                continue
        if fetched:
            self._keys = fetched

    async def _json(self, url: str) -> dict[str, Any]:
        raw = bytearray()
        async with self._http.stream("GET", url, timeout=FETCH_LIMIT_S) as answer:
            answer.raise_for_status()
            async for part in answer.aiter_bytes():
                raw += part
                if len(raw) > MAX_BYTES:
                    raise ValueError("the answer is too long")
        value = httpx.Response(200, content=bytes(raw)).json()
        if not isinstance(value, dict):
            raise TypeError("the answer is no JSON object")
        return cast("dict[str, Any]", value)
