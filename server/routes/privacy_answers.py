"""What the privacy office raises, in the contract's words. For the routes on conversations and people's data."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from metering.errors import LedgerError
from metering.records import RecordsError
from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.privacy.errors import Held, NoConsent, OutOfBounds, Unknown

RETRY_AFTER_S: Final = 2.0
CONFLICT: Final = 409
NOT_FOUND: Final = 404


@contextmanager
def refusing() -> Generator[None]:
    """Whatever the office cannot or will not do, as Refused."""
    try:
        yield
    except Held as error:
        details = {"holds": list(error.hold_ids)}
        raise Refused(ErrorCode.REQUEST_INVALID, str(error), http_status=CONFLICT, details=details) from error
    except OutOfBounds as error:
        raise Refused(ErrorCode.REQUEST_INVALID, str(error)) from error
    except NoConsent as error:
        raise Refused(ErrorCode.AUTH_FORBIDDEN, str(error)) from error
    except Unknown as error:
        raise Refused(ErrorCode.REQUEST_INVALID, str(error), http_status=NOT_FOUND) from error
    except (RecordsError, LedgerError) as error:
        words = "What is kept cannot be read or changed at the moment."
        raise Refused(ErrorCode.SERVER_OVERLOADED, words, retry_after_s=RETRY_AFTER_S) from error
