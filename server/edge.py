"""The outermost layer of every request and socket: request id, admission, security headers, and failures as JSON.

ASGI middleware. Before: whoever calls is admitted, or not (``server.admission``). After: whatever exception comes out
becomes the contract's error body (``server.errors``), so no route formats errors of its own. Knows no route.
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import MutableMapping
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.admission import Admission
from server.contracts.errors import ErrorCode, error_body
from server.errors import Failure, describe
from server.guard import header
from server.ids import new_id
from server.observability.metrics import Metrics

logger = logging.getLogger(__name__)

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:~-]{1,128}")
REFUSED_FROM: Final = 400
_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_CLOSED_CSP: Final = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")


class Edge:
    """Wraps the application. ``scope["state"]`` carries ``request_id`` and ``identity`` inwards.

    ``request_id_is_clients`` beside them tells whether the client made the id, and may use it again.
    """

    def __init__(self, app: ASGIApp, admission: Admission, metrics: Metrics, routes: frozenset[str]) -> None:
        self._app = app
        self._admission = admission
        self._metrics = metrics
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "websocket":
                await self._socket(scope, receive, send)
            case _:
                await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = _request_id(scope)
        started_at = time.monotonic()
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if message["status"] >= REFUSED_FROM:
                    self._admission.give_back(scope)
                message["headers"] = _with_headers(message.get("headers", ()), request_id)
                route = scope["path"] if scope["path"] in self._routes else "other"
                self._metrics.http.labels(route, message["status"]).observe(time.monotonic() - started_at)
            await send(message)

        try:
            await self._admission.admit(scope)
            await self._app(scope, receive, answer)
        except Exception as error:  # noqa: BLE001 - the one boundary where exceptions become answers
            failure = self._told(error, request_id, scope["path"])
            if not started:
                await send_failure(failure, request_id, answer)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = _request_id(scope)
        try:
            await self._admission.admit(scope)
        except Exception as error:  # noqa: BLE001 - the same boundary, before the handshake
            failure = self._told(error, request_id, scope["path"])
            await deny_socket(failure, request_id, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "websocket.http.response.start":
                self._admission.give_back(scope)
            await send(message)

        await self._app(scope, receive, answer if "secret" in scope["state"] else send)

    def _told(self, error: Exception, request_id: str, path: str) -> Failure:
        failure = describe(error)
        self._metrics.errors.labels(failure.code).inc()
        if not failure.expected:
            logger.error("request failed", exc_info=error, extra={"request_id": request_id, "path": path})
        return failure


def failure_headers(failure: Failure) -> list[tuple[bytes, bytes]]:
    """The headers that belong to a failure."""
    headers = [(b"content-type", b"application/json")]
    if failure.retry_after_s is not None:
        headers.append((b"retry-after", str(math.ceil(failure.retry_after_s)).encode()))
    if failure.code is ErrorCode.AUTH_INVALID:
        headers.append((b"www-authenticate", b"Bearer"))
    return headers


def failure_json(failure: Failure, request_id: str) -> bytes:
    """The contract's ``ErrorBody``."""
    details = dict(failure.details) if failure.details is not None else None
    body = error_body(failure.code, request_id, failure.message, details)
    return body.model_dump_json(exclude_none=True).encode()


async def send_failure(failure: Failure, request_id: str, send: Send) -> None:
    """Answer an HTTP request with a failure."""
    body = failure_json(failure, request_id)
    headers = [*failure_headers(failure), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": failure.http_status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def deny_socket(failure: Failure, request_id: str, receive: Receive, send: Send) -> None:
    """Refuse a WebSocket before its handshake: an HTTP answer with the same body."""
    await receive()
    headers = _with_headers(failure_headers(failure), request_id)
    await send({"type": "websocket.http.response.start", "status": failure.http_status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": failure_json(failure, request_id)})


def _request_id(scope: Scope) -> str:
    given = header(scope["headers"], b"x-request-id")
    theirs = given is not None and _REQUEST_ID.fullmatch(given) is not None
    request_id = given if given is not None and theirs else new_id("req")
    state: MutableMapping[str, Any] = scope.setdefault("state", {})
    state["request_id"] = request_id
    state["request_id_is_clients"] = theirs
    return request_id


def _with_headers(headers: Any, request_id: str) -> list[tuple[bytes, bytes]]:
    merged: list[tuple[bytes, bytes]] = [*headers, (b"x-request-id", request_id.encode())]
    present = {name for name, _ in merged}
    merged.extend(pair for pair in (*_HEADERS, _CLOSED_CSP) if pair[0] not in present)
    return merged
