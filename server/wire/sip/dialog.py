"""Two ends that belong together: RFC 3261 section 12, as values that requests are made of and held against.

Knows no transaction and no media; a call keeps one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from server.wire.sip.errors import BadRequest, SipSyntaxError
from server.wire.sip.message import Headers, Pair, Request, Response
from server.wire.sip.uri import Address, SipUri, parse_address, parse_uri

DialogId = tuple[str, str, str]
"""Call-ID, our tag, their tag."""

MAX_FORWARDS = 70


@dataclass(slots=True)
class Dialog:
    """One dialog, from our end. ``routes`` are those our requests take, nearest first."""

    call_id: str
    local: Address
    remote: Address
    target: SipUri
    routes: tuple[str, ...]
    local_seq: int
    remote_seq: int | None

    @property
    def id(self) -> DialogId:
        return self.call_id, self.local.tag or "", self.remote.tag or ""

    @classmethod
    def accepted(cls, invite: Request, our_tag: str) -> Dialog:
        """The dialog an INVITE of theirs opens. Raises BadRequest."""
        return cls(
            call_id=invite.call_id,
            local=invite.recipient.tagged(our_tag),
            remote=invite.sender,
            target=contact_of(invite),
            routes=tuple(invite.headers.all("record-route")),
            local_seq=0,
            remote_seq=invite.cseq[0],
        )

    @classmethod
    def answered(cls, invite: Request, response: Response) -> Dialog:
        """The dialog a response to our INVITE opens. Without a Contact and a route that can be read it is where we
        called: whoever answered must be told how it ends. Raises SipSyntaxError for the INVITE's own address.
        """
        return cls(
            call_id=invite.call_id,
            local=invite.sender,
            remote=response.recipient,
            target=_target_of(response) or parse_uri(invite.uri),
            routes=_routes_of(response),
            local_seq=invite.cseq[0],
            remote_seq=None,
        )

    def take(self, request: Request) -> None:
        """A request within the dialog, in its order. Raises BadRequest: 500 for one that was overtaken."""
        number, _ = request.cseq
        if self.remote_seq is not None and number < self.remote_seq:
            raise BadRequest(500, "Out of Order")
        self.remote_seq = number

    def retarget(self, message: Request | Response) -> None:
        """Requests go where a target refresh says; without a usable Contact, where they went."""
        try:
            self.target = contact_of(message)
        except BadRequest:
            return

    def request(self, method: str, via: str, extra: Iterable[Pair] = (), body: bytes = b"") -> Request:
        """The next request of ours."""
        self.local_seq += 1
        return self._make(method, via, self.local_seq, extra, body)

    def ack(self, via: str, sequence: int) -> Request:
        """The ACK of an INVITE of ours that was accepted."""
        return self._make("ACK", via, sequence, (), b"")

    @property
    def next_hop(self) -> SipUri:
        """Where requests go first. Raises SipSyntaxError for a malformed route."""
        return parse_address(self.routes[0]).uri if self.routes else self.target

    def _make(self, method: str, via: str, sequence: int, extra: Iterable[Pair], body: bytes) -> Request:
        uri, routes = str(self.target), list(self.routes)
        if routes and parse_address(routes[0]).uri.param("lr") is None:  # a strict router (section 12.2.1.1)
            uri, routes = str(parse_address(routes[0]).uri), [*routes[1:], f"<{uri}>"]
        headers: list[Pair] = [
            ("via", via),
            ("max-forwards", str(MAX_FORWARDS)),
            *(("route", route) for route in routes),
            ("from", str(self.local)),
            ("to", str(self.remote)),
            ("call-id", self.call_id),
            ("cseq", f"{sequence} {method}"),
            *extra,
        ]
        return Request(Headers(tuple(headers)), body, method, uri)


def dialog_of(request: Request) -> DialogId | None:
    """The dialog a request claims to be part of, from our end; None where it opens one. Raises SipSyntaxError."""
    ours = request.recipient.tag
    return None if ours is None else (request.call_id, ours, request.sender.tag or "")


def contact_of(message: Request | Response) -> SipUri:
    """The URI of the one Contact. Raises BadRequest."""
    contacts = message.headers.all("contact")
    try:
        uri = parse_address(contacts[0]).uri if len(contacts) == 1 else None
    except SipSyntaxError as error:
        raise BadRequest(400, "Bad Contact") from error
    if uri is None or uri.scheme == "tel":
        raise BadRequest(400, "Bad Contact")
    return uri


def _target_of(response: Response) -> SipUri | None:
    try:
        return contact_of(response)
    except BadRequest:
        return None


def _routes_of(response: Response) -> tuple[str, ...]:
    routes = tuple(reversed(response.headers.all("record-route")))
    try:
        for route in routes:
            parse_address(route)
    except SipSyntaxError:
        return ()
    return routes
