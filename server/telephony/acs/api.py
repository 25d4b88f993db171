"""Call Automation's REST API, as far as calls need it. ``Dialler`` for Azure Communication Services.

Answers, places, ends and transfers calls, signed with the resource's key (HMAC-SHA256 over date, host and body's hash).
The bodies are held to the models of Microsoft's own package by a test.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Callable
from email.utils import formatdate
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx

from server.telephony.control import DialFailed, OutboundCall
from server.telephony.port import CallControlError, CallInfo
from server.telephony_settings import AcsSettings

API_VERSION: Final = "2025-05-15"
LIMIT_S: Final = 10.0
CALLS: Final = "/calling/callConnections"
GONE: Final = 404
AUDIO_FORMAT: Final = "pcm24KMono"
_TONE_NAMES: Final = "zero one two three four five six seven eight nine asterisk pound a b c d".split()
TONES: Final = dict(zip("0123456789*#ABCD", _TONE_NAMES, strict=True))


class AcsApi:
    """One resource."""

    carrier = "acs"
    presses_keys = True
    says_summary = False

    def __init__(
        self, settings: AcsSettings, public_url: str, http: httpx.AsyncClient, epoch_s: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._public_url = public_url
        self._http = http
        self._epoch_s = epoch_s
        self._key = base64.b64decode(settings.key.get_secret_value())
        self._host = urlsplit(settings.endpoint).netloc

    async def answer(self, incoming_call_context: str, call_id: str) -> str:
        """Take a call that rings. Returns the connection's id. Raises CallControlError."""
        body = {
            "incomingCallContext": incoming_call_context,
            "callbackUri": self._callback(call_id),
            "operationContext": call_id,
            "mediaStreamingOptions": self._streaming(call_id),
        }
        try:
            answer = await self._post(f"{CALLS}:answer", body)
        except httpx.HTTPError as error:
            raise CallControlError("Azure Communication Services cannot be reached.") from error
        return self._connection_id(answer)

    async def dial(self, call: OutboundCall) -> str:
        """Place a call. Raises DialFailed."""
        if self._settings.number is None:
            raise DialFailed("telephony.acs.number is not set: whom should the call come from?", certain=True)
        body = {
            "targets": [_phone(call.to)],
            "sourceCallerIdNumber": {"value": self._settings.number},
            "callbackUri": self._callback(call.call_id),
            "operationContext": call.call_id,
            "mediaStreamingOptions": self._streaming(call.call_id),
        }
        try:
            answer = await self._post(CALLS, body, request_id=call.call_id)
        except httpx.ConnectError as error:
            raise DialFailed("Azure Communication Services cannot be reached.", certain=True) from error
        except httpx.HTTPError as error:
            raise DialFailed("The service did not say whether it placed the call.", certain=False) from error
        if answer.is_server_error:
            raise DialFailed("The service did not say whether it placed the call.", certain=False)
        try:
            return self._connection_id(answer)
        except CallControlError as error:
            raise DialFailed(f"The service refused the call ({answer.status_code}).", certain=True) from error

    async def hang_up(self, info: CallInfo) -> None:
        """End the call for everybody. Raises CallControlError."""
        await self._act(info, "terminate", None, gone_is_fine=True)

    async def transfer(self, info: CallInfo, target: str, summary: str | None) -> None:
        """Connect the caller with ``target``, a number; a summary cannot be said. Raises CallControlError."""
        if not target.startswith("+"):
            raise CallControlError("Azure Communication Services transfers to telephone numbers only.")
        body: dict[str, Any] = {"targetParticipant": _phone(target), "operationContext": info.call_id}
        if self._settings.number is not None:
            body["sourceCallerIdNumber"] = {"value": self._settings.number}
        await self._act(info, "transferToParticipant", body)

    async def send_digits(self, info: CallInfo, digits: str) -> None:
        """Press keys towards the caller. Raises CallControlError."""
        number = info.callee if info.direction == "outbound" else info.caller
        body = {"tones": [TONES[digit] for digit in digits if digit in TONES], "targetParticipant": _phone(number)}
        await self._act(info, "sendDtmfTones", body)

    async def _act(self, info: CallInfo, act: str, body: dict[str, Any] | None, *, gone_is_fine: bool = False) -> None:
        try:
            answer = await self._post(f"{CALLS}/{quote(info.carrier_call_id, safe='')}:{act}", body)
        except httpx.HTTPError as error:
            raise CallControlError("Azure Communication Services cannot be reached.") from error
        if not answer.is_success and not (gone_is_fine and answer.status_code == GONE):
            raise CallControlError(f"Azure Communication Services did not take that. ({answer.status_code})")

    async def _post(self, path: str, body: dict[str, Any] | None, request_id: str | None = None) -> httpx.Response:
        content = "" if body is None else json.dumps(body)
        target = f"{path}?api-version={API_VERSION}"
        date = formatdate(self._epoch_s(), usegmt=True)
        headers = {
            **self._signed("POST", target, content, date),
            "Content-Type": "application/json",
            "Repeatability-Request-ID": _repeatable(request_id),
            "Repeatability-First-Sent": date,
        }
        url = f"{self._settings.endpoint}{target}"
        return await self._http.post(url, content=content, headers=headers, timeout=LIMIT_S)

    def _signed(self, verb: str, target: str, content: str, date: str) -> dict[str, str]:
        hashed = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        to_sign = f"{verb}\n{target}\n{date};{self._host};{hashed}"
        digest = base64.b64encode(hmac.new(self._key, to_sign.encode(), hashlib.sha256).digest()).decode()
        return {
            "x-ms-date": date,
            "x-ms-content-sha256": hashed,
            "Authorization": f"HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={digest}",
        }

    def _callback(self, call_id: str) -> str:
        return f"{self._public_url}/v1/phone/acs/callbacks?call_id={quote(call_id)}"

    def _streaming(self, call_id: str) -> dict[str, Any]:
        return {
            "transportType": "websocket",
            "transportUrl": f"ws{self._public_url.removeprefix('http')}/v1/phone/acs?call_id={quote(call_id)}",
            "contentType": "audio",
            "audioChannelType": "mixed",
            "startMediaStreaming": True,
            "enableBidirectional": True,
            "enableDtmfTones": True,
            "audioFormat": AUDIO_FORMAT,
        }

    def _connection_id(self, answer: httpx.Response) -> str:
        try:
            body: Any = answer.json() if answer.is_success else {}
        except ValueError:
            body = {}
        named = body.get("callConnectionId") if isinstance(body, dict) else None  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
        if not isinstance(named, str) or not named:
            raise CallControlError(f"Azure Communication Services did not take the call. ({answer.status_code})")
        return named


def _phone(number: str) -> dict[str, Any]:
    return {"kind": "phoneNumber", "rawId": f"4:{number}", "phoneNumber": {"value": number}}


def _repeatable(request_id: str | None) -> str:
    """The same for the same request: the service then does it once."""
    return str(uuid.uuid4() if request_id is None else uuid.uuid5(uuid.NAMESPACE_OID, request_id))
