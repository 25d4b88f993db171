"""The SIP endpoint: takes calls, keeps them, and hands each to whoever converses.

Decides what becomes of a request that opens something; what belongs to a call is the call's. Owns the calls, their
tasks, their ports and the clock of their media. ``run`` once; then ``dial`` calls somebody.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from server.ids import new_id
from server.sip_settings import SipSettings
from server.telephony.port import CallControlError, CallInfo
from server.telephony.sip.call import SipCall, explained, offered_by
from server.telephony.sip.credentials import credentials_of
from server.telephony.sip.dialing import Dialer
from server.telephony.sip.doorman import Admitted, Doorman, Refusal
from server.telephony.sip.identity import info_of
from server.telephony.sip.jobs import Jobs
from server.telephony.sip.leg import SipLeg
from server.telephony.sip.ports import NoPorts, RtpPorts
from server.telephony.sip.registration import Registration
from server.telephony.sip.signalling import ALLOW, SUPPORTED, NoAnswer, Signalling, addresses_of
from server.transports.rtc.clock import MediaClock
from server.wire.sip.dialog import Dialog, DialogId, dialog_of
from server.wire.sip.errors import BadRequest, NoAgreement, SipSyntaxError
from server.wire.sip.flow import Flow
from server.wire.sip.message import Pair, Request
from server.wire.sip.server_transaction import ServerTransaction
from server.wire.sip.session_timer import timer_for
from server.wire.sip.transactions import Asked

logger = logging.getLogger(__name__)

_ACK_LIMIT_S: Final = 40.0
_WATCH_S: Final = 0.5
_LOOK_UP_S: Final = 300.0
_LOOK_UP_AGAIN_S: Final = 15.0
_LET_GO_S: Final = 25.0
"""What a conversation gets to come to its end after its call has."""

Converse = Callable[[SipLeg, Admitted], Awaitable[None]]
"""Holds a conversation over a leg until it is over; the call ends with it."""


class SipEndpoint:
    """SIP on this machine's ports, as the settings say."""

    def __init__(self, settings: SipSettings, converse: Converse) -> None:
        self._settings = settings
        self._converse = converse
        self._secret = secrets.token_bytes(32)
        self._doorman = Doorman(settings, self._secret, {})
        self._ports = RtpPorts(settings.bind, *settings.rtp_range)
        self._calls: dict[DialogId, SipCall] = {}
        self._ringing: dict[ServerTransaction, SipCall] = {}
        self._clock = MediaClock()
        self._jobs = Jobs()
        self._running = False
        self._draining = False
        self._dialling = 0
        self._registrars: dict[str, list[str]] = {}
        """Addresses of the hosts we register with, by trunk."""
        self.signalling = Signalling(settings, self)
        self.registrations = tuple(
            Registration(trunk, self.signalling, settings.keepalive_s) for trunk in settings.trunks if trunk.registers
        )
        self.listening = anyio.Event()

    # --- life ---

    async def run(self) -> None:
        """Until cancelled. Raises OSError where a port cannot be listened on."""
        await self._look_up_registrars()
        async with anyio.create_task_group() as tasks:
            await self.signalling.open(self._jobs)
            self._running = True
            logger.info("sip listening", extra={"ports": dict(self.signalling.links.ports)})
            self.listening.set()
            tasks.start_soon(self._jobs.run)
            tasks.start_soon(self._clock.run)
            tasks.start_soon(self._watch)
            tasks.start_soon(self._follow_registrars)
            for registration in self.registrations:
                tasks.start_soon(registration.run)
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True), anyio.move_on_after(3):
                    await self._say_goodbye()
                self.signalling.close()
                self._running = False

    @property
    def calls(self) -> int:
        """Calls that are set up, held or being ended now."""
        return len(self._calls)

    @property
    def ports_taken(self) -> int:
        return self._ports.taken

    @property
    def refused(self) -> int:
        """Requests of strangers turned away."""
        return self._doorman.refused

    def late_counts(self) -> list[int]:
        """How late packets of running calls were sent (``outbound.LATENESS_MS``)."""
        sending = [call.media.outbound for call in self._calls.values() if call.media is not None]
        return [sum(counts) for counts in zip(*(one.late_counts for one in sending if one is not None), strict=True)]

    def drain(self) -> None:
        """Take no new calls."""
        self._draining = True

    async def dial(self, target: str, trunk: str, ring_s: float = 30.0, known: CallInfo | None = None) -> SipLeg:
        """Call somebody through a trunk; returns the leg once they answer. Raises CallControlError.

        ``known`` is a call that is on record already, with the name it is to have here (``carrier_call_id``).
        """
        if not self._running or not self._has_room:
            raise CallControlError("No more calls are made now.")
        named = next((one for one in self._settings.trunks if one.name == trunk), None)
        if named is None or named.host is None:
            raise CallControlError("There is no such trunk to call through.")
        self._dialling += 1
        try:
            call = await Dialer(self.signalling, self._settings, self._ports, named).dial(target, ring_s, known)
        finally:
            self._dialling -= 1
        self._calls[call.dialog.id] = call
        self._jobs.start(self._hold, call, Admitted(named.name, named.tenant, named))
        return call.leg

    @property
    def _has_room(self) -> bool:
        """Whether another call may be set up: those we have ring somebody count like any other."""
        return not self._draining and len(self._calls) + self._dialling < self._settings.max_calls

    # --- Receiver ---

    def admit(self, request: Request, flow: Flow) -> Refusal | None:
        try:
            dialog = dialog_of(request)
        except SipSyntaxError:
            dialog = None
        if dialog is not None:
            return None if dialog in self._calls else Refusal(481, "Call/Transaction Does Not Exist")
        judged = self._doorman.judge(request, flow.host, self.signalling.now_s())
        if isinstance(judged, Refusal):
            return judged
        if request.method == "INVITE" and not self._has_room:
            return Refusal(503, "Service Unavailable", (("retry-after", "5"),))
        return None

    def request_came(self, asked: Asked) -> None:
        request, transaction = asked.request, asked.transaction
        if request.method == "CANCEL" and transaction is not None:
            self.signalling.respond(transaction, 200, "OK")
            return
        dialog = dialog_of(request)
        call = None if dialog is None else self._calls.get(dialog)
        if call is not None:
            call.request_came(asked)
        elif transaction is None:
            return
        elif dialog is not None:
            self.signalling.respond(transaction, 481, "Call/Transaction Does Not Exist")
        elif request.method == "INVITE":
            self._invited(asked.request, transaction)
        elif request.method == "OPTIONS":
            extra = (("allow", ALLOW), ("accept", "application/sdp"), ("supported", SUPPORTED))
            self.signalling.respond(transaction, 200, "OK", extra)
        else:
            self.signalling.respond(transaction, 405, "Method Not Allowed", (("allow", ALLOW),))

    def cancelled(self, invite: ServerTransaction) -> None:
        call = self._ringing.get(invite)
        self.signalling.respond(invite, 487, "Request Terminated")
        if call is not None:
            call.gone("caller")

    def unacknowledged(self, invite: ServerTransaction) -> None:
        call_id, _, theirs, ours = invite.dialog
        call = self._calls.get((call_id, ours, theirs))
        if call is not None and not call.over.is_set():
            self._jobs.start(call.end, "lost")

    # --- calls ---

    def _invited(self, request: Request, transaction: ServerTransaction) -> None:
        respond = self.signalling.respond
        try:
            call, admitted = self._make_call(request, transaction)
        except BadRequest as bad:
            respond(transaction, bad.status, bad.reason, explained(bad, request))
            return
        except SipSyntaxError:
            respond(transaction, 400, "Bad Request")
            return
        respond(transaction, 100, "Trying")
        self._calls[call.dialog.id] = self._ringing[transaction] = call
        self._jobs.start(self._answer, call, transaction, admitted)

    def _make_call(self, request: Request, transaction: ServerTransaction) -> tuple[SipCall, Admitted]:
        """Raises BadRequest, SipSyntaxError."""
        unknown = request.headers.tokens("require") - {SUPPORTED}
        if unknown:
            raise BadRequest(420, "Bad Extension")
        offered_by(request)
        timer = timer_for(request, self._settings.session_expires_s)
        dialog = Dialog.accepted(request, transaction.tag)
        judged = self._doorman.whose(request, transaction.flow.host)
        info = info_of(request, new_id("call"), "inbound", trusted=judged.trunk is not None)
        call = SipCall(self.signalling, self._settings, dialog, transaction.flow, info)
        call.invite, call.timer = transaction, timer
        call.credentials = credentials_of(judged.trunk)
        call.learn(request)
        return call, judged

    async def _answer(self, call: SipCall, transaction: ServerTransaction, admitted: Admitted) -> None:
        """From ringing to the end."""
        try:
            if not await self._pick_up(call, transaction):
                self.signalling.respond(transaction, 487, "Request Terminated")
                call.gone("failed")
            else:
                with anyio.move_on_after(_ACK_LIMIT_S):
                    await call.settled.wait()
                self._ringing.pop(transaction, None)
                if call.confirmed.is_set() and not call.over.is_set():
                    await self._hold(call, admitted)
        finally:
            self._ringing.pop(transaction, None)
            await self._close(call)

    async def _pick_up(self, call: SipCall, transaction: ServerTransaction) -> bool:
        respond = self.signalling.respond
        contact = self.signalling.contact(call.flow)
        try:
            await call.open_media(self._ports)
            body = call.answer_to(transaction.request.body)
        except NoPorts:
            respond(transaction, 503, "Service Unavailable", (("retry-after", "5"),))
            return False
        except (NoAgreement, SipSyntaxError):
            respond(transaction, 488, "Not Acceptable Here")
            return False
        respond(transaction, 180, "Ringing", (contact,))
        with anyio.move_on_after(self._settings.answer_delay_ms / 1_000):
            await call.over.wait()
        if call.over.is_set() or not transaction.answerable:
            return False
        timed = [] if call.timer is None else call.timer.headers(request=False)
        extra: tuple[Pair, ...] = (contact, ("allow", ALLOW), ("supported", SUPPORTED), *timed)
        respond(transaction, 200, "OK", extra, body=body)
        assert call.media is not None
        self._clock.add(call.media)
        return True

    async def _hold(self, call: SipCall, admitted: Admitted) -> None:
        """A conversation, for as long as the call lasts and a little longer."""
        if call.media is not None:
            self._clock.add(call.media)
        try:
            async with anyio.create_task_group() as tasks:

                async def let_go() -> None:
                    await call.over.wait()
                    await anyio.sleep(_LET_GO_S)
                    tasks.cancel_scope.cancel()

                tasks.start_soon(let_go)
                await self._converse(call.leg, admitted)
                tasks.cancel_scope.cancel()
        except Exception:
            logger.exception("call failed", extra={"call_id": call.leg.info.call_id})
            await call.end("failed")
        finally:
            await self._close(call)

    async def _close(self, call: SipCall) -> None:
        """Nothing is left of a call."""
        if self._calls.pop(call.dialog.id, None) is None:
            return
        if call.media is not None:
            self._clock.remove(call.media)
        with anyio.CancelScope(shield=True), anyio.move_on_after(2):
            await call.end("draining" if self._draining else "agent")
        call.close()

    async def _watch(self) -> None:
        """Look after every call: whether it is still there, and whether it is to be refreshed."""
        while True:
            await anyio.sleep(_WATCH_S)
            now_s = self.signalling.now_s()
            for call in list(self._calls.values()):
                reason = None if call.over.is_set() else call.watch(now_s)
                if reason is not None:
                    self._jobs.start(call.end, reason)
                elif call.refresh_due(now_s):
                    self._jobs.start(call.refresh)

    async def _follow_registrars(self) -> None:
        """A PBX that is unknown now may be known later, or move."""
        while self.registrations:
            known = len(self._registrars) == len(self.registrations)
            await anyio.sleep(_LOOK_UP_S if known else _LOOK_UP_AGAIN_S)
            await self._look_up_registrars()

    async def _look_up_registrars(self) -> None:
        """Where calls come from that the PBX we register with sends us; what is not known stays as it was."""
        for trunk in self._settings.trunks:
            if trunk.registers and trunk.host is not None:
                try:
                    self._registrars[trunk.name] = await addresses_of(trunk.host)
                except NoAnswer:
                    logger.warning("sip registrar unknown", extra={"trunk": trunk.name})
        self._doorman.know(self._registrars)

    async def _say_goodbye(self) -> None:
        self._draining = True
        async with anyio.create_task_group() as tasks:
            for call in list(self._calls.values()):
                tasks.start_soon(self._close, call)
            for registration in self.registrations:
                tasks.start_soon(registration.leave)
