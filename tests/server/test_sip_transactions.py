"""Transactions, in virtual time: RFC 3261 section 17 and RFC 6026."""

from __future__ import annotations

from sip_messages import INVITE

from server.wire.sip.client_transaction import cancel_of
from server.wire.sip.flow import Flow
from server.wire.sip.message import Headers, Request, Response, parse_message, response_to
from server.wire.sip.transactions import (
    Answered,
    Asked,
    Cancelled,
    Output,
    TransactionLayer,
    Transmit,
    Unanswered,
)

UDP = Flow("UDP", "192.0.2.1", 5_060)
TCP = Flow("TCP", "192.0.2.1", 5_060, 1)


def invite(method: str = "INVITE") -> Request:
    message = parse_message(INVITE.replace(b"INVITE", method.encode()))
    assert isinstance(message, Request)
    return message


def ack_of(tag: str) -> Request:
    """The ACK of a 200 to our INVITE, in the dialog with this tag of theirs."""
    kept = [(name, value) for name, value in invite().headers.pairs if name in ("from", "call-id")]
    via = ("via", "SIP/2.0/TCP 192.0.2.1;branch=z9hG4bKanother")
    to = ("to", f"<sip:bob@biloxi.example.com>;tag={tag}")
    return Request(Headers((via, *kept, to, ("cseq", "314159 ACK"))), method="ACK", uri="sip:b@192.0.2.4")


def branched(branch: str) -> Request:
    message = parse_message(INVITE.replace(b"z9hG4bK776asdhds", branch.encode()))
    assert isinstance(message, Request)
    return message


def sent(out: list[Output]) -> list[bytes]:
    return [one.data for one in out if isinstance(one, Transmit)]


def times_of_sending(layer: TransactionLayer, until_s: float) -> tuple[list[float], list[Output]]:
    times: list[float] = []
    others: list[Output] = []
    while layer.due is not None and layer.due <= until_s:
        now_s = layer.due
        out = layer.tick(now_s)
        times += [now_s] * len(sent(out))
        others += [one for one in out if not isinstance(one, Transmit)]
    return times, others


def answer(request: Request, status: int) -> Response:
    return response_to(request, status, "x", to_tag="b")


def test_an_invite_is_sent_again_at_doubling_intervals_until_it_is_given_up() -> None:
    layer = TransactionLayer()
    transaction, out = layer.send(invite(), UDP, 0.0)
    assert len(sent(out)) == 1
    times, others = times_of_sending(layer, 100)
    assert times == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert others == [Unanswered(transaction)]
    assert len(layer) == 0


def test_another_request_is_sent_again_every_four_seconds_at_most() -> None:
    layer = TransactionLayer()
    layer.send(invite("OPTIONS"), UDP, 0.0)
    times, others = times_of_sending(layer, 100)
    assert times == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert len(others) == 1


def test_nothing_is_sent_again_over_a_reliable_transport() -> None:
    layer = TransactionLayer()
    layer.send(invite(), TCP, 0.0)
    times, others = times_of_sending(layer, 100)
    assert times == []
    assert len(others) == 1


def test_a_provisional_response_ends_the_repetitions_of_an_invite() -> None:
    layer = TransactionLayer()
    transaction, _ = layer.send(invite(), UDP, 0.0)
    (answered,) = layer.response_came(answer(invite(), 180), 0.1)
    assert isinstance(answered, Answered)
    assert times_of_sending(layer, 1_000) == ([], [])
    assert transaction.state == "proceeding"


def test_a_refused_invite_is_acknowledged_again_for_each_repetition() -> None:
    layer = TransactionLayer()
    layer.send(invite(), UDP, 0.0)
    first = layer.response_came(answer(invite(), 486), 0.1)
    assert sum(isinstance(one, Answered) for one in first) == 1
    (ack,) = sent(first)
    parsed = parse_message(ack)
    assert isinstance(parsed, Request)
    assert (parsed.method, parsed.cseq, parsed.recipient.tag) == ("ACK", (314159, "ACK"), "b")
    assert parsed.via.branch == invite().via.branch
    assert sent(layer.response_came(answer(invite(), 486), 1.0)) == [ack]
    times_of_sending(layer, 100)
    assert len(layer) == 0


