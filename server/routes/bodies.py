"""Reading request bodies and writing answers, for all routes alike: bounded, checked, with the request's id."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final, TypeVar, cast

import anyio
from pydantic import ValidationError
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from server.contracts.base import Contract
from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.guard import Identity

C = TypeVar("C", bound=Contract)

BODY_LIMIT_S: Final = 10.0
MANY_FAULTS: Final = 5
NO_STORE: Final = {"Cache-Control": "no-store"}
"""Headers of an answer that is of one person, or of one moment."""


async def read_body(request: Request, model: type[C], max_bytes: int) -> C:
    """The request's JSON body as a contract model. Raises Refused."""
    raw = await _read(request, max_bytes, "application/json")
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        raise Refused(ErrorCode.REQUEST_INVALID, _sentence(faults), details={"faults": _faults(faults)}) from error


async def read_json(request: Request, max_bytes: int) -> dict[str, Any]:
    """The request's JSON body, an object of whatever kind; nothing is an empty one. Raises Refused."""
    raw = await _read(request, max_bytes, "application/json")
    try:
        value: Any = json.loads(raw or b"{}")
    except (ValueError, RecursionError) as error:
        raise Refused(ErrorCode.REQUEST_INVALID, "The body is not valid JSON.") from error
    if not isinstance(value, dict):
        raise Refused(ErrorCode.REQUEST_INVALID, "The body must be a JSON object.")
    return cast("dict[str, Any]", value)


async def read_text(request: Request, max_bytes: int) -> str:
    """The request's body as text, of whatever type. Raises Refused."""
    try:
        return (await _read(request, max_bytes)).decode()
    except UnicodeDecodeError as error:
        raise Refused(ErrorCode.REQUEST_INVALID, "The body is not UTF-8.") from error


async def read_form(request: Request, max_bytes: int) -> dict[str, str]:
    """The parts of a multipart form, as text. Raises Refused."""
    body = await _read(request, max_bytes)

    async def again() -> AsyncGenerator[bytes]:
        yield body

    try:
        form = await MultiPartParser(request.headers, again(), max_files=8, max_fields=8).parse()
        parts: dict[str, str] = {}
        for name, value in form.multi_items():
            parts[name] = value if isinstance(value, str) else (await value.read()).decode()
        await form.close()
    except (MultiPartException, UnicodeDecodeError, KeyError) as error:
        raise Refused(ErrorCode.REQUEST_INVALID, "The form cannot be read.") from error
    return parts


async def _read(request: Request, max_bytes: int, kind: str | None = None) -> bytes:
    if kind is not None and media_type(request) != kind:
        raise Refused(ErrorCode.REQUEST_INVALID, f"The body must be {kind}.", http_status=415)
    raw = bytearray()
    try:
        with anyio.fail_after(BODY_LIMIT_S):
            async for part in request.stream():
                raw += part
                if len(raw) > max_bytes:
                    raise Refused(ErrorCode.REQUEST_TOO_LARGE, f"The body may have at most {max_bytes} bytes.")
    except (TimeoutError, ClientDisconnect) as error:
        raise Refused(ErrorCode.REQUEST_INVALID, "The body did not arrive in time.", http_status=408) from error
    return bytes(raw)


def media_type(request: Request) -> str:
    """What the request says its body is, in lower case and without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def answer(body: Contract, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A contract model as a JSON response."""
    return Response(body.model_dump_json(exclude_none=True), status, headers, "application/json")


def request_id(request: Request) -> str:
    """The id of this request, as every answer carries it."""
    return request.scope["state"]["request_id"]


def named_by_client(request: Request) -> bool:
    """Whether the id of this request is the client's own, which may name others too."""
    return request.scope["state"]["request_id_is_clients"]


def caller(request: Request) -> Identity:
    """To whom the request is attributed."""
    return request.scope["state"]["identity"]


def _faults(faults: Sequence[Any]) -> list[dict[str, str]]:
    return [
        {"field": ".".join(str(part) for part in fault["loc"]), "rule": str(fault["msg"])}
        for fault in faults[:MANY_FAULTS]
    ]


def _sentence(faults: Sequence[Any]) -> str:
    first = _faults(faults)[0]
    rule = first["rule"].removeprefix("Value error, ").rstrip(".")
    return f"{first['field']}: {rule}." if first["field"] else f"{rule}."
