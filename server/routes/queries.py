"""Reading query strings, for all routes alike: only what is known, each value checked, and whose affairs are meant."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from starlette.requests import Request

from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.guard import Identity, require
from server.identity.desk import tenant_meant
from server.permissions import Permission

EVERYBODY: Final = "*"
DEFAULT_LIMIT: Final = 100
MOST: Final = 200
_MAX_CHARS: Final = 256


def check_names(request: Request, known: Collection[str]) -> None:
    """Raise Refused for a parameter that is none, or that is too long to be meant."""
    for name, value in request.query_params.items():
        if name not in known:
            raise Refused(ErrorCode.REQUEST_INVALID, f"There is no filter called {name[:40]}.")
        if len(value) > _MAX_CHARS:
            raise Refused(ErrorCode.REQUEST_INVALID, f"{name} is too long.")


def tenant_asked(request: Request, who: Identity, permission: Permission) -> str | None:
    """Whose affairs a request is about: the caller's own, another tenant's, or (``None``) everybody's.

    Raises Refused where the caller may not.
    """
    wanted = request.query_params.get("tenant")
    if wanted == EVERYBODY:
        require(who, permission)
        require(who, Permission.OPERATE)
        return None
    return tenant_meant(require(who, permission, wanted))


def whole_number(request: Request, name: str, least: int, most: int, default: int | None = None) -> int | None:
    """A parameter that is a whole number within bounds. Raises Refused."""
    given = request.query_params.get(name)
    if given is None:
        return default
    try:
        value = int(given)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise Refused(ErrorCode.REQUEST_INVALID, f"{name} must be a whole number from {least} to {most}.")
    return value


def page_limit(request: Request) -> int:
    """How many rows a page may have. Raises Refused."""
    return whole_number(request, "limit", 1, MOST) or DEFAULT_LIMIT
