"""The stable error codes (contract section 4), and what each one means on every surface.

One total table: code -> HTTP status, WebSocket close code, whether trying again may help, a human sentence. A code
never changes or disappears inside ``/v1``. Whoever answers a client looks here; nobody invents a status.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from server.contracts.base import Contract, ServerId


class ErrorCode(StrEnum):
    """What went wrong, for programs."""

    AUTH_INVALID = "auth.invalid"
    AUTH_FORBIDDEN = "auth.forbidden"
    REQUEST_INVALID = "request.invalid"
    REQUEST_TOO_LARGE = "request.too_large"
    QUOTA_EXCEEDED = "quota.exceeded"
    RATE_LIMITED = "rate.limited"
    BILLING_PAYMENT_REQUIRED = "billing.payment_required"
    BYOK_MISSING_KEY = "byok.missing_key"
    PROVIDER_TIMEOUT = "provider.timeout"
    PROVIDER_RATE_LIMITED = "provider.rate_limited"
    PROVIDER_UNAVAILABLE = "provider.unavailable"
    PLUGIN_DENIED = "plugin.denied"
    PLUGIN_FAILED = "plugin.failed"
    SESSION_NOT_FOUND = "session.not_found"
    SESSION_EXPIRED = "session.expired"
    SERVER_OVERLOADED = "server.overloaded"
    SERVER_DRAINING = "server.draining"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class ErrorMeaning:
    """One row of the table.

    ``close_code`` is used where the error ends the socket: 4000 plus the HTTP status where one code has that status,
    or a neighbour of it (RFC 6455 section 7.4.2 leaves 4000-4999 to applications). ``sentence`` is said where there
    is nothing more particular to say.
    """

    http_status: int
    close_code: int
    retryable: bool
    sentence: str


ERRORS: Final[Mapping[ErrorCode, ErrorMeaning]] = MappingProxyType(
    {
        ErrorCode.AUTH_INVALID: ErrorMeaning(401, 4401, False, "The credentials are missing, wrong or expired."),
        ErrorCode.AUTH_FORBIDDEN: ErrorMeaning(403, 4403, False, "These credentials do not allow this."),
        ErrorCode.REQUEST_INVALID: ErrorMeaning(400, 4400, False, "The request is not one this server understands."),
        ErrorCode.REQUEST_TOO_LARGE: ErrorMeaning(413, 4413, False, "The request is larger than this server accepts."),
        ErrorCode.QUOTA_EXCEEDED: ErrorMeaning(429, 4430, False, "The quota is used up."),
        ErrorCode.RATE_LIMITED: ErrorMeaning(429, 4429, True, "Too many requests at once. Please wait a moment."),
        ErrorCode.BILLING_PAYMENT_REQUIRED: ErrorMeaning(402, 4402, False, "The account's budget is used up."),
        ErrorCode.BYOK_MISSING_KEY: ErrorMeaning(424, 4424, False, "No provider key is stored for this tenant."),
        ErrorCode.PROVIDER_TIMEOUT: ErrorMeaning(504, 4504, True, "A provider did not answer in time."),
        ErrorCode.PROVIDER_RATE_LIMITED: ErrorMeaning(503, 4531, True, "A provider refuses more requests for now."),
        ErrorCode.PROVIDER_UNAVAILABLE: ErrorMeaning(502, 4502, True, "A provider cannot be reached."),
        ErrorCode.PLUGIN_DENIED: ErrorMeaning(403, 4433, False, "The plugin is not permitted to do this."),
        ErrorCode.PLUGIN_FAILED: ErrorMeaning(502, 4532, False, "A plugin failed."),
        ErrorCode.SESSION_NOT_FOUND: ErrorMeaning(404, 4404, False, "There is no such session."),
        ErrorCode.SESSION_EXPIRED: ErrorMeaning(410, 4410, False, "The session has ended. Please start a new one."),
        ErrorCode.SERVER_OVERLOADED: ErrorMeaning(503, 4503, True, "The server is full. Please try again shortly."),
        ErrorCode.SERVER_DRAINING: ErrorMeaning(503, 4530, True, "The server is shutting down. Please reconnect."),
        ErrorCode.INTERNAL: ErrorMeaning(500, 4500, True, "Something went wrong on the server."),
    }
)
"""Total: every ``ErrorCode`` has a row (a test holds it)."""


class ErrorDetail(Contract):
    """What went wrong."""

    code: ErrorCode
    """Stable; for programs."""
    message: str
    """For people; may change."""
    retryable: bool
    """Whether the same request may succeed later."""
    details: dict[str, Any] | None = None


class ErrorBody(Contract):
    """The body of every HTTP response that is not a success."""

    request_id: ServerId
    error: ErrorDetail


def error_body(
    code: ErrorCode, request_id: str, message: str | None = None, details: dict[str, Any] | None = None
) -> ErrorBody:
    """The HTTP body of an error; the table's sentence where ``message`` is absent."""
    meaning = ERRORS[code]
    return ErrorBody(
        request_id=request_id,
        error=ErrorDetail(code=code, message=message or meaning.sentence, retryable=meaning.retryable, details=details),
    )
