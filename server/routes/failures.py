"""How the router's own refusals (no such path, no such method) become the contract's.

Everything else is raised through the routes and answered by ``server.edge``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn

from starlette.exceptions import HTTPException
from starlette.requests import Request

from server.contracts.errors import ErrorCode
from server.errors import Refused

_WORDS: Final = {404: "There is nothing at this address.", 405: "This address does not take that method."}


def _refuse(_request: Request, error: Exception) -> NoReturn:
    assert isinstance(error, HTTPException)
    words = _WORDS.get(error.status_code, error.detail)
    raise Refused(ErrorCode.REQUEST_INVALID, words, http_status=error.status_code) from error


EXCEPTION_HANDLERS: Final[Mapping[Any, Any]] = {HTTPException: _refuse}
