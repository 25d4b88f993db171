"""``/v1/calls``: call somebody, see what has become of a call, hang up."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.contracts.errors import ErrorCode
from server.contracts.phone import CallRequest, CallResponse
from server.errors import Refused
from server.guard import Identity, require
from server.host import Host
from server.permissions import Permission
from server.routes.bodies import answer, caller, named_by_client, read_body, request_id
from server.telephony.call_book import BookedCall
from server.telephony.desk import CallWish, PhoneDesk


def phone_call_routes(host: Host, desk: PhoneDesk) -> list[Route]:
    """The routes, bound to this server."""

    async def place(request: Request) -> Response:
        who = _caller(request)
        body = await read_body(request, CallRequest, host.settings.limits.max_body_bytes)
        named = body.request_id or (request_id(request) if named_by_client(request) else None)
        if named is None:
            raise Refused(ErrorCode.REQUEST_INVALID, "request_id is needed: without it a retry would call twice.")
        given = {"agent_id": body.agent_id, "locale": body.locale, "greeting": body.greeting}
        parameters = {name: value for name, value in given.items() if value is not None}
        wish = CallWish(body.to, body.carrier, parameters, body.on_machine == "hang_up")
        call, new = await desk.place(wish, who, named)
        return answer(_told(request, call), 201 if new else 200, {"Location": f"/v1/calls/{call.call_id}"})

    async def look(request: Request) -> Response:
        return answer(_told(request, await desk.find(request.path_params["call_id"], _caller(request))))

    async def end(request: Request) -> Response:
        await desk.end(request.path_params["call_id"], _caller(request))
        return Response(status_code=204)

    return [
        Route("/v1/calls", place, methods=["POST"]),
        Route("/v1/calls/{call_id}", look, methods=["GET"]),
        Route("/v1/calls/{call_id}", end, methods=["DELETE"]),
    ]


def _caller(request: Request) -> Identity:
    """Who asks, if they may place calls. Raises Refused."""
    require(caller(request), Permission.CALLS)
    return caller(request)


def _told(request: Request, call: BookedCall) -> CallResponse:
    return CallResponse(
        request_id=request_id(request),
        call_id=call.call_id,
        carrier=call.carrier,
        direction=call.direction,
        number=call.number,
        status=call.status,
        reason=call.reason or None,
        created_ms=call.created_ms,
        ended_ms=call.ended_ms,
        session_id=call.session_id,
        call_ms=call.call_ms,
    )
