"""``/v1/voice/webrtc``: our own protocol over WebRTC, signalled as WHIP has it (RFC 9725).

An offer is posted and answered; candidates that come later and ICE restarts are patched in; DELETE hangs up. The
conversation itself is on the data channel ``convergio.v1``.
"""

from __future__ import annotations

import re
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from server.contracts.errors import ErrorCode
from server.contracts.webrtc import IceServerEntry, IceServerList
from server.errors import Refused
from server.guard import PROTOCOL, Identity, require
from server.host import Host
from server.observability.arrival import Arrival, arrival
from server.permissions import Permission
from server.routes.bodies import NO_STORE, answer, caller, media_type, read_text, request_id
from server.transports.calls import Calls, Conversation, described
from server.transports.connection import Duplex
from server.transports.ice_offer import IceOffer
from server.transports.media_port import MediaPort
from server.transports.rtc.port import MAX_DESCRIPTION_BYTES
from server.transports.voice_conversation import VoiceConversation

SDP: Final = "application/sdp"
FRAGMENT: Final = "application/trickle-ice-sdpfrag"
PATH: Final = "/v1/voice/webrtc"
_DATA: Final = re.compile(r"^m=application ", re.MULTILINE)
_UFRAG: Final = re.compile(r"^a=ice-ufrag:(\S+)", re.MULTILINE)


def webrtc_routes(host: Host, calls: Calls, ice: IceOffer) -> list[BaseRoute]:
    """The routes, bound to this server."""

    async def ice_servers(request: Request) -> Response:
        require(caller(request), Permission.TALK)
        servers = ice.servers(caller(request).user_id, host.epoch_ms() / 1_000)
        entries = tuple(
            IceServerEntry(urls=server.urls, username=server.username, credential=server.credential)
            for server in servers
        )
        body = IceServerList(request_id=request_id(request), ice_servers=entries, ttl_s=ice.lifetime_s)
        return answer(body, headers=NO_STORE)

    async def begin(request: Request) -> Response:
        require(caller(request), Permission.TALK)
        require_type(request, SDP)
        offer = await read_text(request, MAX_DESCRIPTION_BYTES)
        if not has_channel(offer):
            message = f"The offer has no data channel; the conversation is held on one called {PROTOCOL}."
            raise Refused(ErrorCode.REQUEST_INVALID, message)
        host.registry.require_hope()
        owner = caller(request)
        hold = _conversation(host, owner, request_id(request), arrival("webrtc", request.scope))
        call, sdp = await calls.begin(offer, owner, PROTOCOL, hold)
        headers = {"Location": f"{PATH}/{call.call_id}", "ETag": etag(sdp), "Accept-Patch": f"{FRAGMENT}, {SDP}"}
        response = Response(sdp, 201, headers, SDP)
        for link in ice.links(owner.user_id, host.epoch_ms() / 1_000):
            response.headers.append("Link", link)
        return response

    async def change(request: Request) -> Response:
        call = calls.find(request.path_params["call_id"], caller(request))
        require_type(request, FRAGMENT, SDP)
        text = await read_text(request, MAX_DESCRIPTION_BYTES)
        if media_type(request) == FRAGMENT:
            await call.peer.add_candidates(text)
            return Response(status_code=204)
        sdp = await described(call.peer.renegotiate(text))
        return Response(sdp, 200, {"ETag": etag(sdp)}, SDP)

    async def end(request: Request) -> Response:
        call = calls.find(request.path_params["call_id"], caller(request))
        call.hang_up()
        return Response(status_code=204)

    return [
        Route(f"{PATH}/ice-servers", ice_servers, methods=["GET"]),
        Route(PATH, begin, methods=["POST"]),
        Route(PATH + "/{call_id}", change, methods=["PATCH"]),
        Route(PATH + "/{call_id}", end, methods=["DELETE"]),
    ]


def webrtc_off_routes() -> list[BaseRoute]:
    """The same addresses where WebRTC is switched off: they say so."""

    async def refuse(_request: Request) -> Response:
        raise Refused(ErrorCode.REQUEST_INVALID, "WebRTC is switched off here.", http_status=404)

    paths = [f"{PATH}/ice-servers", PATH, PATH + "/{call_id}"]
    paths += [f"{prefix}/calls" for prefix in ("/v1/realtime", "/openai/v1/realtime")]
    return [Route(path, refuse, methods=["GET", "POST", "PATCH", "DELETE"]) for path in paths]


def require_type(request: Request, *allowed: str) -> None:
    """Raise Refused unless the body is of one of these types."""
    if media_type(request) not in allowed:
        raise Refused(ErrorCode.REQUEST_INVALID, f"The body must be {' or '.join(allowed)}.", http_status=415)


def has_channel(offer: str) -> bool:
    """Whether an offer has a section for data channels."""
    return _DATA.search(offer) is not None


def etag(sdp: str) -> str:
    """Names the ICE session of an answer (RFC 9725, section 4.3.1)."""
    found = _UFRAG.search(sdp)
    return f'"{found[1] if found else ""}"'


def _conversation(host: Host, owner: Identity, named: str, came: Arrival) -> Conversation:
    async def hold(media: MediaPort, link: Duplex) -> None:
        await VoiceConversation(host, link, owner, named, came, media).run()

    return hold
