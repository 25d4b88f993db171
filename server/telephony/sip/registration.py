"""Being an extension of a PBX: REGISTER, again before it runs out, and with growing patience where it fails.

One per trunk that asks for it (RFC 3261 section 10.2). An endpoint runs it and has it ``leave`` at the end.
"""

from __future__ import annotations

import logging
import secrets
from typing import Final, Literal

import anyio

from server.sip_settings import SipTrunk
from server.telephony.sip.credentials import CHALLENGES, authorization, credentials_of
from server.telephony.sip.signalling import NoAnswer, Signalling, headers_of
from server.wire.sip.dialog import MAX_FORWARDS
from server.wire.sip.errors import SipError, SipSyntaxError
from server.wire.sip.flow import Flow
from server.wire.sip.framing import PING
from server.wire.sip.message import Pair, Request, Response
from server.wire.sip.text import parameter, whole_number
from server.wire.sip.uri import SipUri, parse_address

logger = logging.getLogger(__name__)

State = Literal["trying", "registered", "failed"]

_FIRST_PATIENCE_S: Final = 2.0
_LAST_PATIENCE_S: Final = 120.0
_LIMIT_S: Final = 10.0
_LEAVE_LIMIT_S: Final = 1.5
_RENEWED_AT: Final = 0.8
_LONGEST_S: Final = 86_400


class Registration:
    """Our registration with one trunk."""

    def __init__(self, trunk: SipTrunk, signalling: Signalling, keepalive_s: float) -> None:
        assert trunk.host is not None, "the settings check it"
        assert trunk.user is not None, "the settings check it"
        transport = () if trunk.transport == "udp" else (("transport", trunk.transport),)
        self.trunk = trunk
        self.state: State = "trying"
        self._registrar = SipUri("sip", "", trunk.host, trunk.port, transport)
        self._address = f"<sip:{trunk.user}@{trunk.host}>"
        self._user = trunk.user
        self._signalling = signalling
        self._call_id = secrets.token_hex(12)
        self._tag = secrets.token_hex(8)
        self._sequence = 0
        self._wanted_s = trunk.register_s
        self._keepalive_s = keepalive_s

    async def run(self) -> None:
        """Stay registered until cancelled."""
        patience_s = _FIRST_PATIENCE_S
        while True:
            try:
                flow = await self._signalling.find(self._registrar)
                granted_s = await self._register(flow, self._wanted_s, _LIMIT_S)
            except SipError as error:
                self._failed(str(error), patience_s)
                await anyio.sleep(patience_s * (0.75 + secrets.randbelow(500) / 1_000))
                patience_s = min(2 * patience_s, _LAST_PATIENCE_S)
                continue
            patience_s = _FIRST_PATIENCE_S
            if self.state != "registered":
                logger.info("sip registered", extra={"trunk": self.trunk.name, "for_s": granted_s})
            self.state = "registered"
            await self._rest(flow, granted_s * _RENEWED_AT)

    async def leave(self) -> None:
        """Be reached there no longer."""
        if self.state != "registered":
            return
        self.state = "trying"
        try:
            await self._register(await self._signalling.find(self._registrar), 0, _LEAVE_LIMIT_S)
        except SipError:
            return

    async def _rest(self, flow: Flow, seconds: float) -> None:
        """Wait, and keep the way to us open meanwhile."""
        while seconds > 0:
            slept_s = min(seconds, self._keepalive_s)
            await anyio.sleep(slept_s)
            seconds -= slept_s
            if seconds > 0:
                self._signalling.links.send(PING, flow)

    async def _register(self, flow: Flow, seconds: int, limit_s: float) -> int:
        """Register for so long; returns for how long it is. Raises SipError."""
        proof: tuple[Pair, ...] = ()
        credentials = credentials_of(self.trunk)
        for _ in range(3):
            request = self._request(flow, seconds, proof)
            response = await self._signalling.ask(request, flow, limit_s)
            if response.success:
                return _granted(response, seconds, self._signalling.contact(flow, self._user)[1])
            if response.status == 423 and seconds:
                seconds = self._wanted_s = max(seconds, _number(response, "min-expires"))
            elif response.status in CHALLENGES and credentials is not None:
                proof = (authorization(request, response, credentials),)
            else:
                raise NoAnswer(f"the registrar answers {response.status}")
        raise NoAnswer("the registrar does not take our password")

    def _request(self, flow: Flow, seconds: int, proof: tuple[Pair, ...]) -> Request:
        self._sequence += 1
        headers = headers_of(
            ("via", self._signalling.via(flow)),
            ("max-forwards", str(MAX_FORWARDS)),
            ("from", f"{self._address};tag={self._tag}"),
            ("to", self._address),
            ("call-id", self._call_id),
            ("cseq", f"{self._sequence} REGISTER"),
            self._signalling.contact(flow, self._user),
            ("expires", str(seconds)),
            *proof,
        )
        return Request(headers, method="REGISTER", uri=str(self._registrar))

    def _failed(self, why: str, patience_s: float) -> None:
        self.state = "failed"
        told = {"trunk": self.trunk.name, "why": why, "again_in_s": round(patience_s)}
        logger.warning("sip registration failed", extra=told)


def _granted(response: Response, asked_s: int, contact: str) -> int:
    """For how long: what stands at our Contact, else at the response, else what we asked for."""
    try:
        contacts = [parse_address(one) for one in response.headers.all("contact")]
        place = parse_address(contact).uri
        mine = [
            one
            for one in contacts
            if (one.uri.user, one.uri.host, one.uri.port) == (place.user, place.host, place.port)
        ]
        given = [parameter(one.params, "expires") for one in mine or contacts]
        seconds = [whole_number(one, _LONGEST_S) for one in given if one]
        return max(30, min(seconds)) if seconds else max(30, _number(response, "expires") or asked_s)
    except SipSyntaxError:
        return max(30, asked_s)


def _number(response: Response, header: str) -> int:
    value = response.headers.get(header)
    return 0 if value is None else whole_number(value, _LONGEST_S)
