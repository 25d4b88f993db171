"""Requests and responses of one endpoint: sockets and transactions put together, with the clock they need.

Owns the transaction layer's one timer, our Via and Contact, and the way to a host. Knows no call: whoever receives is
told of requests (``Receiver``), and asks with ``ask``.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import socket
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, Protocol

import anyio

from server.sip_settings import SipSettings
from server.telephony.sip.doorman import Refusal
from server.telephony.sip.jobs import Jobs
from server.telephony.sip.links import SipLinks
from server.version import __version__
from server.wire.sip.client_transaction import ClientTransaction
from server.wire.sip.dialog import Dialog
from server.wire.sip.errors import BadRequest, SipError
from server.wire.sip.flow import Flow, Transport
from server.wire.sip.message import (
    Headers,
    Message,
    Pair,
    Request,
    Response,
    check_request,
    response_to,
    with_body,
    with_first,
)
from server.wire.sip.server_transaction import ServerTransaction
from server.wire.sip.transactions import Answered, Asked, Cancelled, Output, TransactionLayer, Transmit, Unanswered
from server.wire.sip.uri import SipUri
from server.wire.sip.via import MAGIC

AGENT: Final = f"convergio-voice/{__version__}"
ALLOW: Final = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO, NOTIFY"
SUPPORTED: Final = "timer"
_PORTS: Final[dict[Transport, int]] = {"UDP": 5_060, "TCP": 5_060, "TLS": 5_061}
TRYING: Final = 100
NO_ROOM: Final = 503
_ACKS_KEPT: Final = 1_024
_CANCEL_GRACE_S: Final = 5.0


class NoAnswer(SipError):
    """Nobody answered a request of ours in time."""


class Receiver(Protocol):
    """Who is told of what others ask. All methods return at once."""

    def admit(self, request: Request, flow: Flow) -> Refusal | None:
        """Whether a request that begins no known transaction may cost us anything."""
        ...

    def request_came(self, asked: Asked) -> None: ...

    def cancelled(self, invite: ServerTransaction) -> None: ...

    def unacknowledged(self, invite: ServerTransaction) -> None: ...


class _Exchange:
    """A request of ours on its way."""

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.final: Response | None = None


class Signalling:
    """SIP messages of one endpoint."""

    def __init__(self, settings: SipSettings, receiver: Receiver) -> None:
        self._settings = settings
        self._receiver = receiver
        self._layer = TransactionLayer(max_server=8 * settings.max_calls + 1_000)
        self._pending: dict[ClientTransaction, _Exchange] = {}
        self._acks: OrderedDict[tuple[str, int, str], tuple[bytes, Flow]] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_s = 0.0  # uvloop's handles do not say, where they are due at once
        self.links = SipLinks(settings, self._message_came, self._malformed)
        self.malformed = 0

    @property
    def transactions(self) -> int:
        """Transactions that are kept now."""
        return len(self._layer)

    def now_s(self) -> float:
        return asyncio.get_running_loop().time()

    async def open(self, jobs: Jobs) -> None:
        """Listen. Raises OSError."""
        await self.links.open(jobs)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.links.close()

    # --- answering ---

    def respond(
        self,
        transaction: ServerTransaction,
        status: int,
        reason: str,
        extra: Iterable[Pair] = (),
        *,
        body: bytes = b"",
    ) -> None:
        """Answer a request; nothing where it was answered before."""
        headers = [*extra, ("server", AGENT)]
        if body:
            headers.append(("content-type", "application/sdp"))
        response = response_to(transaction.request, status, reason, headers, transaction.tag if status > TRYING else "")
        final = with_body(response, body)
        assert isinstance(final, Response)
        self._carry_out(self._layer.respond(transaction, final, self.now_s()))

    def _refuse(self, request: Request, flow: Flow, refusal: Refusal) -> None:
        """Answer without remembering that we did (RFC 3261 section 8.2.7)."""
        if refusal.status and request.method != "ACK":
            extra = (*refusal.headers, ("server", AGENT))
            response = response_to(request, refusal.status, refusal.reason, extra, secrets.token_hex(8))
            self.links.send(response.to_bytes(), flow)

    # --- asking ---

    async def ask(
        self,
        request: Request,
        flow: Flow,
        limit_s: float = 35.0,
    ) -> Response:
        """Send a request and wait for its final response; one given up is cancelled. Raises NoAnswer."""
        exchange = _Exchange()
        transaction, out = self._layer.send(request, flow, self.now_s())
        self._pending[transaction] = exchange
        self._carry_out(out)
        try:
            with anyio.move_on_after(limit_s):
                await exchange.done.wait()
            if exchange.final is None and transaction.invite:  # it may still be answered, even by a 200
                self._carry_out(self._layer.cancel(transaction, self.now_s()))
                with anyio.move_on_after(_CANCEL_GRACE_S):
                    await exchange.done.wait()
        except BaseException:
            final = exchange.final
            if final is not None and final.success and transaction.invite and request.recipient.tag is None:
                self._decline(final, transaction)  # answered just as whoever asked has gone
            raise
        finally:
            self._pending.pop(transaction, None)
            if exchange.final is None:  # whoever asked no longer wants it
                self._carry_out(self._layer.cancel(transaction, self.now_s()))
        if exchange.final is None:
            raise NoAnswer("nobody answered")
        return exchange.final

    def acknowledge(self, ack: Request, flow: Flow) -> None:
        """Send the ACK of an accepted INVITE of ours, and again whenever its 200 comes again."""
        data = ack.to_bytes()
        self._acks[ack.call_id, ack.cseq[0], ack.recipient.tag or ""] = (data, flow)
        while len(self._acks) > _ACKS_KEPT:
            self._acks.popitem(last=False)
        self.links.send(data, flow)

    # --- who and where we are ---

    def via(self, flow: Flow) -> str:
        """The Via of a new request."""
        host, port = self.address_for(flow)
        return f"SIP/2.0/{flow.transport} {_bracketed(host)}:{port};branch={MAGIC}{secrets.token_hex(12)};rport"

    def contact(self, flow: Flow, user: str = "voice") -> Pair:
        """Where requests within a dialog reach us."""
        host, port = self.address_for(flow)
        transport = "" if flow.transport == "UDP" else f";transport={flow.transport.lower()}"
        return "contact", f"<sip:{user}@{_bracketed(host)}:{port}{transport}>"

    def address_for(self, flow: Flow) -> tuple[str, int]:
        """Our host and port as this peer reaches them."""
        port = self.links.ports.get(flow.transport) or _PORTS[flow.transport]
        return self.host_for(flow.host), port

    def host_for(self, peer: str) -> str:
        """Our address as this peer reaches it."""
        if self._settings.public_address is not None:
            return self._settings.public_address
        bind = self._settings.bind
        return _route_to(peer) if ipaddress.ip_address(bind).is_unspecified else bind

    async def find(self, uri: SipUri) -> Flow:
        """Where a URI leads: its host's first address we can reach (SRV records are not asked for). Raises NoAnswer.

        Over UDP that is one of the family we listen on; a stream to any family has a socket of its own.
        """
        transport = uri.transport
        kind: Transport = "TCP" if transport == "TCP" else "TLS" if transport == "TLS" else "UDP"
        host, port = uri.host.strip("[]"), uri.port or _PORTS[kind]
        ours = ipaddress.ip_address(self._settings.bind).version
        try:
            found, name = [str(ipaddress.ip_address(host))], ""
        except ValueError:
            found, name = await addresses_of(host), host
        same = [one for one in found if ipaddress.ip_address(one.partition("%")[0]).version == ours]
        reached = next(iter(same if kind == "UDP" else same + found), None)
        if reached is None:
            raise NoAnswer("a host has no address of the family we listen on")
        return Flow(kind, reached, port, name=name)

    # --- what comes ---

    def _message_came(self, message: Message, flow: Flow) -> None:
        try:
            if isinstance(message, Request):
                self._request_came(message, flow)
            else:
                self._carry_out(self._layer.response_came(message, self.now_s()))
        except SipError:
            self.malformed += 1

    def _malformed(self, data: bytes, flow: Flow) -> None:
        self.malformed += 1

    def _request_came(self, request: Request, flow: Flow) -> None:
        via = request.via.came_from(flow.host, flow.port)
        request = with_first(request, "via", str(via))
        reply = flow if flow.reliable else Flow("UDP", *via.answer_to(_PORTS["UDP"]))
        try:
            check_request(request)
        except BadRequest as bad:
            if self._receiver.admit(request, flow) is None:
                self._refuse(request, reply, Refusal(bad.status, bad.reason))
            self.malformed += 1
            return
        if not self._layer.known(request) and request.method not in ("ACK", "CANCEL"):
            refusal = self._receiver.admit(request, flow)
            if (refusal is None or refusal.status == NO_ROOM) and self._layer.merges(request):
                refusal = Refusal(482, "Loop Detected")
            elif refusal is None and self._layer.full:
                refusal = Refusal(503, "Service Unavailable", (("retry-after", "10"),))
            if refusal is not None:
                self._refuse(request, reply, refusal)
                return
        elif request.method == "CANCEL" and not self._layer.known(request):
            if self._receiver.admit(request, flow) is None:
                self._refuse(request, reply, Refusal(481, "Call/Transaction Does Not Exist"))
            return
        self._carry_out(self._layer.request_came(request, reply, self.now_s()))

    def _carry_out(self, outputs: list[Output]) -> None:
        for output in outputs:
            match output:
                case Transmit(data, flow):
                    self.links.send(data, flow)
                case Asked():
                    self._receiver.request_came(output)
                case Cancelled(invite):
                    self._receiver.cancelled(invite)
                case Answered(response, transaction):
                    self._answered(response, transaction)
                case Unanswered(transaction):
                    self._unanswered(transaction)
        self._arm()

    def _answered(self, response: Response, transaction: ClientTransaction) -> None:
        exchange = self._pending.get(transaction)
        if response.success and transaction.invite and (exchange is None or exchange.final is not None):
            theirs = response.recipient.tag or ""
            again = self._acks.get((response.call_id, response.cseq[0], theirs))
            if again is not None:
                self.links.send(*again)
            elif theirs != transaction.taken and (transaction.abandoned or transaction.taken is not None):
                self._decline(response, transaction)
        elif exchange is None or exchange.final is not None:
            return
        elif response.final:
            exchange.final = response
            transaction.taken = (response.recipient.tag or "") if response.success else None
            exchange.done.set()

    def _decline(self, response: Response, transaction: ClientTransaction) -> None:
        """Somebody accepted a call that was given up, or is held with another: acknowledge, and hang up (RFC 3261
        section 13.2.2.4)."""
        dialog = Dialog.answered(transaction.request, response)
        flow = transaction.flow
        self.acknowledge(dialog.ack(self.via(flow), response.cseq[0]), flow)
        self._carry_out(self._layer.send(dialog.request("BYE", self.via(flow)), flow, self.now_s())[1])

    def _unanswered(self, transaction: ClientTransaction | ServerTransaction) -> None:
        if isinstance(transaction, ServerTransaction):
            self._receiver.unacknowledged(transaction)
            return
        exchange = self._pending.get(transaction)
        if exchange is not None:
            exchange.done.set()

    def _arm(self) -> None:
        """Have the layer's next timer wake us."""
        due = self._layer.due
        if due is None or (self._timer is not None and self._timer_at_s <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at_s = asyncio.get_running_loop().call_at(due, self._tick), due

    def _tick(self) -> None:
        self._timer = None
        self._carry_out(self._layer.tick(self.now_s()))


async def addresses_of(host: str) -> list[str]:
    """The addresses a name stands for. Raises NoAnswer."""
    try:
        with anyio.fail_after(5):
            found = await anyio.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, TimeoutError, UnicodeError) as error:
        raise NoAnswer("a host name is not known") from error
    return [str(entry[4][0]) for entry in found]


def _route_to(peer: str) -> str:
    """The address of this machine from which packets to a peer leave."""
    family = socket.AF_INET6 if ":" in peer else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((peer, 9))
            return str(probe.getsockname()[0])
    except OSError:  # no way there, or no file may be opened
        return "::1" if family == socket.AF_INET6 else "127.0.0.1"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def headers_of(*pairs: Pair) -> Headers:
    """Headers of a request of ours, with our name."""
    return Headers((*pairs, ("user-agent", AGENT)))
