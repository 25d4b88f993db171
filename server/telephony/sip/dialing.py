"""Calling somebody: an INVITE through a trunk, until it is answered or given up (RFC 3261 section 13.2)."""

from __future__ import annotations

import re
import secrets
from dataclasses import replace
from typing import Final, Literal

import anyio
import anyio.lowlevel

from server.ids import new_id
from server.sip_settings import SipSettings, SipTrunk
from server.telephony.port import CallControlError, CallInfo
from server.telephony.sip.call import SipCall
from server.telephony.sip.credentials import CHALLENGES, authorization, credentials_of, is_stale
from server.telephony.sip.identity import number_of
from server.telephony.sip.ports import RtpPorts
from server.telephony.sip.signalling import ALLOW, SUPPORTED, NoAnswer, Signalling
from server.wire.sip.dialog import Dialog
from server.wire.sip.errors import SipError, SipSyntaxError
from server.wire.sip.flow import Flow
from server.wire.sip.message import Pair, Request, Response
from server.wire.sip.session_timer import MIN_SE_S, TOO_SHORT, least_of, timer_from
from server.wire.sip.uri import Address, SipUri, parse_uri

MOST_PROOFS: Final = 3
_NUMBER: Final = re.compile(r"\+?[0-9*#]{2,20}")
_WHY: Final = {
    404: "That number is not in service.",
    480: "Nobody is there to answer.",
    486: "The line is busy.",
    487: "Nobody answered.",
    600: "The line is busy.",
    603: "The call was declined.",
}

NotConnectedStatus = Literal["busy", "no_answer", "failed"]
_STATUS: Final[dict[int, NotConnectedStatus]] = {
    408: "no_answer",
    480: "no_answer",
    486: "busy",
    487: "no_answer",
    600: "busy",
}


class NotConnected(CallControlError):
    """The call was not answered; ``status`` is what is on record of it."""

    def __init__(self, message: str, status: NotConnectedStatus) -> None:
        super().__init__(message)
        self.status: NotConnectedStatus = status


class Dialer:
    """Calls through one trunk."""

    def __init__(self, signalling: Signalling, settings: SipSettings, ports: RtpPorts, trunk: SipTrunk) -> None:
        self._signalling = signalling
        self._settings = settings
        self._ports = ports
        self._trunk = trunk

    async def dial(self, target: str, ring_s: float, known: CallInfo | None = None) -> SipCall:
        """The call, answered; ``known`` is what it is already called. Raises NotConnected, CallControlError."""
        callee = self._callee(target)
        call: SipCall | None = None
        try:
            flow = await self._signalling.find(self._proxy())
        except NoAnswer as error:
            raise NotConnected("The call could not be connected.", "failed") from error
        try:
            call = self._make(callee, flow, known)
            await call.open_media(self._ports)
            secure = self._settings.srtp == "required" or (
                self._settings.srtp == "optional" and flow.transport == "TLS"
            )
            invite, response = await self._invite(call, call.offer(secure=secure), ring_s)
            await self._answered(call, invite, response)
        except BaseException as error:
            if call is not None:
                call.close()
            if isinstance(error, NoAnswer):
                raise NotConnected("Nobody answered.", "no_answer") from error
            if isinstance(error, SipError):
                raise NotConnected("The call could not be connected.", "failed") from error
            raise
        return call

    def _callee(self, target: str) -> SipUri:
        number = re.sub(r"[-.()\s]", "", target)
        if _NUMBER.fullmatch(number):
            return SipUri("sip", number, self._trunk.host or "", self._trunk.port, self._transport())
        try:
            return parse_uri(target)
        except SipSyntaxError as error:
            raise CallControlError("That is neither a number nor a SIP address.") from error

    def _proxy(self) -> SipUri:
        return SipUri("sip", "", self._trunk.host or "", self._trunk.port, self._transport())

    def _transport(self) -> tuple[tuple[str, str | None], ...]:
        return () if self._trunk.transport == "udp" else (("transport", self._trunk.transport),)

    def _make(self, callee: SipUri, flow: Flow, known: CallInfo | None) -> SipCall:
        host, _ = self._signalling.address_for(flow)
        us = SipUri("sip", self._trunk.user or "voice", self._trunk.host or host)
        dialog = Dialog(
            call_id=known.carrier_call_id if known is not None else secrets.token_hex(16),
            local=Address(us).tagged(secrets.token_hex(8)),
            remote=Address(callee),
            target=callee,
            routes=(),
            local_seq=secrets.randbelow(10_000),
            remote_seq=None,
        )
        numbers = {"caller": number_of(us), "callee": number_of(callee)}
        info = CallInfo(new_id("call"), "sip", dialog.call_id, "outbound") if known is None else known
        info = replace(info, **numbers)
        call = SipCall(self._signalling, self._settings, dialog, flow, info)
        call.credentials = credentials_of(self._trunk)
        return call

    async def _invite(self, call: SipCall, body: bytes, ring_s: float) -> tuple[Request, Response]:
        """Ask, again where our password is wanted (or wanted anew) and where sessions last longer. Raises SipError."""
        proof: tuple[Pair, ...] = ()
        expires = self._settings.session_expires_s
        timed: tuple[Pair, ...] = (("session-expires", str(max(MIN_SE_S, expires))),) if expires else ()
        longer: tuple[Pair, ...] = ()
        tries = 0
        while True:
            extra = (
                self._signalling.contact(call.flow, self._trunk.user or "voice"),
                ("allow", ALLOW),
                ("supported", SUPPORTED),
                *timed,
                *longer,
                *proof,
                ("content-type", "application/sdp"),
            )
            invite = call.dialog.request("INVITE", self._signalling.via(call.flow), extra, body)
            response = await self._signalling.ask(invite, call.flow, ring_s)
            if response.status == TOO_SHORT and timed and not longer and (least_s := least_of(response)):
                timed = (("session-expires", str(max(least_s, expires))),)
                longer = (("min-se", str(least_s)),)
                proof = ()  # every nonce is used once
                continue
            if response.status not in CHALLENGES or call.credentials is None or (proof and not is_stale(response)):
                return invite, response
            if (tries := tries + 1) > MOST_PROOFS:
                return invite, response
            proof = (authorization(invite, response, call.credentials),)

    async def _answered(self, call: SipCall, invite: Request, response: Response) -> None:
        if not response.success:
            why = _WHY.get(response.status, "The call could not be connected.")
            raise NotConnected(why, _STATUS.get(response.status, "failed"))
        call.dialog = Dialog.answered(invite, response)
        call.learn(response)
        call.timer = timer_from(response)
        try:
            with anyio.CancelScope(shield=True):
                await call.send_ack(response)
            await anyio.lowlevel.checkpoint()  # whoever asked may have gone meanwhile
            call.answered(response.body)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await call.end("failed")
            raise
        call.confirmed.set()
        call.settled.set()
