"""The HTTP routes of identity, as data: see ``http_routes``."""

from __future__ import annotations

from typing import Final

from server.contracts.errors import ErrorCode
from server.contracts.http_route import HttpRoute, QueryParameter
from server.contracts.identity import (
    ApiKeyCreated,
    ApiKeyList,
    ApiKeyRequest,
    ApiKeyResponse,
    AuditPage,
    AuditVerification,
    LoginRequest,
    LoginResponse,
    Me,
    SessionRequest,
    SessionResponse,
    TenantChangeRequest,
    TenantList,
    TenantRequest,
    TenantResponse,
    UserChangeRequest,
    UserList,
    UserRequest,
    UserResponse,
)

_ERRORS: Final = (ErrorCode.REQUEST_INVALID, ErrorCode.SERVER_OVERLOADED)
_BODY_ERRORS: Final = (*_ERRORS, ErrorCode.REQUEST_TOO_LARGE)
_TENANT: Final = QueryParameter(
    "tenant", "Another tenant's, or `*` for everybody's: with the operator's keys only.", {"type": "string"}
)
_CURSOR: Final = QueryParameter("cursor", "What `next_cursor` said.", {"type": "string"})
_LIMIT: Final = QueryParameter(
    "limit", "So many, at most.", {"type": "integer", "minimum": 1, "maximum": 200, "default": 100}
)
_REVOKED: Final = QueryParameter("revoked", "`true`: revoked ones, too.", {"type": "boolean", "default": False})
_AUDIT_FILTERS: Final = (
    QueryParameter("action", "Actions that begin like this, such as `api_key.`.", {"type": "string"}),
    QueryParameter("actor", "What this user or key did.", {"type": "string"}),
    QueryParameter("since_ms", "From this moment on (epoch milliseconds).", {"type": "integer"}),
    QueryParameter("until_ms", "Before this moment (epoch milliseconds).", {"type": "integer"}),
    QueryParameter("order", "Oldest first, or newest.", {"type": "string", "enum": ["asc", "desc"], "default": "asc"}),
)

IDENTITY_ROUTES: Final[tuple[HttpRoute, ...]] = (
    HttpRoute(
        "post",
        "/v1/auth/login",
        "login",
        "Log in by name and password, or by API key: a session that soon ends",
        {200: LoginResponse},
        request=LoginRequest,
        errors=(*_BODY_ERRORS, ErrorCode.RATE_LIMITED),
    ),
    HttpRoute(
        "post",
        "/v1/auth/logout",
        "logout",
        "End the session the caller came with, and clear its cookie",
        media_type="",
        success=204,
        errors=_ERRORS,
    ),
    HttpRoute("get", "/v1/me", "me", "Who the caller is, and what they may do", {200: Me}),
    HttpRoute(
        "post",
        "/v1/sessions",
        "createSession",
        "A client secret: one connection of a browser to the sockets or over WebRTC, begun within a minute",
        {201: SessionResponse},
        success=201,
        request=SessionRequest,
        errors=(*_BODY_ERRORS, ErrorCode.RATE_LIMITED),
    ),
    HttpRoute(
        "get",
        "/v1/keys",
        "listKeys",
        "API keys, without what they are",
        {200: ApiKeyList},
        query=(_TENANT, _REVOKED, _CURSOR, _LIMIT),
        errors=_ERRORS,
    ),
    HttpRoute(
        "post",
        "/v1/keys",
        "createKey",
        "Make an API key; the answer is the only place it is told",
        {201: ApiKeyCreated},
        success=201,
        request=ApiKeyRequest,
        errors=_BODY_ERRORS,
    ),
    HttpRoute(
        "delete",
        "/v1/keys/{key_id}",
        "revokeKey",
        "Revoke an API key, and end what goes on with it",
        {200: ApiKeyResponse},
        errors=_ERRORS,
    ),
    HttpRoute(
        "get",
        "/v1/users",
        "listUsers",
        "Who belongs to the tenant",
        {200: UserList},
        query=(_TENANT, _CURSOR, _LIMIT),
        errors=_ERRORS,
    ),
    HttpRoute(
        "post",
        "/v1/users",
        "createUser",
        "Make a user",
        {201: UserResponse},
        success=201,
        request=UserRequest,
        errors=_BODY_ERRORS,
    ),
    HttpRoute(
        "patch",
        "/v1/users/{user_id}",
        "changeUser",
        "Change a user's name, role or password, or disable them",
        {200: UserResponse},
        request=UserChangeRequest,
        errors=_BODY_ERRORS,
    ),
    HttpRoute("get", "/v1/tenants", "listTenants", "Every tenant (operator)", {200: TenantList}, errors=_ERRORS),
    HttpRoute(
        "post",
        "/v1/tenants",
        "createTenant",
        "Make a tenant (operator)",
        {201: TenantResponse},
        success=201,
        request=TenantRequest,
        errors=_BODY_ERRORS,
    ),
    HttpRoute(
        "patch",
        "/v1/tenants/{tenant_id}",
        "changeTenant",
        "Rename a tenant, disable it or enable it again (operator)",
        {200: TenantResponse},
        request=TenantChangeRequest,
        errors=_BODY_ERRORS,
    ),
    HttpRoute(
        "get",
        "/v1/audit",
        "listAudit",
        "What was done, by whom, and when",
        {200: AuditPage},
        query=(_TENANT, *_AUDIT_FILTERS, _CURSOR, _LIMIT),
        errors=_ERRORS,
    ),
    HttpRoute(
        "get",
        "/v1/audit/verification",
        "verifyAudit",
        "Whether the audit log is as it was written (operator)",
        {200: AuditVerification},
        errors=_ERRORS,
    ),
)
