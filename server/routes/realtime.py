"""The HTTP side of OpenAI's realtime protocol: client secrets, WebRTC calls, hanging up; Azure's paths for the same."""

from __future__ import annotations

import json
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.guard import Identity, require
from server.host import Host
from server.ids import new_id
from server.observability.arrival import Arrival, arrival
from server.permissions import Permission
from server.routes.bodies import NO_STORE, caller, media_type, read_form, read_json, read_text
from server.routes.webrtc import SDP, has_channel
from server.secrets import MAX_LIFE_S, Grant
from server.transports.calls import Calls, Conversation
from server.transports.connection import Duplex
from server.transports.media_port import MediaPort
from server.transports.realtime_conversation import RealtimeConversation, RealtimeOpening, fault_body
from server.transports.realtime_socket import ga_opening, query_of
from server.transports.rtc.port import MAX_DESCRIPTION_BYTES
from server.wire.realtime.faults import RealtimeFault

CHANNEL: Final = "oai-events"
PREFIXES: Final = ("/v1/realtime", "/openai/v1/realtime")
MAX_FORM_BYTES: Final = 256 * 1024


def secret_routes(host: Host) -> list[BaseRoute]:
    """The routes of client secrets, bound to this server."""

    async def client_secrets(request: Request) -> Response:
        require(caller(request), Permission.TALK)
        body = await read_json(request, host.settings.limits.max_body_bytes)
        session = _object(body, "session")
        life_s = _life_s(body)
        try:
            opening = ga_opening({}, Grant(caller(request), session, 0.0))
            expires_at = host.epoch_ms() // 1_000 + life_s
            ends_at = host.epoch_ms() // 1_000 + host.settings.limits.session_minutes * 60
            config = opening.config(new_id("sess"), ends_at, host.engines.for_sessions())
        except RealtimeFault as fault:
            return JSONResponse(fault_body(fault), 400)
        value = host.secrets.mint(caller(request), session, life_s)
        answer = {"value": value, "expires_at": expires_at, "session": config.rendered()}
        return JSONResponse(answer, headers=NO_STORE)

    return [Route(f"{prefix}/client_secrets", client_secrets, methods=["POST"]) for prefix in PREFIXES]


def call_routes(host: Host, calls: Calls) -> list[BaseRoute]:
    """The routes of WebRTC calls, bound to this server."""

    async def begin_call(request: Request) -> Response:
        require(caller(request), Permission.TALK)
        offer, session = await _offer(request)
        grant: Grant | None = request.scope["state"].get("grant")
        owner = caller(request)
        if grant is not None and session:
            raise Refused(ErrorCode.REQUEST_INVALID, "A client secret brings its own session; send the offer alone.")
        preset = session if grant is None else dict(grant.session)
        try:
            opening = ga_opening(query_of(request.scope), Grant(owner, preset, 0.0) if preset else None)
            opening.config(new_id("sess"), 0, host.engines.for_sessions())
        except RealtimeFault as fault:
            return JSONResponse(fault_body(fault), 400)
        host.registry.require_room()
        came = arrival("realtime_webrtc", request.scope)
        label = CHANNEL if has_channel(offer) else None
        call, sdp = await calls.begin(offer, owner, label, _conversation(host, owner, opening, came))
        path = request.url.path.rstrip("/")
        return Response(sdp, 201, {"Location": f"{path}/{call.call_id}"}, SDP)

    async def hang_up(request: Request) -> Response:
        calls.find(request.path_params["call_id"], caller(request)).hang_up()
        return Response(status_code=200)

    routes: list[BaseRoute] = []
    for prefix in PREFIXES:
        routes += [
            Route(f"{prefix}/calls", begin_call, methods=["POST"]),
            Route(prefix + "/calls/{call_id}/hangup", hang_up, methods=["POST"]),
        ]
    return routes


async def _offer(request: Request) -> tuple[str, dict[str, Any]]:
    """The offer and the session's configuration, however they were sent."""
    if media_type(request) == SDP:
        return await read_text(request, MAX_DESCRIPTION_BYTES), {}
    if media_type(request) != "multipart/form-data":
        raise Refused(ErrorCode.REQUEST_INVALID, f"The body must be {SDP} or multipart/form-data.", http_status=415)
    form = await read_form(request, MAX_FORM_BYTES)
    if "sdp" not in form:
        raise Refused(ErrorCode.REQUEST_INVALID, "The form has no part 'sdp'.")
    try:
        session: Any = json.loads(form.get("session") or "{}")
    except ValueError as error:
        raise Refused(ErrorCode.REQUEST_INVALID, "The form's part 'session' is not JSON.") from error
    if not isinstance(session, dict):
        raise Refused(ErrorCode.REQUEST_INVALID, "The form's part 'session' is not an object.")
    return form["sdp"], session  # pyright: ignore[reportUnknownVariableType]


def _conversation(host: Host, owner: Identity, opening: RealtimeOpening, came: Arrival) -> Conversation:
    async def hold(media: MediaPort, link: Duplex) -> None:
        conversation = RealtimeConversation(host, opening, owner, came, media)
        try:
            await conversation.open()
        except Refused as refused:
            fault = RealtimeFault(str(refused), code=refused.code.replace(".", "_"), kind="server_error")
            await link.send(json.dumps({"type": "error", "event_id": new_id("event"), **fault_body(fault)}))
            return
        await conversation.run(link)

    return hold


def _object(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name) or {"type": "realtime"}
    if not isinstance(value, dict):
        raise Refused(ErrorCode.REQUEST_INVALID, f"{name} must be an object.")
    return value  # pyright: ignore[reportUnknownVariableType]


def _life_s(body: dict[str, Any]) -> int:
    """How long a secret lives: as asked for, up to our own limit."""
    after: Any = body.get("expires_after") or {}
    seconds = after.get("seconds", MAX_LIFE_S) if isinstance(after, dict) else None  # pyright: ignore
    if not isinstance(seconds, int) or seconds < 10:
        raise Refused(ErrorCode.REQUEST_INVALID, "expires_after.seconds must be a whole number from 10 on.")
    return min(seconds, MAX_LIFE_S)