def test_an_accepted_invite_hands_on_every_200() -> None:
    layer = TransactionLayer()
    layer.send(invite(), UDP, 0.0)
    for at in (0.1, 0.6, 1.6):
        (one,) = layer.response_came(answer(invite(), 200), at)
        assert isinstance(one, Answered)
    times_of_sending(layer, 100)
    assert layer.response_came(answer(invite(), 200), 101) == []


def test_a_repeated_request_gets_the_same_answer_and_is_told_once() -> None:
    layer = TransactionLayer()
    (asked,) = layer.request_came(invite(), UDP, 0.0)
    assert isinstance(asked, Asked)
    assert asked.transaction is not None
    assert layer.request_came(invite(), UDP, 0.1) == []
    ringing = sent(layer.respond(asked.transaction, answer(invite(), 180), 0.2))
    assert sent(layer.request_came(invite(), UDP, 0.3)) == ringing


def test_a_200_is_sent_until_its_ack_comes() -> None:
    layer = TransactionLayer()
    (asked,) = layer.request_came(invite(), TCP, 0.0)
    assert isinstance(asked, Asked)
    assert asked.transaction is not None
    layer.respond(asked.transaction, answer(invite(), 200), 0.0)
    assert layer.request_came(ack_of(asked.transaction.tag + "x"), TCP, 0.1) == [], "another's"
    times, _ = times_of_sending(layer, 8)
    assert times == [0.5, 1.5, 3.5, 7.5]
    ack = ack_of(asked.transaction.tag)
    assert layer.request_came(ack, TCP, 8.0) == [Asked(ack, None)]
    assert layer.request_came(ack, TCP, 8.1) == []
    assert times_of_sending(layer, 200) == ([], [])
    assert len(layer) == 0


def test_a_request_that_comes_by_two_ways_is_one() -> None:
    layer = TransactionLayer()
    other = branched("z9hG4bKtheotherway")
    assert not layer.merges(invite())
    (asked,) = layer.request_came(invite(), UDP, 0.0)
    assert isinstance(asked, Asked)
    assert asked.transaction is not None
    assert layer.merges(other)
    assert not layer.merges(invite()), "sent again, by the same way"
    layer.respond(asked.transaction, answer(invite(), 200), 0.0)
    layer.request_came(ack_of(asked.transaction.tag), UDP, 0.1)
    assert layer.merges(other)
    times_of_sending(layer, 100)
    assert not layer.merges(other)
    assert len(layer._opening) == len(layer._accepted) == 0


def test_what_was_refused_may_come_again_by_another_way() -> None:
    layer = TransactionLayer()
    (asked,) = layer.request_came(invite(), UDP, 0.0)
    assert isinstance(asked, Asked)
    assert asked.transaction is not None
    layer.respond(asked.transaction, answer(invite(), 503), 0.0)
    assert not layer.merges(branched("z9hG4bKtheotherway"))
    (again,) = layer.request_came(branched("z9hG4bKtheotherway"), UDP, 0.1)
    assert isinstance(again, Asked)
    layer.request_came(invite("ACK"), UDP, 0.2)
    times_of_sending(layer, 20)
    assert layer.merges(branched("z9hG4bKathird")), "the first one's end takes nothing of the second's"


def test_a_200_nobody_acknowledges_is_told() -> None:
    layer = TransactionLayer()
    (asked,) = layer.request_came(invite(), UDP, 0.0)
    assert isinstance(asked, Asked)
    assert asked.transaction is not None
    layer.respond(asked.transaction, answer(invite(), 200), 0.0)
    _, others = times_of_sending(layer, 100)
    assert others == [Unanswered(asked.transaction)]


