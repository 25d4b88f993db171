"""The HTTP routes of telephone calls, as data: part of ``server.contracts.http_routes``."""

from __future__ import annotations

from typing import Final

from server.contracts.errors import ErrorCode
from server.contracts.http_route import HttpRoute
from server.contracts.phone import CallRequest, CallResponse

_CALL_ERRORS: Final = (
    ErrorCode.REQUEST_INVALID,
    ErrorCode.REQUEST_TOO_LARGE,
    ErrorCode.SERVER_OVERLOADED,
    ErrorCode.SERVER_DRAINING,
)
PHONE_ROUTES: Final[tuple[HttpRoute, ...]] = (
    HttpRoute(
        "post",
        "/v1/calls",
        "placeCall",
        "Call somebody by telephone, once for each `request_id`",
        {201: CallResponse, 200: CallResponse},
        request=CallRequest,
        errors=(*_CALL_ERRORS, ErrorCode.RATE_LIMITED),
    ),
    HttpRoute(
        "get",
        "/v1/calls/{call_id}",
        "getCall",
        "What has become of a telephone call",
        {200: CallResponse},
        errors=(ErrorCode.SESSION_NOT_FOUND,),
    ),
    HttpRoute(
        "delete",
        "/v1/calls/{call_id}",
        "endCall",
        "Hang up a telephone call",
        media_type="",
        success=204,
        errors=(ErrorCode.SESSION_NOT_FOUND, ErrorCode.PROVIDER_UNAVAILABLE),
    ),
)
