"""All transactions of one endpoint: messages in, what is to be sent and who is to be told out (RFC 3261 section 17).

Owns the tables and the timers' order; bounded in the transactions it keeps. Pure: an endpoint feeds it messages and the
time, and carries out what comes back. Knows no dialog.
"""

from __future__ import annotations

import heapq
import secrets
from dataclasses import dataclass
from typing import Final

from server.wire.sip.client_transaction import ClientTransaction, Outcome, TimerValues
from server.wire.sip.flow import Flow
from server.wire.sip.message import Request, Response
from server.wire.sip.server_transaction import Key, ServerTransaction, server_key

_DEFAULT_TIMERS: Final = TimerValues()


@dataclass(frozen=True, slots=True)
class Transmit:
    """Send these bytes there."""

    data: bytes
    flow: Flow


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that came for the first time. An ACK of an accepted INVITE has no transaction."""

    request: Request
    transaction: ServerTransaction | None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The other side takes an INVITE back. ``transaction`` is that of the INVITE."""

    transaction: ServerTransaction


@dataclass(frozen=True, slots=True)
class Answered:
    """A response to a request of ours."""

    response: Response
    transaction: ClientTransaction


@dataclass(frozen=True, slots=True)
class Unanswered:
    """No response came to a request of ours, or no ACK to an answer of ours."""

    transaction: ClientTransaction | ServerTransaction


Output = Transmit | Asked | Cancelled | Answered | Unanswered
_Transaction = ClientTransaction | ServerTransaction