def test_an_ack_ends_the_repetitions_of_a_refusal() -> None:
    layer = TransactionLayer()
    (asked,) = layer.request_came(invite(), UDP, 0.0)
    assert isinstance(asked, Asked)
    assert asked.transaction is not None
    layer.respond(asked.transaction, answer(invite(), 486), 0.0)
    assert times_of_sending(layer, 1)[0] == [0.5]
    assert layer.request_came(invite("ACK"), UDP, 1.0) == []
    assert times_of_sending(layer, 100) == ([], [])
    assert len(layer) == 0


def test_a_cancel_is_answered_for_itself_and_takes_the_invite_back() -> None:
    layer = TransactionLayer()
    (asked,) = layer.request_came(invite(), UDP, 0.0)
    assert isinstance(asked, Asked)
    assert asked.transaction is not None
    cancel = cancel_of(invite())
    first, second = layer.request_came(cancel, UDP, 0.1)
    assert isinstance(first, Asked)
    assert second == Cancelled(asked.transaction)
    assert first.transaction is not None
    assert first.transaction.tag == asked.transaction.tag
    done = sent(layer.respond(first.transaction, answer(cancel, 200), 0.1))
    assert sent(layer.request_came(cancel, UDP, 0.2)) == done


def test_a_cancel_that_comes_after_the_answer_changes_nothing() -> None:
    layer = TransactionLayer()
    (asked,) = layer.request_came(invite(), UDP, 0.0)
    assert isinstance(asked, Asked)
    assert asked.transaction is not None
    layer.respond(asked.transaction, answer(invite(), 200), 0.0)
    out = layer.request_came(cancel_of(invite()), UDP, 0.1)
    assert not [one for one in out if isinstance(one, Cancelled)]
    assert layer.respond(asked.transaction, answer(invite(), 487), 0.2) == []


def test_a_tag_of_ours_cannot_be_worked_out_from_the_request() -> None:
    """Or whoever knows the one of a call could end it (RFC 3261 section 19.3)."""
    tags: set[str] = set()
    for layer in (TransactionLayer(), TransactionLayer()):
        (asked,) = layer.request_came(invite(), UDP, 0.0)
        assert isinstance(asked, Asked)
        assert asked.transaction is not None
        tags.add(asked.transaction.tag)
    assert len(tags) == 2


def test_a_response_to_nobody_is_dropped() -> None:
    assert TransactionLayer().response_came(answer(invite(), 200), 0.0) == []


def test_old_implementations_without_a_branch_are_told_apart_by_their_headers() -> None:
    layer = TransactionLayer()
    old = INVITE.replace(b"z9hG4bK776asdhds", b"1")
    first, again = parse_message(old), parse_message(old)
    other = parse_message(old.replace(b"a84b4c76e66710", b"other"))
    assert isinstance(first, Request)
    assert isinstance(again, Request)
    assert isinstance(other, Request)
    assert len(layer.request_came(first, UDP, 0.0)) == 1
    assert layer.request_came(again, UDP, 0.0) == []
    assert len(layer.request_came(other, UDP, 0.0)) == 1


def test_an_invite_given_up_before_anything_came_back_is_cancelled_when_something_does() -> None:
    layer = TransactionLayer()
    transaction, _ = layer.send(invite(), UDP, 0.0)
    assert layer.cancel(transaction, 0.1) == []
    (cancel,) = [parse_message(data) for data in sent(layer.response_came(answer(invite(), 180), 0.2))]
    assert isinstance(cancel, Request)
    assert (cancel.method, cancel.via.branch) == ("CANCEL", invite().via.branch)
    assert layer.cancel(transaction, 0.3) == [], "once"
    assert sent(layer.response_came(answer(invite(), 183), 0.4)) == []
    layer.response_came(answer(cancel, 200), 0.5)
    _, others = times_of_sending(layer, 100)
    assert any(isinstance(one, Unanswered) for one in others), "a final answer was due"
    assert len(layer) == 0
