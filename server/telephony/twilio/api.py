"""Twilio's REST API, as far as calls need it: placing, ending, transferring. ``Dialler`` for Twilio.

https://www.twilio.com/docs/voice/api/call-resource. Holds the account's token and never shows it.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import httpx

from server.telephony.control import DialFailed, OutboundCall
from server.telephony.port import CallControlError, CallInfo
from server.telephony.twilio import markup
from server.telephony.whispers import Whispers
from server.telephony_settings import TelephonySettings, TwilioSettings

LIMIT_S: Final = 10.0
GONE: Final = 404
CANNOT: Final = "Twilio did not take that."


class TwilioApi:
    """One account."""

    carrier = "twilio"
    presses_keys = False
    says_summary = True

    def __init__(
        self, account: TwilioSettings, settings: TelephonySettings, http: httpx.AsyncClient, whispers: Whispers
    ) -> None:
        assert settings.public_url is not None, "the settings see to it"
        self._account = account
        self._settings = settings
        self._public_url = settings.public_url
        self._http = http
        self._whispers = whispers

    async def dial(self, call: OutboundCall) -> str:
        """Place a call. Raises DialFailed."""
        if self._account.number is None:
            raise DialFailed("telephony.twilio.number is not set: whom should the call come from?", certain=True)
        form = {
            "To": call.to,
            "From": self._account.number,
            "Url": f"{self._public_url}/v1/phone/twilio/voice?call_id={quote(call.call_id)}",
            "StatusCallback": f"{self._public_url}/v1/phone/twilio/status?call_id={quote(call.call_id)}",
            "StatusCallbackEvent": ["initiated", "ringing", "answered", "completed"],
            "Timeout": str(self._settings.ring_timeout_s),
        }
        if call.hang_up_on_machine:
            form["MachineDetection"] = "Enable"
        try:
            answer = await self._post("Calls.json", form)
        except httpx.ConnectError as error:
            raise DialFailed("Twilio cannot be reached.", certain=True) from error
        except httpx.HTTPError as error:
            raise DialFailed("Twilio did not say whether it placed the call.", certain=False) from error
        if answer.is_server_error:
            raise DialFailed("Twilio did not say whether it placed the call.", certain=False)
        sid = _field(answer, "sid") if answer.is_success else ""
        if not sid:
            raise DialFailed(f"Twilio refused the call ({answer.status_code}).", certain=not answer.is_success)
        return sid

    async def hang_up(self, info: CallInfo) -> None:
        """End a call, ringing or answered. Raises CallControlError."""
        await self._change(info, {"Status": "completed"}, gone_is_fine=True)

    async def transfer(self, info: CallInfo, target: str, summary: str | None) -> None:
        """Dial ``target`` into the call; whoever answers hears the summary first. Raises CallControlError."""
        url = None
        if summary:
            token = self._whispers.keep(summary, info.parameters.get("locale") or self._settings.locale)
            url = f"{self._public_url}/v1/phone/twilio/whisper?token={token}"
        await self._change(info, {"Twiml": markup.dial(target, url, self._settings.ring_timeout_s)})

    async def send_digits(self, info: CallInfo, digits: str) -> None:
        """Not while a stream is connected: Twilio would have to leave it for that. Raises CallControlError."""
        raise CallControlError("Twilio presses no keys while a stream is connected.")

    async def _change(self, info: CallInfo, form: dict[str, Any], *, gone_is_fine: bool = False) -> None:
        try:
            answer = await self._post(f"Calls/{quote(info.carrier_call_id, safe='')}.json", form)
        except httpx.HTTPError as error:
            raise CallControlError("Twilio cannot be reached.") from error
        if not answer.is_success and not (gone_is_fine and answer.status_code == GONE):
            raise CallControlError(f"{CANNOT} ({answer.status_code})")

    async def _post(self, path: str, form: dict[str, Any]) -> httpx.Response:
        sid = self._account.account_sid
        url = f"{self._account.api_url}/2010-04-01/Accounts/{sid}/{path}"
        auth = (sid, self._account.auth_token.get_secret_value())
        return await self._http.post(url, data=form, auth=auth, timeout=LIMIT_S)


def _field(answer: httpx.Response, name: str) -> str:
    try:
        body: Any = answer.json()
    except ValueError:
        return ""
    return str(body.get(name, "")) if isinstance(body, dict) else ""  # pyright: ignore[reportUnknownMemberType,reportUnknownArgumentType]
