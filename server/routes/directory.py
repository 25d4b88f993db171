"""``/v1/keys``, ``/v1/users`` and ``/v1/tenants``: who may come in, kept by those who may say so.

Whoever has ``identity.write`` keeps their own tenant's; who operates the server keeps everybody's, and the tenants.
What is another tenant's is not there: the answer is the same as for what never was.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.contracts.identity import (
    ApiKeyCreated,
    ApiKeyItem,
    ApiKeyList,
    ApiKeyRequest,
    ApiKeyResponse,
    TenantChangeRequest,
    TenantItem,
    TenantList,
    TenantRequest,
    TenantResponse,
    UserChangeRequest,
    UserItem,
    UserList,
    UserRequest,
    UserResponse,
)
from server.guard import Identity, require
from server.host import Host
from server.identity.desk import tenant_meant
from server.identity.entries import KeyEntry, TenantEntry, UserEntry
from server.identity.key_book import NewKey
from server.identity.tenant_book import NewTenant
from server.identity.user_book import NewUser, UserChange
from server.permissions import Permission
from server.routes.bodies import NO_STORE, answer, caller, read_body, request_id
from server.routes.queries import check_names, page_limit, tenant_asked

WRITE: Final = Permission.IDENTITY_WRITE


def directory_routes(host: Host) -> list[Route]:
    """The routes, bound to this server."""
    return [*_key_routes(host), *_user_routes(host), *_tenant_routes(host)]


def _key_routes(host: Host) -> list[Route]:
    async def keys(request: Request) -> Response:
        check_names(request, {"tenant", "revoked", "cursor", "limit"})
        tenant_id, limit = tenant_asked(request, caller(request), WRITE), page_limit(request)
        after, revoked = request.query_params.get("cursor", ""), request.query_params.get("revoked") == "true"
        found = await host.offices.identity.keys.list(tenant_id, after, limit, revoked=revoked)
        cursor = found[-1].key_id if len(found) == limit else None
        items = tuple(_key_item(each) for each in found)
        return answer(ApiKeyList(request_id=request_id(request), keys=items, next_cursor=cursor), headers=NO_STORE)

    async def create(request: Request) -> Response:
        require(caller(request), WRITE)
        check_names(request, ())
        asked = await read_body(request, ApiKeyRequest, host.settings.limits.max_body_bytes)
        wanted = NewKey(
            tenant_id=tenant_meant(require(caller(request), WRITE, asked.tenant_id)),
            name=asked.name,
            role=asked.role,
            user_id=asked.user_id,
            permissions=asked.permissions,
            agent_id=asked.agent_id,
            environment=asked.environment,
            expires_at_ms=asked.expires_at_ms,
        )
        made, value = await host.offices.identity.keys.create(caller(request), wanted, request_id(request))
        body = ApiKeyCreated(request_id=request_id(request), api_key=value, key=_key_item(made))
        return answer(body, 201, NO_STORE)

    async def revoke(request: Request) -> Response:
        who = caller(request)
        reach = _reach(who)
        key_id = request.path_params["key_id"]
        books = host.offices.identity
        revoked = await books.keys.revoke(who, key_id, tenant_id=reach, request_id=request_id(request))
        return answer(ApiKeyResponse(request_id=request_id(request), key=_key_item(revoked)), headers=NO_STORE)

    return [
        Route("/v1/keys", keys, methods=["GET"]),
        Route("/v1/keys", create, methods=["POST"]),
        Route("/v1/keys/{key_id}", revoke, methods=["DELETE"]),
    ]


def _user_routes(host: Host) -> list[Route]:
    async def users(request: Request) -> Response:
        check_names(request, {"tenant", "cursor", "limit"})
        tenant_id, limit = tenant_asked(request, caller(request), WRITE), page_limit(request)
        found = await host.offices.identity.users.list(tenant_id, request.query_params.get("cursor", ""), limit)
        cursor = found[-1].user_id if len(found) == limit else None
        items = tuple(_user_item(each) for each in found)
        return answer(UserList(request_id=request_id(request), users=items, next_cursor=cursor), headers=NO_STORE)

    async def create(request: Request) -> Response:
        require(caller(request), WRITE)
        check_names(request, ())
        asked = await read_body(request, UserRequest, host.settings.limits.max_body_bytes)
        tenant_id = tenant_meant(require(caller(request), WRITE, asked.tenant_id))
        books = host.offices.identity
        password = None if asked.password is None else await books.logins.passwords.hash(asked.password)
        wanted = NewUser(tenant_id, asked.role, asked.name, asked.login_name, password)
        made = await books.users.create(caller(request), wanted, request_id(request))
        return answer(UserResponse(request_id=request_id(request), user=_user_item(made)), 201, NO_STORE)

    async def change(request: Request) -> Response:
        who = caller(request)
        reach = _reach(who)
        asked = await read_body(request, UserChangeRequest, host.settings.limits.max_body_bytes)
        books = host.offices.identity
        password = None if asked.password is None else await books.logins.passwords.hash(asked.password)
        wanted = UserChange(asked.role, asked.name, password, asked.disabled)
        user_id = request.path_params["user_id"]
        changed = await books.users.change(who, user_id, wanted, tenant_id=reach, request_id=request_id(request))
        return answer(UserResponse(request_id=request_id(request), user=_user_item(changed)), headers=NO_STORE)

    return [
        Route("/v1/users", users, methods=["GET"]),
        Route("/v1/users", create, methods=["POST"]),
        Route("/v1/users/{user_id}", change, methods=["PATCH"]),
    ]


def _tenant_routes(host: Host) -> list[Route]:
    async def tenants(request: Request) -> Response:
        require(caller(request), Permission.OPERATE)
        check_names(request, ())
        items = tuple(_tenant_item(each) for each in await host.offices.identity.tenants.list())
        return answer(TenantList(request_id=request_id(request), tenants=items), headers=NO_STORE)

    async def create(request: Request) -> Response:
        require(caller(request), Permission.OPERATE)
        asked = await read_body(request, TenantRequest, host.settings.limits.max_body_bytes)
        wanted = NewTenant(asked.type, asked.name, asked.tenant_id)
        made = await host.offices.identity.tenants.create(caller(request), wanted, request_id(request))
        return answer(TenantResponse(request_id=request_id(request), tenant=_tenant_item(made)), 201, NO_STORE)

    async def change(request: Request) -> Response:
        require(caller(request), Permission.OPERATE)
        asked = await read_body(request, TenantChangeRequest, host.settings.limits.max_body_bytes)
        changed = await host.offices.identity.tenants.change(
            caller(request),
            request.path_params["tenant_id"],
            name=asked.name,
            disabled=asked.disabled,
            request_id=request_id(request),
        )
        return answer(TenantResponse(request_id=request_id(request), tenant=_tenant_item(changed)), headers=NO_STORE)

    return [
        Route("/v1/tenants", tenants, methods=["GET"]),
        Route("/v1/tenants", create, methods=["POST"]),
        Route("/v1/tenants/{tenant_id}", change, methods=["PATCH"]),
    ]


def _reach(who: Identity) -> str | None:
    """Whose keys and users somebody may change: their tenant's, or (``None``) everybody's. Raises Refused."""
    tenant_id = require(who, WRITE)
    return None if who.may(Permission.OPERATE) else tenant_id


def _key_item(entry: KeyEntry) -> ApiKeyItem:
    return ApiKeyItem(**asdict(entry))


def _user_item(entry: UserEntry) -> UserItem:
    return UserItem(**asdict(entry))


def _tenant_item(entry: TenantEntry) -> TenantItem:
    return TenantItem(**asdict(entry))
