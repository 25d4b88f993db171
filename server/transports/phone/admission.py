"""Who may open a media stream: each carrier proves itself in its own way, before the handshake is answered."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping, MutableMapping
from dataclasses import replace
from typing import Any, Literal

from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.guard import Identity, header, require
from server.identity.presented import presented
from server.permissions import Permission
from server.telephony.desk import PhoneDesk
from server.telephony.twilio.signature import HEADER, is_signed

Proof = Literal["twilio", "acs", "secret"]
"""A signature of Twilio's; a token of Azure's; a secret of ours."""


async def admit(desk: PhoneDesk, proof: Proof, scope: MutableMapping[str, Any], query: Mapping[str, str]) -> Identity:
    """To whom the stream's call is attributed. Raises Refused."""
    match proof:
        case "twilio":
            _require_signature(desk, scope)
            return desk.owner
        case "acs":
            if desk.acs_tokens is None:
                raise _not_set_up("Azure Communication Services")
            await desk.acs_tokens.check(header(scope["headers"], b"authorization"))
            return desk.owner
        case "secret":
            return await _by_secret(desk, scope, query)


def _require_signature(desk: PhoneDesk, scope: Mapping[str, Any]) -> None:
    twilio, public_url = desk.settings.twilio, desk.settings.public_url
    if twilio is None or public_url is None:
        raise _not_set_up("Twilio")
    query: str = scope.get("query_string", b"").decode("latin-1")
    path = f"{scope['path']}?{query}" if query else scope["path"]
    signature = header(scope["headers"], HEADER)
    token = twilio.auth_token.get_secret_value()
    # Signed is the address in the TwiML, which begins with wss; some of Twilio's edges have been seen to say https.
    urls = (f"ws{public_url.removeprefix('http')}{path}", f"{public_url}{path}")
    if not any(is_signed(token, url, signature) for url in urls):
        raise Refused(ErrorCode.AUTH_INVALID, "The signature is not Twilio's for this address.")


async def _by_secret(desk: PhoneDesk, scope: MutableMapping[str, Any], query: Mapping[str, str]) -> Identity:
    """A stream secret, or an API key: as a bearer token, as the password of Basic, or as ``token`` in the address."""
    shown = presented(scope)
    values = [*shown.values, *_password(scope)]
    if (token := query.get("token")) is not None:
        values.append(token)
    secrets = [secret.get_secret_value().encode() for secret in desk.settings.stream_secrets]
    known = [hmac.compare_digest(secret, each.encode()) for secret in secrets for each in values]
    if any(known):
        return desk.owner
    # Where streams have secrets nobody comes without one, from this machine neither.
    shown = replace(shown, values=tuple(values), cookie=None, local=shown.local and not secrets)
    identity = await desk.host.authenticate(shown)
    require(identity, Permission.TALK)
    return identity


def _password(scope: Mapping[str, Any]) -> list[str]:
    scheme, _, credentials = (header(scope["headers"], b"authorization") or "").partition(" ")
    if scheme.lower() != "basic":
        return []
    try:
        return [base64.b64decode(credentials, validate=True).decode().partition(":")[2]]
    except (binascii.Error, ValueError):
        return []


def _not_set_up(whom: str) -> Refused:
    return Refused(ErrorCode.REQUEST_INVALID, f"{whom} is not set up here.", http_status=404)
