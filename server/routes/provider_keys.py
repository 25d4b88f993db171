"""``/v1/provider-keys``: a tenant's own keys at providers. Written once, never returned."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from metering.records import RecordsError
from server.contracts.errors import ErrorCode
from server.contracts.provider_keys import (
    KeyPlaceFields,
    ProviderKeyCheckResponse,
    ProviderKeyInfo,
    ProviderKeyList,
    ProviderKeyRequest,
    ProviderKeyResponse,
    ProviderKeyRotation,
)
from server.errors import Refused
from server.guard import require
from server.host import Host
from server.permissions import Permission
from server.routes.bodies import NO_STORE, answer, caller, read_body, request_id
from server.vault.addresses import AddressRefused
from server.vault.office import Vault
from server.vault.provider_keys import KeyPlace, NewKey, ProviderKey
from server.vault.store import Act

MAX_BODY_BYTES: Final = 8_192
RETRY_AFTER_S: Final = 5.0
_PLACE: Final = tuple(KeyPlaceFields.model_fields)


def provider_key_routes(host: Host) -> list[Route]:
    """The routes, bound to this server."""

    async def add(request: Request) -> Response:
        async with _asked(host, request) as (vault, act):
            body = await read_body(request, ProviderKeyRequest, MAX_BODY_BYTES)
            place = KeyPlace(**{name: getattr(body, name) for name in _PLACE})
            _check_place(vault, body.provider, place)
            new = NewKey(body.provider, body.label, place)
            key = await vault.add(act, new, body.key.get_secret_value())
            return _one(request, key, 201)

    async def listing(request: Request) -> Response:
        async with _asked(host, request) as (vault, act):
            keys = tuple(_info(key) for key in await vault.list(act.tenant_id))
            return answer(ProviderKeyList(request_id=request_id(request), provider_keys=keys), headers=NO_STORE)

    async def show(request: Request) -> Response:
        async with _asked(host, request) as (vault, act):
            return _one(request, await vault.get(act.tenant_id, _key_id(request)))

    async def rotate(request: Request) -> Response:
        async with _asked(host, request) as (vault, act):
            body = await read_body(request, ProviderKeyRotation, MAX_BODY_BYTES)
            return _one(request, await vault.rotate(act, _key_id(request), body.key.get_secret_value()))

    async def check(request: Request) -> Response:
        async with _asked(host, request) as (vault, act):
            key, checked = await vault.check(act, _key_id(request))
            body = ProviderKeyCheckResponse(
                request_id=request_id(request),
                provider_key=_info(key),
                result=checked.verdict,
                message=checked.message or None,
            )
            return answer(body, headers=NO_STORE)

    async def delete(request: Request) -> Response:
        async with _asked(host, request) as (vault, act):
            await vault.delete(act, _key_id(request))
            return Response(status_code=204)

    path = "/v1/provider-keys"
    one = path + "/{key_id}"
    return [
        Route(path, add, methods=["POST"]),
        Route(path, listing, methods=["GET"]),
        Route(one, show, methods=["GET"]),
        Route(one, delete, methods=["DELETE"]),
        Route(f"{one}/rotate", rotate, methods=["POST"]),
        Route(f"{one}/check", check, methods=["POST"]),
    ]


@asynccontextmanager
async def _asked(host: Host, request: Request) -> AsyncGenerator[tuple[Vault, Act]]:
    """The vault, and who asks it on whose behalf. Raises Refused."""
    unknown = sorted(set(request.query_params) - {"tenant"})
    if unknown:
        raise Refused(ErrorCode.REQUEST_INVALID, f"There is no parameter called {unknown[0][:40]}.")
    who = caller(request)
    tenant_id = require(who, Permission.PROVIDER_KEYS, request.query_params.get("tenant"))
    try:
        yield host.offices.vault, Act(who, tenant_id, request_id(request))
    except RecordsError as error:
        words = "The provider keys cannot be reached at the moment."
        raise Refused(ErrorCode.SERVER_OVERLOADED, words, retry_after_s=RETRY_AFTER_S) from error


def _check_place(vault: Vault, provider: str, place: KeyPlace) -> None:
    name, text = ("endpoint", place.endpoint) if place.base_url is None else ("base_url", place.base_url)
    if text is None:
        return
    try:
        vault.addresses.url(text, azure=provider != "openai-compatible")
    except AddressRefused as error:
        raise Refused(ErrorCode.REQUEST_INVALID, f"{name}: {error}", details={"field": name}) from error


def _key_id(request: Request) -> str:
    return str(request.path_params["key_id"])


def _one(request: Request, key: ProviderKey, status: int = 200) -> Response:
    body = ProviderKeyResponse(request_id=request_id(request), provider_key=_info(key))
    return answer(body, status, NO_STORE)


def _info(key: ProviderKey) -> ProviderKeyInfo:
    return ProviderKeyInfo(
        key_id=key.key_id,
        provider=key.provider,
        label=key.label,
        version=key.version,
        fingerprint=key.fingerprint,
        status="rejected" if key.status == "rejected" else "active",
        created_at_ms=key.created_at_ms,
        rotated_at_ms=key.rotated_at_ms,
        checked_at_ms=key.checked_at_ms,
        last_used_ms=key.last_used_ms,
        **{name: getattr(key.place, name) for name in _PLACE},
    )
