"""What Twilio asks of us over HTTP: what to do with a call, and what has become of one. Every request is signed."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.guard import header
from server.host import Host
from server.ids import new_id
from server.routes.bodies import media_type, read_text
from server.telephony.control import CallStatus
from server.telephony.desk import PhoneDesk
from server.telephony.port import CallInfo
from server.telephony.twilio import markup
from server.telephony.twilio.signature import HEADER, is_signed

PATH: Final = "/v1/phone/twilio"
FORM: Final = "application/x-www-form-urlencoded"
MAX_FIELDS: Final = 200
_STATUS: Final[dict[str, CallStatus]] = {
    "ringing": "ringing",
    "in-progress": "active",
    "completed": "ended",
    "busy": "busy",
    "no-answer": "no_answer",
    "failed": "failed",
    "canceled": "ended",
}


def phone_twilio_routes(host: Host, desk: PhoneDesk) -> list[Route]:
    """The routes, bound to this server."""

    async def voice(request: Request) -> Response:
        form = await _signed_form(host, request)
        call_id = request.query_params.get("call_id") or new_id("call")
        expected = desk.expected(call_id)
        if form.get("AnsweredBy", "").startswith("machine"):
            await desk.became(call_id, "voicemail")
            return _markup(markup.hang_up())
        info = CallInfo(
            call_id,
            "twilio",
            form.get("CallSid", ""),
            "inbound" if expected is None else "outbound",
            caller=form.get("From", ""),
            callee=form.get("To", ""),
            parameters={} if expected is None else expected.parameters,
        )
        desk.expect(info)
        given = {"call_id": call_id, "caller": info.caller, "callee": info.callee}
        url = f"ws{(host.settings.telephony.public_url or '').removeprefix('http')}{PATH}"
        return _markup(markup.connect(url, given))

    async def status(request: Request) -> Response:
        form = await _signed_form(host, request)
        status = _STATUS.get(form.get("CallStatus", ""))
        if status is not None and (call_id := request.query_params.get("call_id")):
            await desk.became(call_id, status)
        return Response(status_code=204)

    async def whisper(request: Request) -> Response:
        await _signed_form(host, request)
        kept = desk.whispers.take(request.query_params.get("token", ""))
        return _markup(markup.say(*kept) if kept is not None else markup.say("", "en-US"))

    return [
        Route(f"{PATH}/voice", voice, methods=["POST"]),
        Route(f"{PATH}/status", status, methods=["POST"]),
        Route(f"{PATH}/whisper", whisper, methods=["POST"]),
    ]


async def _signed_form(host: Host, request: Request) -> dict[str, str]:
    """The request's form; of a field given twice the first. Raises Refused unless Twilio signed it."""
    telephony = host.settings.telephony
    if telephony.twilio is None:
        raise Refused(ErrorCode.REQUEST_INVALID, "Twilio is not set up here.", http_status=404)
    if media_type(request) != FORM:
        raise Refused(ErrorCode.REQUEST_INVALID, f"The body must be {FORM}.", http_status=415)
    body = await read_text(request, host.settings.limits.max_body_bytes)
    try:
        form = parse_qs(body, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise Refused(ErrorCode.REQUEST_INVALID, "The form cannot be read.") from error
    query = f"?{request.url.query}" if request.url.query else ""
    url = f"{telephony.public_url}{request.url.path}{query}"
    token = telephony.twilio.auth_token.get_secret_value()
    if not is_signed(token, url, header(request.scope["headers"], HEADER), form):
        raise Refused(ErrorCode.AUTH_INVALID, "The signature is not Twilio's for this address.")
    return {name: values[0] for name, values in form.items()}


def _markup(text: str) -> Response:
    return Response(text, media_type=markup.TWIML)
