"""The HTTP routes that exist, as data: what each takes, gives and may fail with.

The one list from which OpenAPI is generated and against which the application's own routes are tested. Nothing is
listed before it works.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_args

from server.contracts.budget_routes import BUDGET_ROUTES
from server.contracts.chat import AgentList, ChatRequest, ChatResponse
from server.contracts.errors import ErrorCode
from server.contracts.health import HealthResponse, ReadyResponse
from server.contracts.http_route import COMMON_ERRORS, HttpRoute, QueryParameter
from server.contracts.identity_routes import IDENTITY_ROUTES
from server.contracts.latency import LatencyReportResponse
from server.contracts.latency_budget import LatencyBudgetList
from server.contracts.phone_routes import PHONE_ROUTES
from server.contracts.privacy_routes import PRIVACY_ROUTES
from server.contracts.provider_key_routes import PROVIDER_KEY_ROUTES
from server.contracts.server_messages import StageName
from server.contracts.session import Patience
from server.contracts.transport import TRANSPORTS
from server.contracts.usage_routes import USAGE_ROUTES
from server.contracts.webrtc import IceServerList

_CHAT_ERRORS: Final = (
    ErrorCode.REQUEST_INVALID,
    ErrorCode.REQUEST_TOO_LARGE,
    ErrorCode.PROVIDER_TIMEOUT,
    ErrorCode.PROVIDER_RATE_LIMITED,
    ErrorCode.PROVIDER_UNAVAILABLE,
    ErrorCode.SERVER_OVERLOADED,
    ErrorCode.SERVER_DRAINING,
    ErrorCode.QUOTA_EXCEEDED,
    ErrorCode.RATE_LIMITED,
    ErrorCode.BILLING_PAYMENT_REQUIRED,
    ErrorCode.BYOK_MISSING_KEY,
)

_TEXT: Final[Mapping[str, Any]] = {"type": "string"}
_SDP: Final = "application/sdp"
_CALL_ERRORS: Final = (
    ErrorCode.REQUEST_INVALID,
    ErrorCode.REQUEST_TOO_LARGE,
    ErrorCode.SERVER_OVERLOADED,
    ErrorCode.SERVER_DRAINING,
)
_KNOWN_CALL_ERRORS: Final = (ErrorCode.REQUEST_INVALID, ErrorCode.SESSION_NOT_FOUND, ErrorCode.SESSION_EXPIRED)


def _openai(prefix: str, name: str) -> tuple[HttpRoute, ...]:
    """OpenAI's realtime routes, which are described by OpenAI."""
    return (
        HttpRoute(
            "post",
            f"{prefix}/client_secrets",
            f"create{name}ClientSecret",
            "A key for one connection of a browser, as OpenAI's API has it",
            request_types=("application/json",),
            errors=(ErrorCode.REQUEST_INVALID, ErrorCode.REQUEST_TOO_LARGE, ErrorCode.RATE_LIMITED),
        ),
        HttpRoute(
            "post",
            f"{prefix}/calls",
            f"create{name}Call",
            "Begin a WebRTC call, as OpenAI's API has it: an SDP offer, alone or in a form with the session",
            media_type=_SDP,
            request_types=(_SDP, "multipart/form-data"),
            success=201,
            errors=_CALL_ERRORS,
        ),
        HttpRoute(
            "post",
            prefix + "/calls/{call_id}/hangup",
            f"hangUp{name}Call",
            "End a WebRTC call",
            media_type="",
            errors=_KNOWN_CALL_ERRORS,
        ),
    )


_LATENCY_FILTERS: Final = (
    QueryParameter(
        "since", "A span (`90m`, `24h`, `7d`) or a moment (RFC 3339).", {"type": "string", "default": "24h"}
    ),
    QueryParameter("stage", "This stage only.", {"type": "string", "enum": list(get_args(StageName))}),
    QueryParameter("agent", "Turns of this agent only.", {"type": "string"}),
    QueryParameter("transport", "Turns that came this way only.", {"type": "string", "enum": list(TRANSPORTS)}),
    QueryParameter(
        "turns",
        "So many of the newest turns, one by one.",
        {"type": "integer", "minimum": 0, "maximum": 50, "default": 0},
    ),
)
_WHOSE_BUDGET: Final = (
    QueryParameter("tenant", "Sessions of this tenant; other than one's own with the operator's keys only.", _TEXT),
    QueryParameter("agent", "Sessions with this agent. Absent: the default one.", _TEXT),
    QueryParameter("locale", "Sessions in this language, a BCP 47 tag.", {"type": "string", "default": "en-US"}),
    QueryParameter(
        "patience",
        "Sessions with this `accessibility.patience`.",
        {"type": "string", "enum": list(get_args(Patience)), "default": "normal"},
    ),
)


__all__ = ["COMMON_ERRORS", "HTTP_ROUTES", "HttpRoute", "QueryParameter"]

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
    HttpRoute(
        "get",
        "/v1/voice/webrtc/ice-servers",
        "iceServers",
        "Which STUN and TURN servers to use, with credentials that soon expire",
        {200: IceServerList},
    ),
    HttpRoute(
        "post",
        "/v1/voice/webrtc",
        "createWebrtcConnection",
        "Begin a conversation over WebRTC: an SDP offer is answered (RFC 9725)",
        media_type=_SDP,
        request_types=(_SDP,),
        success=201,
        errors=_CALL_ERRORS,
    ),
    HttpRoute(
        "patch",
        "/v1/voice/webrtc/{call_id}",
        "changeWebrtcConnection",
        "Candidates that came later (RFC 8840), or a new offer that restarts ICE",
        media_type=_SDP,
        request_types=("application/trickle-ice-sdpfrag", _SDP),
        errors=_KNOWN_CALL_ERRORS,
    ),
    HttpRoute(
        "delete",
        "/v1/voice/webrtc/{call_id}",
        "endWebrtcConnection",
        "End the connection and its conversation",
        media_type="",
        success=204,
        errors=_KNOWN_CALL_ERRORS,
    ),
    *PROVIDER_KEY_ROUTES,
    *PHONE_ROUTES,
    *_openai("/v1/realtime", ""),
    *_openai("/openai/v1/realtime", "Azure"),
    HttpRoute(
        "get",
        "/v1/latency/report",
        "latencyReport",
        "Where the milliseconds of one's own turns went: percentiles by stage, and breaches by action",
        {200: LatencyReportResponse},
        query=_LATENCY_FILTERS,
        errors=(ErrorCode.REQUEST_INVALID, ErrorCode.SERVER_OVERLOADED),
    ),
    HttpRoute(
        "get",
        "/v1/latency-budgets",
        "listLatencyBudgets",
        "How long turns may take here, what is done when they take longer, and what a session may ask for",
        {200: LatencyBudgetList},
        query=_WHOSE_BUDGET,
        errors=(ErrorCode.REQUEST_INVALID, ErrorCode.SERVER_OVERLOADED),
    ),
    *IDENTITY_ROUTES,
    *BUDGET_ROUTES,
    *PRIVACY_ROUTES,
    *USAGE_ROUTES,
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
