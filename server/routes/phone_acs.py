"""What Azure tells us over HTTP: calls that come in (by Event Grid) and what becomes of calls (by Call Automation).

Event Grid proves itself by the secret in the address it was given; Call Automation by its tokens.
"""

from __future__ import annotations

import hmac
import json
import logging
from collections import OrderedDict
from typing import Any, Final, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.guard import header
from server.host import Host
from server.ids import new_id
from server.routes.bodies import read_text
from server.telephony.control import CallStatus
from server.telephony.desk import PhoneDesk
from server.telephony.port import CallControlError, CallInfo

logger = logging.getLogger(__name__)

PATH: Final = "/v1/phone/acs"
MAX_EVENTS: Final = 100
REMEMBERED: Final = 1_000
VALIDATION: Final = "Microsoft.EventGrid.SubscriptionValidationEvent"
INCOMING: Final = "Microsoft.Communication.IncomingCall"
_STATUS: Final[dict[str, CallStatus]] = {
    "Microsoft.Communication.CallConnected": "ringing",  # active once its stream has come
    "Microsoft.Communication.CallDisconnected": "ended",
    "Microsoft.Communication.CreateCallFailed": "failed",
    "Microsoft.Communication.AnswerFailed": "failed",
}


class SeenEvents:
    """Event Grid may tell everything twice: the ids of the latest events."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, None] = OrderedDict()

    def is_new(self, event_id: str) -> bool:
        """Whether this event comes for the first time."""
        if event_id in self._seen:
            return False
        self._seen[event_id] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return True


def phone_acs_routes(host: Host, desk: PhoneDesk) -> list[Route]:
    """The routes, bound to this server."""
    seen = SeenEvents()

    async def events(request: Request) -> Response:
        _require_secret(host, request.query_params.get("code", ""))
        for event in await _events(host, request):
            kind, data = str(event.get("eventType") or event.get("type")), _object(event.get("data"))
            if kind == VALIDATION:
                return JSONResponse({"validationResponse": str(data.get("validationCode", ""))[:200]})
            if kind == INCOMING and seen.is_new(str(event.get("id", ""))):
                await _answer(desk, data)
        return Response(status_code=200)

    async def callbacks(request: Request) -> Response:
        if desk.acs_tokens is None:
            raise _not_set_up()
        await desk.acs_tokens.check(header(request.scope["headers"], b"authorization"))
        for event in await _events(host, request):
            status = _STATUS.get(str(event.get("type")))
            call_id = request.query_params.get("call_id", "")
            if status is not None and call_id:
                await desk.became(call_id, status)
        return Response(status_code=200)

    return [Route(f"{PATH}/events", events, methods=["POST"]), Route(f"{PATH}/callbacks", callbacks, methods=["POST"])]


async def _answer(desk: PhoneDesk, data: dict[str, Any]) -> None:
    """Take a call, unless there is no room: then it goes on ringing, or goes wherever the operator sends it."""
    context = data.get("incomingCallContext")
    if desk.acs is None or not isinstance(context, str):
        return
    try:
        desk.require_room()
    except Refused:
        logger.warning("a call was not taken: there is no room")
        return
    info = CallInfo(new_id("call"), "acs", "", "inbound", _number(data.get("from")), _number(data.get("to")))
    desk.expect(info)
    try:
        await desk.acs.answer(context, info.call_id)
    except CallControlError as error:
        desk.expected(info.call_id)
        logger.warning("a call could not be taken", extra={"call_id": info.call_id, "why": str(error)})


def _number(identifier: object) -> str:
    said = _object(identifier)
    number = _object(said.get("phoneNumber")).get("value")
    return number[:64] if isinstance(number, str) else str(said.get("rawId", ""))[:64]


def _require_secret(host: Host, presented: str) -> None:
    acs = host.settings.telephony.acs
    if acs is None:
        raise _not_set_up()
    if not hmac.compare_digest(acs.webhook_secret.get_secret_value().encode(), presented.encode()):
        raise Refused(ErrorCode.AUTH_INVALID)


def _not_set_up() -> Refused:
    return Refused(ErrorCode.REQUEST_INVALID, "Azure Communication Services is not set up here.", http_status=404)


async def _events(host: Host, request: Request) -> list[dict[str, Any]]:
    text = await read_text(request, host.settings.limits.max_body_bytes)
    try:
        body: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused(ErrorCode.REQUEST_INVALID, "The body is not valid JSON.") from error
    told = cast("list[object]", body if isinstance(body, list) else [body])
    return [_object(each) for each in told[:MAX_EVENTS]]


def _object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
