"""The HTTP routes that exist, as data: what each takes, gives and may fail with.

The one list from which OpenAPI is generated and against which the application's own routes are tested. Nothing is
listed before it works.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from server.contracts.base import Contract
from server.contracts.chat import AgentList, ChatRequest, ChatResponse
from server.contracts.errors import ErrorCode
from server.contracts.health import HealthResponse, ReadyResponse


@dataclass(frozen=True, slots=True)
class HttpRoute:
    """One route. ``responses`` are JSON bodies by status; ``media_type`` is the success's where it is not JSON."""

    method: Literal["get", "post", "delete"]
    path: str
    operation_id: str
    summary: str
    responses: Mapping[int, type[Contract]] = field(default_factory=dict[int, type[Contract]])
    request: type[Contract] | None = None
    media_type: str = "application/json"
    errors: tuple[ErrorCode, ...] = ()
    """Beyond ``COMMON_ERRORS``."""


COMMON_ERRORS: Final = (ErrorCode.AUTH_INVALID, ErrorCode.AUTH_FORBIDDEN, ErrorCode.INTERNAL)
"""What any route may answer: no key where one is needed, a foreign host or origin, a fault of the server."""

_CHAT_ERRORS: Final = (
    ErrorCode.REQUEST_INVALID,
    ErrorCode.REQUEST_TOO_LARGE,
    ErrorCode.PROVIDER_TIMEOUT,
    ErrorCode.PROVIDER_RATE_LIMITED,
    ErrorCode.PROVIDER_UNAVAILABLE,
    ErrorCode.SERVER_OVERLOADED,
    ErrorCode.SERVER_DRAINING,
)

HTTP_ROUTES: Final[tuple[HttpRoute, ...]] = (
    HttpRoute(
        "post",
        "/v1/chat",
        "chat",
        "Ask in writing, get the whole answer",
        {200: ChatResponse},
        request=ChatRequest,
        errors=_CHAT_ERRORS,
    ),
    HttpRoute(
        "post",
        "/v1/chat/stream",
        "chatStream",
        "Ask in writing, get the answer as it is made (Server-Sent Events)",
        request=ChatRequest,
        media_type="text/event-stream",
        errors=_CHAT_ERRORS,
    ),
    HttpRoute("get", "/v1/agents", "listAgents", "The agents one may talk to", {200: AgentList}),
    HttpRoute("get", "/healthz", "health", "Whether the process answers", {200: HealthResponse}),
    HttpRoute(
        "get",
        "/readyz",
        "ready",
        "Which engines answer, and what is degraded and why",
        {200: ReadyResponse, 503: ReadyResponse},
    ),
    HttpRoute("get", "/metrics", "metrics", "Prometheus metrics", media_type="text/plain"),
)
