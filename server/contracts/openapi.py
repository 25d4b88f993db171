"""OpenAPI 3.1 of the HTTP routes, from the route table and the models. Pure; driven by ``generate``."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any, Final

from server.contracts.chat import STREAM_MESSAGES
from server.contracts.errors import ERRORS, ErrorBody, ErrorCode
from server.contracts.http_route import COMMON_ERRORS, HttpRoute
from server.contracts.http_routes import HTTP_ROUTES
from server.contracts.schemas import Json, schemas_of

_PREFIX: Final = "#/components/schemas/"
_PARAMETER: Final = re.compile(r"\{(\w+)\}")


def openapi(version: str) -> Json:
    """The document. ``version`` is the server's."""
    models = [model for route in HTTP_ROUTES for model in (route.request, *route.responses.values()) if model]
    paths: dict[str, Json] = {}
    for route in HTTP_ROUTES:
        paths.setdefault(route.path, {})[route.method] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Convergio Voice",
            "version": version,
            "summary": "A self-hosted, voice-first realtime agent server",
            "description": "The sockets are in asyncapi.json. Unknown fields are ignored in both directions.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://localhost:8080"}],
        "security": [{}, {"apiKey": []}],
        "paths": paths,
        "components": {
            "schemas": schemas_of([*models, *STREAM_MESSAGES, ErrorBody], _PREFIX),
            "securitySchemes": {
                "apiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Needed only where the operator has set keys.",
                }
            },
            "headers": {
                "RequestId": {
                    "description": "Names the request, as `request_id` in the body does.",
                    "schema": {"type": "string"},
                }
            },
        },
    }


def _operation(route: HttpRoute) -> Json:
    operation: Json = {"operationId": route.operation_id, "summary": route.summary}
    if route.request is not None:
        operation["requestBody"] = {"required": True, "content": _json_content(route.request.__name__)}
    if route.request_types:
        content = {kind: {"schema": _body_schema(kind)} for kind in route.request_types}
        operation["requestBody"] = {"required": True, "content": content}
    parameters: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(route.path)
    ]
    parameters += [
        {"name": given.name, "in": "query", "description": given.description, "schema": dict(given.schema)}
        for given in route.query
    ]
    if parameters:
        operation["parameters"] = parameters
    operation["responses"] = _responses(route)
    return operation


def _responses(route: HttpRoute) -> Json:
    responses: Json = {
        str(status): _response(HTTPStatus(status).phrase, _json_content(model.__name__))
        for status, model in route.responses.items()
    }
    if not route.responses:
        phrase = HTTPStatus(route.success).phrase
        content = _text_content(route.media_type) if route.media_type else None
        responses[str(route.success)] = _response(phrase, content)
    by_status: dict[int, list[ErrorCode]] = {}
    for code in (*COMMON_ERRORS, *route.errors):
        by_status.setdefault(ERRORS[code].http_status, []).append(code)
    for status, codes in sorted(by_status.items()):
        text = "; ".join(f"`{code}`: {ERRORS[code].sentence}" for code in codes)
        responses.setdefault(str(status), _response(text, _json_content(ErrorBody.__name__)))
    return responses


def _response(description: str, content: Json | None) -> Json:
    response: Json = {
        "description": description,
        "headers": {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}},
    }
    return response if content is None else response | {"content": content}


def _body_schema(kind: str) -> Json:
    return {"type": "object"} if kind in {"application/json", "multipart/form-data"} else {"type": "string"}


def _json_content(name: str) -> Json:
    return {"application/json": {"schema": {"$ref": _PREFIX + name}}}


def _text_content(media_type: str) -> dict[str, Any]:
    if media_type == "application/json":  # described elsewhere
        return {media_type: {"schema": {"type": "object"}}}
    if media_type != "text/event-stream":
        return {media_type: {"schema": {"type": "string"}}}
    names = ", ".join(f"[{model.__name__}]({_PREFIX}{model.__name__})" for model in STREAM_MESSAGES)
    description = f"`event` is the message's `type`, `id` its `event_id`, `data` its JSON: one of {names}."
    return {media_type: {"schema": {"type": "string", "description": description}}}