class TransactionLayer:
    """The transactions of one endpoint. ``max_server`` bounds requests of others kept at a time."""

    def __init__(self, timers: TimerValues = _DEFAULT_TIMERS, max_server: int = 20_000) -> None:
        self.timers = timers
        self._max_server = max_server
        self._client: dict[tuple[str, str], ClientTransaction] = {}
        self._server: dict[Key, ServerTransaction] = {}
        self._accepted: dict[tuple[str, int, str, str], ServerTransaction] = {}
        self._opening: dict[tuple[str, str, int, str], ServerTransaction] = {}
        self._heap: list[tuple[float, int, _Transaction]] = []
        self._pushed = 0

    def __len__(self) -> int:
        return len(self._client) + len(self._server)

    @property
    def full(self) -> bool:
        """Whether no request may open another transaction."""
        return len(self._server) >= self._max_server

    @property
    def due(self) -> float | None:
        """When ``tick`` is to be called."""
        return self._heap[0][0] if self._heap else None

    def known(self, request: Request) -> bool:
        """Whether a request repeats, acknowledges or cancels one that is kept. Raises SipSyntaxError."""
        return server_key(request) in self._server

    def merges(self, request: Request) -> bool:
        """Whether a request that opens something has come by another way already (section 8.2.2.2): one answer will do.

        What was refused may be tried again. Raises SipSyntaxError.
        """
        first = self._opening.get(_opening(request)) if request.recipient.tag is None else None
        return first is not None and not first.refused and first.key != server_key(request)

    def request_came(self, request: Request, flow: Flow, now_s: float) -> list[Output]:
        """A request that was checked. Raises SipSyntaxError."""
        key = server_key(request)
        existing = self._server.get(key)
        if request.method == "ACK":
            return self._ack_came(request, existing, now_s)
        if request.method == "CANCEL":
            return self._cancel_came(request, flow, existing)
        if existing is not None:
            again = existing.repeated()
            return [Transmit(again, existing.flow)] if again else []
        return [Asked(request, self._open(request, flow, key, secrets.token_hex(8)))]

    def response_came(self, response: Response, now_s: float) -> list[Output]:
        """A response; one that matches nothing is dropped. Raises SipSyntaxError."""
        _, method = response.cseq
        transaction = self._client.get((response.via.branch, method))
        if transaction is None:
            return []
        out = self._carry_out(transaction, transaction.receive(response, now_s))
        return out + self._take_back(transaction, now_s)

    def send(self, request: Request, flow: Flow, now_s: float) -> tuple[ClientTransaction, list[Output]]:
        """Send a request with a transaction of its own."""
        transaction = ClientTransaction(request, flow, self.timers, now_s)
        self._client[transaction.key] = transaction
        return transaction, self._carry_out(transaction, transaction.start())

    def respond(self, transaction: ServerTransaction, response: Response, now_s: float) -> list[Output]:
        """Answer a request; nothing where it was answered before."""
        data = transaction.respond(response, now_s)
        if transaction.state == "accepted":
            self._accepted[transaction.dialog] = transaction
        self._schedule(transaction)
        return [Transmit(data, transaction.flow)] if data else []

    def cancel(self, transaction: ClientTransaction, now_s: float) -> list[Output]:
        """An INVITE is no longer wanted: it is cancelled now, or as soon as anything comes back; once."""
        transaction.abandoned = transaction.invite
        return self._take_back(transaction, now_s)

    def tick(self, now_s: float) -> list[Output]:
        """What time brings."""
        out: list[Output] = []
        while self._heap and self._heap[0][0] <= now_s:
            _, _, transaction = heapq.heappop(self._heap)
            if transaction.due is None or transaction.due > now_s:
                continue  # it was pushed again when it changed
            if isinstance(transaction, ClientTransaction):
                out += self._carry_out(transaction, transaction.tick(now_s))
            else:
                data, news = transaction.tick(now_s)
                out += [Transmit(data, transaction.flow)] if data else []
                out += [Unanswered(transaction)] if news == "unacknowledged" else []
                self._schedule(transaction)
        return out

    def _ack_came(self, request: Request, existing: ServerTransaction | None, now_s: float) -> list[Output]:
        dialog = request.call_id, request.cseq[0], request.sender.tag or "", request.recipient.tag or ""
        accepted = self._accepted.pop(dialog, None)
        transaction = accepted or existing
        if transaction is not None:
            transaction.acknowledged(now_s)
            self._schedule(transaction)
        return [] if accepted is None else [Asked(request, None)]

    def _cancel_came(self, request: Request, flow: Flow, invite: ServerTransaction | None) -> list[Output]:
        """CANCEL is a request of its own, whose answer is always at hand: it is kept under its own name.

        It is answered with the tag of the INVITE's answers (section 9.2).
        """
        key = (*server_key(request), "CANCEL")
        existing = self._server.get(key)
        if existing is not None:
            again = existing.repeated()
            return [Transmit(again, existing.flow)] if again else []
        tag = secrets.token_hex(8) if invite is None else invite.tag
        out: list[Output] = [Asked(request, self._open(request, flow, key, tag))]
        if invite is not None and invite.answerable:
            out.append(Cancelled(invite))
        return out

    def _take_back(self, transaction: ClientTransaction, now_s: float) -> list[Output]:
        request = transaction.take_back(now_s)
        if request is None:
            return []
        self._schedule(transaction)
        return self.send(request, transaction.flow, now_s)[1]

    def _open(self, request: Request, flow: Flow, key: Key, tag: str) -> ServerTransaction:
        transaction = ServerTransaction(request, flow, self.timers, key, tag)
        self._server[key] = transaction
        if request.recipient.tag is None and request.method != "CANCEL":
            self._opening[_opening(request)] = transaction
        return transaction

    def _carry_out(self, transaction: ClientTransaction, outcome: Outcome) -> list[Output]:
        out: list[Output] = []
        if outcome.send is not None:
            out.append(Transmit(outcome.send, transaction.flow))
        if outcome.response is not None:
            out.append(Answered(outcome.response, transaction))
        if outcome.timed_out:
            out.append(Unanswered(transaction))
        self._schedule(transaction)
        return out

    def _schedule(self, transaction: _Transaction) -> None:
        if transaction.state == "terminated":
            self._forget(transaction)
        elif transaction.due is not None:
            self._pushed += 1
            heapq.heappush(self._heap, (transaction.due, self._pushed, transaction))

    def _forget(self, transaction: _Transaction) -> None:
        if isinstance(transaction, ClientTransaction):
            self._client.pop(transaction.key, None)
            return
        self._server.pop(transaction.key, None)
        if self._opening.get(_opening(transaction.request)) is transaction:
            del self._opening[_opening(transaction.request)]
        if self._accepted.get(transaction.dialog) is transaction:
            del self._accepted[transaction.dialog]


def _opening(request: Request) -> tuple[str, str, int, str]:
    """What a request that opens something is by whichever way it comes: Call-ID, their tag, CSeq."""
    return request.call_id, request.sender.tag or "", *request.cseq
