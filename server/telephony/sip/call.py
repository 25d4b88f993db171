"""One call's signalling once there is a dialog: what comes within it, what we ask of the other side, its end.

Owns the dialog, the media's agreement and the session timer. Its leg is all a conversation sees. An endpoint makes it,
hands it the requests that belong to it, and looks after it (``watch``) twice a second.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import replace
from typing import Final

import anyio

from server.sip_settings import SipSettings
from server.telephony.port import CallControlError, CallInfo, HangUpReason
from server.telephony.sip.credentials import CHALLENGES, authorization
from server.telephony.sip.leg import SipLeg
from server.telephony.sip.media import CallMedia
from server.telephony.sip.ports import RtpPorts
from server.telephony.sip.signalling import ALLOW, SUPPORTED, NoAnswer, Signalling
from server.telephony.unless import unless
from server.wire.sip.dialog import Dialog
from server.wire.sip.digest import Credentials
from server.wire.sip.errors import BadRequest, NoAgreement, SipError, SipSyntaxError
from server.wire.sip.flow import Flow
from server.wire.sip.message import Pair, Request, Response
from server.wire.sip.offer_answer import Agreed, MediaTaste, Place, answer_offer, make_offer, read_answer
from server.wire.sip.sdp import AudioSection, Description, Other, Ours, parse_sdp, write_sdp
from server.wire.sip.server_transaction import ServerTransaction
from server.wire.sip.session_timer import MIN_SE_S, SessionTimer, timer_for, timer_from
from server.wire.sip.transactions import Asked
from server.wire.sip.uri import parse_uri

REQUEST_LIMIT_S: Final = 8.0
BYE_LIMIT_S: Final = 1.5
REFRESH_AGAIN_S: Final = 10.0
"""From an attempt to refresh the session that failed to the next."""
_DTMF: Final = re.compile(r"\s*Signal\s*=\s*([0-9*#A-Da-d])", re.IGNORECASE)
_STATUS: Final = re.compile(r"SIP/2\.0\s+(\d{3})", re.IGNORECASE)


class SipCall:
    """A call from its INVITE on. ``over`` is set at its end, whoever brought it about."""

    def __init__(
        self, signalling: Signalling, settings: SipSettings, dialog: Dialog, flow: Flow, info: CallInfo
    ) -> None:
        self.dialog = dialog
        self.flow = flow
        self.leg = SipLeg(info, self)
        self.over = anyio.Event()
        self.confirmed = anyio.Event()
        """The other side has acknowledged our answer, or we theirs."""
        self.settled = anyio.Event()
        """Confirmed or over."""
        self.credentials: Credentials | None = None
        self.invite: ServerTransaction | None = None
        self.media: CallMedia | None = None
        self.timer: SessionTimer | None = None
        self._signalling = signalling
        self._settings = settings
        self._taste = MediaTaste(settings.codecs, settings.srtp)
        self._session_id = secrets.randbits(31)
        self._version = 0
        self._agreed: Agreed | None = None
        self._offered: AudioSection | None = None
        self._refreshed_s = signalling.now_s()
        self._refreshing = False
        self._refresh_not_before_s = 0.0
        self._allows: frozenset[str] = frozenset()
        self._referred: anyio.Event | None = None
        self._refer_status = 0
        self._broken = False

    # --- media ---

    async def open_media(self, ports: RtpPorts) -> None:
        """Take two ports. Raises NoPorts."""
        self.media = await CallMedia.open(ports, self.leg)
        self.leg.carry(self.media)

    def answer_to(self, body: bytes) -> bytes:
        """Our answer to an offer of theirs; an offer where they made none. Raises NoAgreement, SipSyntaxError."""
        if not body:
            return self.offer()
        agreed, sections = answer_offer(parse_sdp(body), self._taste, self._place(), self._agreed)
        self._agree(agreed)
        return self._describe(sections)

    def offer(self, *, secure: bool | None = None) -> bytes:
        """An offer of ours, to be answered by ``answered``."""
        if secure is None:
            known = self._agreed is not None and self._agreed.suite is not None
            secure = known or self._settings.srtp == "required"
        self._offered = make_offer(self._taste, self._place(), secure=secure)
        return self._describe((self._offered,))

    def answered(self, body: bytes) -> None:
        """Their answer to our offer. Raises NoAgreement, SipSyntaxError."""
        if self._offered is not None:
            agreed = read_answer(self._offered, parse_sdp(body), self._taste)
            self._offered = None
            self._agree(agreed)

    def learn(self, message: Request | Response) -> None:
        """What the other side can do."""
        self._allows = message.headers.tokens("allow") or self._allows

    def close(self) -> None:
        """Give everything back."""
        if self.media is not None:
            self.media.close()

    # --- what comes within the dialog ---

    def request_came(self, asked: Asked) -> None:
        request, transaction = asked.request, asked.transaction
        if transaction is None:
            self._acknowledged(request)
            return
        try:
            self.dialog.take(request)
            self._carry_out(request, transaction)
        except BadRequest as bad:
            self._signalling.respond(transaction, bad.status, bad.reason, explained(bad, request))
        except NoAgreement:
            self._signalling.respond(transaction, 488, "Not Acceptable Here")
        except SipSyntaxError:
            self._signalling.respond(transaction, 400, "Bad Request")

    def _carry_out(self, request: Request, transaction: ServerTransaction) -> None:
        respond = self._signalling.respond
        match request.method:
            case "BYE":
                respond(transaction, 200, "OK")
                self.gone("caller")
            case "INVITE" | "UPDATE":
                self._changed(request, transaction)
            case "INFO":
                self._pressed(request)
                respond(transaction, 200, "OK")
            case "NOTIFY":
                respond(transaction, 200, "OK")
                self._notified(request)
            case "OPTIONS":
                respond(transaction, 200, "OK", (("allow", ALLOW), ("supported", SUPPORTED)))
            case _:
                respond(transaction, 405, "Method Not Allowed", (("allow", ALLOW),))

    def _acknowledged(self, ack: Request) -> None:
        if self._offered is not None:
            try:
                self.answered(ack.body)
            except SipError:
                self._broken = True
        self.confirmed.set()
        self.settled.set()

    def _changed(self, request: Request, transaction: ServerTransaction) -> None:
        """Hold, resume, another codec or address, or only a sign of life (RFC 3261 section 14, RFC 3311)."""
        if self._refreshing or self._offered is not None:
            raise BadRequest(491, "Request Pending")
        timer = timer_for(request, self._settings.session_expires_s)
        body = b""
        if request.body or request.method == "INVITE":
            body = self.answer_to(request.body)
        self.timer = timer
        self._refreshed_s = self._signalling.now_s()
        self.learn(request)
        self.dialog.retarget(request)
        timed = [] if timer is None else timer.headers(request=False)
        extra = (self._signalling.contact(self.flow), ("allow", ALLOW), ("supported", SUPPORTED), *timed)
        self._signalling.respond(transaction, 200, "OK", extra, body=body)

    def _pressed(self, request: Request) -> None:
        kind = (request.headers.get("content-type") or "").partition(";")[0].strip().lower()
        match = _DTMF.match(request.body.decode("ascii", "replace")) if kind == "application/dtmf-relay" else None
        if match is not None:
            self.leg.key(match[1].upper())

    def _notified(self, request: Request) -> None:
        """How a transfer goes on (RFC 3515 section 2.4.5)."""
        match = _STATUS.match(request.body.decode("ascii", "replace"))
        if match is not None and self._referred is not None and int(match[1]) >= 200:
            self._refer_status = int(match[1])
            self._referred.set()

    # --- what we ask ---

    async def end(self, reason: HangUpReason) -> None:
        """Say goodbye, where that was not done; the other side has 1.5 s to answer."""
        if self.over.is_set():
            return
        self.gone(reason)
        if self.invite is not None and self.invite.answerable:
            status = {"refused": (603, "Decline"), "draining": (503, "Service Unavailable")}
            self._signalling.respond(self.invite, *status.get(reason, (480, "Temporarily Unavailable")))
            return
        try:
            await self._ask("BYE", limit_s=BYE_LIMIT_S)
        except SipError:
            return

    async def transfer(self, target: str) -> None:
        """Have the other side call ``target`` and leave us (RFC 3515). Raises CallControlError."""
        refer_to = self._target(target)
        self._referred, self._refer_status = anyio.Event(), 0
        contact = self._signalling.contact(self.flow)
        extra = (contact, ("refer-to", f"<{refer_to}>"), ("referred-by", f"<{self.dialog.local.uri}>"))
        try:
            response = await self._ask("REFER", extra)
            if not response.success:
                raise CallControlError("The other side does not transfer this call.")
            if (response.headers.get("refer-sub") or "").strip().lower() != "false":
                await self._await_transfer(self._referred)
        except SipError as error:
            raise CallControlError("The other side did not answer the request to transfer.") from error
        finally:
            self._referred = None
        await self.end("agent")

    async def _await_transfer(self, told: anyio.Event) -> None:
        await unless(self.over, told.wait)  # whoever hangs up on us instead of telling has transferred, too
        if self._refer_status >= 300:
            raise CallControlError("The transfer was not answered.")

    def gone(self, reason: HangUpReason) -> None:
        """The call is over, with nothing more to be said about it."""
        self.over.set()
        self.settled.set()
        self.leg.ended(reason)

    def watch(self, now_s: float) -> HangUpReason | None:
        """Why this call must end by itself, if it must."""
        if self._broken or (self.media is not None and self.media.closed):
            return "failed"
        agreed = self._agreed  # whoever has us on hold need not send anything
        listens = self.confirmed.is_set() and agreed is not None and agreed.hears and not agreed.held
        if listens and self.media is not None:
            quiet_s = now_s - self.media.last_heard_ms / 1_000
            if quiet_s > self._settings.rtp_timeout_s:
                return "lost"
        if self.timer is not None and now_s >= self.timer.expires_at(self._refreshed_s):
            return "lost"
        return None

    def refresh_due(self, now_s: float) -> bool:
        """Whether it is ours, and time, to refresh the session."""
        timer = self.timer
        if timer is None or timer.refresher != "us" or self._refreshing or not self.confirmed.is_set():
            return False
        return now_s >= max(timer.refresh_at(self._refreshed_s), self._refresh_not_before_s)

    async def refresh(self) -> None:
        """Show that we are there (RFC 4028 section 7.4)."""
        self._refreshing = True
        self._refresh_not_before_s = self._signalling.now_s() + REFRESH_AGAIN_S
        timer = self.timer or SessionTimer(self._settings.session_expires_s or 1_800, "us")
        told = replace(timer, told=True)
        extra = (self._signalling.contact(self.flow), ("supported", SUPPORTED), *told.headers(request=True))
        try:
            if "update" in self._allows:
                response = await self._ask("UPDATE", extra)
            else:
                response = await self._ask("INVITE", extra, self.offer())
                if response.success:
                    await self.send_ack(response)
                    self.answered(response.body)
            if response.success:
                self._refreshed_s = self._signalling.now_s()
                self.timer = timer_from(response) or self.timer
            elif response.status in (408, 481):
                self.gone("lost")
        except SipError:
            return  # until the timer is over the next attempt may succeed
        finally:
            self._refreshing, self._offered = False, None

    async def send_ack(self, response: Response) -> None:
        """Acknowledge a 200 to an INVITE of ours within the dialog."""
        flow = await self._flow()
        ack = self.dialog.ack(self._signalling.via(flow), response.cseq[0])
        self._signalling.acknowledge(ack, flow)

    # --- inside ---

    async def _ask(
        self, method: str, extra: tuple[Pair, ...] = (), body: bytes = b"", limit_s: float = REQUEST_LIMIT_S
    ) -> Response:
        flow = await self._flow()
        typed = (*extra, ("content-type", "application/sdp")) if body else extra
        request = self.dialog.request(method, self._signalling.via(flow), typed, body)
        response = await self._signalling.ask(request, flow, limit_s)
        if response.status in CHALLENGES and self.credentials is not None:
            proof = authorization(request, response, self.credentials)
            request = self.dialog.request(method, self._signalling.via(flow), (*typed, proof), body)
            response = await self._signalling.ask(request, flow, limit_s)
        return response

    async def _flow(self) -> Flow:
        """Where our requests go: as theirs came, which passes address translators, unless a route says otherwise."""
        if self.flow.reliable or not self.dialog.routes:
            return self.flow
        try:
            return await self._signalling.find(self.dialog.next_hop)
        except NoAnswer:
            return self.flow

    def _agree(self, agreed: Agreed) -> None:
        assert self.media is not None
        self._agreed = agreed
        self.media.agree(agreed, self._signalling.now_s() * 1_000)
        if self.media.outbound is not None:
            self.leg.tuned(self.media.outbound.rate_hz)
        self.leg.on_hold(agreed.held)

    def _place(self) -> Place:
        assert self.media is not None
        return Place(self.media.port, self.media.port + 1, secrets.token_bytes)

    def _describe(self, sections: tuple[AudioSection | Other, ...]) -> bytes:
        self._version += 1
        ours = Ours(self._signalling.host_for(self.flow.host), self._session_id, self._version)
        return write_sdp(ours, sections)

    def _target(self, target: str) -> str:
        """A URI for a number or a URI. Raises CallControlError."""
        number = re.sub(r"[-.()\s]", "", target)
        if re.fullmatch(r"\+?[0-9*#]{2,20}", number):
            return f"sip:{number}@{self.dialog.remote.uri.host or self.dialog.target.host}"
        try:
            return str(parse_uri(target))
        except SipSyntaxError as error:
            raise CallControlError("That is neither a number nor a SIP address.") from error


def explained(bad: BadRequest, request: Request) -> tuple[Pair, ...]:
    """What a refusal must say besides."""
    match bad.status:
        case 415:
            return (("accept", "application/sdp"),)
        case 420:
            return (("unsupported", ", ".join(sorted(request.headers.tokens("require") - {SUPPORTED}))),)
        case 422:
            return (("min-se", str(MIN_SE_S)),)
        case 491:
            return (("retry-after", "1"),)
        case _:
            return ()


def offered_by(request: Request) -> Description | None:
    """The offer in a request; None where there is none. Raises BadRequest 415, SipSyntaxError."""
    if not request.body:
        return None
    kind = (request.headers.get("content-type") or "").partition(";")[0].strip().lower()
    if kind != "application/sdp":
        raise BadRequest(415, "Unsupported Media Type")
    return parse_sdp(request.body)
