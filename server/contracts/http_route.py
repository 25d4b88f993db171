"""What is said about one HTTP route: a value. The routes there are stand in ``http_routes`` and the lists it joins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from server.contracts.base import Contract
from server.contracts.errors import ErrorCode


@dataclass(frozen=True, slots=True)
class QueryParameter:
    """What a route takes in its query: all of it optional. ``schema`` is JSON Schema."""

    name: str
    description: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class HttpRoute:
    """One route. ``responses`` are JSON bodies by status; ``media_type`` is the success's where it is not JSON.

    ``request_types`` are those of a body that is none of our models; ``success`` the status of an answer that is none.
    """

    method: Literal["get", "post", "patch", "delete"]
    path: str
    operation_id: str
    summary: str
    responses: Mapping[int, type[Contract]] = field(default_factory=dict[int, type[Contract]])
    request: type[Contract] | None = None
    media_type: str = "application/json"
    request_types: tuple[str, ...] = ()
    success: int = 200
    query: tuple[QueryParameter, ...] = ()
    errors: tuple[ErrorCode, ...] = ()
    """Beyond ``COMMON_ERRORS``."""


COMMON_ERRORS: Final = (ErrorCode.AUTH_INVALID, ErrorCode.AUTH_FORBIDDEN, ErrorCode.INTERNAL)
"""What any route may answer: no key where one is needed, a foreign host or origin, a fault of the server."""
