"""Who calls whom, as SIP says it: numbers and URIs of a request, for ``CallInfo``."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Final
from urllib.parse import unquote

from server.telephony.port import CallDirection, CallInfo
from server.wire.sip.errors import SipSyntaxError
from server.wire.sip.message import Request
from server.wire.sip.uri import SipUri, parse_address, parse_uri

_NUMBER: Final = re.compile(r"\+?[0-9*#]{2,20}")
_WITHHELD: Final = frozenset({"anonymous", "unknown", "unavailable", "restricted", "private"})
_MAX_PARAMETERS: Final = 16
_MAX_VALUE: Final = 200


def number_of(uri: SipUri) -> str:
    """A number where the URI holds one, else the URI without parameters; empty where it is withheld."""
    user = unquote(uri.user)
    digits = re.sub(r"[-.()\s]", "", user.partition(";")[0])
    if _NUMBER.fullmatch(digits):
        return digits
    if user.lower() in _WITHHELD or uri.host.lower() == "anonymous.invalid":
        return ""
    return f"{uri.scheme}:{uri.user}@{uri.host}" if uri.user else f"{uri.scheme}:{uri.host}"


def info_of(request: Request, call_id: str, direction: CallDirection, *, trusted: bool) -> CallInfo:
    """What a conversation is told of the call an INVITE opens. Raises SipSyntaxError.

    ``trusted``: the sender may assert who calls (RFC 3325). Headers that begin with ``X-`` become parameters.
    """
    caller = number_of(request.sender.uri)
    asserted = request.headers.all("p-asserted-identity") if trusted else []
    if asserted and "id" not in (request.headers.get("privacy") or "").lower():
        with suppress(SipSyntaxError):
            caller = number_of(parse_address(asserted[0]).uri)
    parameters = [
        (name[2:].replace("-", "_"), value[:_MAX_VALUE])
        for name, value in request.headers.pairs
        if name.startswith("x-") and len(name) > 2
    ]
    return CallInfo(
        call_id=call_id,
        carrier="sip",
        carrier_call_id=request.call_id[:_MAX_VALUE],
        direction=direction,
        caller=caller,
        callee=number_of(parse_uri(request.uri) if direction == "inbound" else request.recipient.uri),
        parameters=dict(parameters[:_MAX_PARAMETERS]),
    )
