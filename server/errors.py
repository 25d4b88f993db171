"""What the edge refuses, and the one place where any exception becomes a code of the contract.

EdgeError
└── Refused               a request this server does not take: code, sentence, perhaps when to come back

``describe`` is total: whatever reaches a transport or a route has a code, a sentence fit for strangers and a
status. Internal details go to the log, never to the client. Knows no transport.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from agents.errors import ModelError, SessionClosed
from audio.errors import AudioFormatError, EngineError, EngineOverloaded, EngineTimeout
from metering.errors import RecorderOverloaded
from metering.records.errors import RecordConflict, RecordsUnavailable
from server.contracts.errors import ERRORS, ErrorCode, ErrorMeaning


class EdgeError(Exception):
    """Base of everything the edge raises on purpose."""


class Refused(EdgeError):
    """A request this server does not take. ``http_status`` only where HTTP has a better word than the table."""

    def __init__(
        self,
        code: ErrorCode,
        message: str | None = None,
        *,
        retry_after_s: float | None = None,
        http_status: int | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message or ERRORS[code].sentence)
        self.code = code
        self.retry_after_s = retry_after_s
        self.http_status = http_status
        self.details = details


@dataclass(frozen=True, slots=True)
class Failure:
    """What a client is told. ``expected`` is False where the operator should look into it."""

    code: ErrorCode
    message: str
    retry_after_s: float | None = None
    http_status: int = 500
    details: Mapping[str, Any] | None = None
    expected: bool = True

    @property
    def meaning(self) -> ErrorMeaning:
        """The contract's row for this code."""
        return ERRORS[self.code]


def _engine_failure(error: EngineError) -> Failure:
    match error:
        case EngineTimeout():
            return _failure(ErrorCode.PROVIDER_TIMEOUT)
        case EngineOverloaded():
            return _failure(ErrorCode.SERVER_OVERLOADED, retry_after_s=1.0)
        case _:
            return _failure(ErrorCode.PROVIDER_UNAVAILABLE, str(error))


def _failure(code: ErrorCode, message: str | None = None, *, retry_after_s: float | None = None) -> Failure:
    meaning = ERRORS[code]
    return Failure(code, message or meaning.sentence, retry_after_s, meaning.http_status)


def describe(error: BaseException) -> Failure:
    """The contract's words for an exception; when to come back is among its details, too."""
    failure = _described(error)
    if failure.retry_after_s is None:
        return failure
    return replace(failure, details={"retry_after_s": round(failure.retry_after_s, 3), **(failure.details or {})})


def _described(error: BaseException) -> Failure:
    match error:
        case Refused():
            status = error.http_status or ERRORS[error.code].http_status
            return Failure(error.code, str(error), error.retry_after_s, status, error.details)
        case ModelError():
            return _failure(ErrorCode(error.code), str(error), retry_after_s=error.retry_after_s)
        case RecorderOverloaded() | RecordsUnavailable():
            return _failure(ErrorCode.SERVER_OVERLOADED, retry_after_s=1.0)
        case RecordConflict():
            return _failure(ErrorCode.REQUEST_INVALID, "There is one of that name already.")
        case SessionClosed():
            return _failure(ErrorCode.SESSION_EXPIRED)
        case AudioFormatError():
            return _failure(ErrorCode.REQUEST_INVALID, str(error))
        case EngineError():
            return _engine_failure(error)
        case TimeoutError():
            return _failure(ErrorCode.PROVIDER_TIMEOUT)
        case ExceptionGroup() if len(error.exceptions) == 1:
            return _described(error.exceptions[0])
        case _:
            meaning = ERRORS[ErrorCode.INTERNAL]
            return Failure(ErrorCode.INTERNAL, meaning.sentence, None, meaning.http_status, expected=False)
