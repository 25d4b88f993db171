"""The HTTP routes of tenants' own keys at providers, as data: part of ``server.contracts.http_routes``."""

from __future__ import annotations

from typing import Final

from server.contracts.errors import ErrorCode
from server.contracts.http_route import HttpRoute, QueryParameter
from server.contracts.provider_keys import (
    ProviderKeyCheckResponse,
    ProviderKeyList,
    ProviderKeyRequest,
    ProviderKeyResponse,
    ProviderKeyRotation,
)

_KEY_ERRORS: Final = (ErrorCode.REQUEST_INVALID, ErrorCode.SERVER_OVERLOADED)
_KEY_CHECK_ERRORS: Final = (
    *_KEY_ERRORS,
    ErrorCode.REQUEST_TOO_LARGE,
    ErrorCode.RATE_LIMITED,
    ErrorCode.PROVIDER_TIMEOUT,
    ErrorCode.PROVIDER_UNAVAILABLE,
)
_WHOSE_KEYS: Final = (
    QueryParameter("tenant", "Another tenant than one's own; with the operator's keys only.", {"type": "string"}),
)
PROVIDER_KEY_ROUTES: Final[tuple[HttpRoute, ...]] = (
    HttpRoute(
        "post",
        "/v1/provider-keys",
        "createProviderKey",
        "Keep a key of one's own at a provider, which is checked first; it is never returned",
        {201: ProviderKeyResponse},
        request=ProviderKeyRequest,
        query=_WHOSE_KEYS,
        errors=(*_KEY_CHECK_ERRORS, ErrorCode.QUOTA_EXCEEDED),
    ),
    HttpRoute(
        "get",
        "/v1/provider-keys",
        "listProviderKeys",
        "The keys that are kept, without what they are",
        {200: ProviderKeyList},
        query=_WHOSE_KEYS,
        errors=_KEY_ERRORS,
    ),
    HttpRoute(
        "get",
        "/v1/provider-keys/{key_id}",
        "getProviderKey",
        "One key that is kept, without what it is",
        {200: ProviderKeyResponse},
        query=_WHOSE_KEYS,
        errors=_KEY_ERRORS,
    ),
    HttpRoute(
        "delete",
        "/v1/provider-keys/{key_id}",
        "deleteProviderKey",
        "Forget a key: running sessions stop using it at their next turn",
        media_type="",
        success=204,
        query=_WHOSE_KEYS,
        errors=_KEY_ERRORS,
    ),
    HttpRoute(
        "post",
        "/v1/provider-keys/{key_id}/rotate",
        "rotateProviderKey",
        "Another secret for the same key, which is checked first",
        {200: ProviderKeyResponse},
        request=ProviderKeyRotation,
        query=_WHOSE_KEYS,
        errors=_KEY_CHECK_ERRORS,
    ),
    HttpRoute(
        "post",
        "/v1/provider-keys/{key_id}/check",
        "checkProviderKey",
        "Ask the provider whether a key that is kept still works",
        {200: ProviderKeyCheckResponse},
        query=_WHOSE_KEYS,
        errors=(*_KEY_ERRORS, ErrorCode.RATE_LIMITED),
    ),
)
