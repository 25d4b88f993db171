"""SIP messages are read tolerantly and written strictly: RFC 3261, and the torture tests of RFC 4475."""

from __future__ import annotations

import pytest
from sip_messages import INVITE, NO_REASON, ODD_METHOD, RESPONSE, SEMICOLON_IN_USER, TORTUOUS, broken

from server.wire.sip.errors import BadRequest, SipSyntaxError
from server.wire.sip.framing import PING, StreamFramer
from server.wire.sip.message import (
    MAX_HEADERS,
    Headers,
    Request,
    Response,
    check_request,
    parse_message,
    response_to,
    with_first,
)
from server.wire.sip.uri import parse_address, parse_uri


def request_of(data: bytes) -> Request:
    message = parse_message(data)
    assert isinstance(message, Request)
    return message


def refusal_of(data: bytes) -> int:
    with pytest.raises(BadRequest) as refused:
        check_request(request_of(data))
    return refused.value.status


def test_an_everyday_request_is_read() -> None:
    invite = request_of(INVITE)
    check_request(invite)
    assert (invite.method, invite.uri, invite.cseq) == ("INVITE", "sip:bob@biloxi.example.com", (314159, "INVITE"))
    assert invite.sender.display == "Alice"
    assert invite.sender.tag == "1928301774"
    assert invite.recipient.tag is None
    assert invite.via.branch == "z9hG4bK776asdhds"
    assert parse_message(invite.to_bytes()) == parse_message(parse_message(invite.to_bytes()).to_bytes())


def test_a_response_is_read_with_all_its_hops() -> None:
    response = parse_message(RESPONSE)
    assert isinstance(response, Response)
    assert (response.status, response.reason, response.success) == (200, "OK", True)
    assert len(response.headers.all("via")) == 2
    assert response.headers.all("record-route") == ["<sip:p2.example.com;lr>", "<sip:p1.example.com;lr>"]


def test_the_tortuous_invite_is_understood() -> None:
    invite = request_of(TORTUOUS)
    check_request(invite)
    assert invite.cseq == (9, "INVITE")
    assert invite.recipient.tag == "1918181833n"
    assert invite.sender.tag == "98asjd8"
    assert invite.sender.display == 'J Rosenberg \\"'
    assert [invite.via.host, len(invite.headers.all("via"))] == ["192.0.2.2", 3]
    assert invite.headers.get("newfangledheader") == "newfangled value continued newfangled value"
    contact = parse_address(invite.headers.all("contact")[0])
    assert contact.display == 'Quoted string ""'
    assert len(invite.body) == 150


def test_a_wide_range_of_characters_is_valid() -> None:
    odd = request_of(ODD_METHOD)
    assert odd.method == "!interesting-Method0123456789_*+`.%indeed'~"
    assert odd.cseq[1] == odd.method
    assert odd.sender.tag == "_token~1'+`*%!-."
    assert parse_uri(odd.uri).host == "example.com"


def test_a_semicolon_belongs_to_the_user_where_it_stands_there() -> None:
    uri = parse_uri(request_of(SEMICOLON_IN_USER).uri)
    assert (uri.user, uri.params) == ("user;par=u%40example.net", ())


def test_a_status_needs_no_reason() -> None:
    message = parse_message(NO_REASON)
    assert isinstance(message, Response)
    assert (message.status, message.reason) == (100, "")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        INVITE.replace(b"SIP/2.0\r\n", b"SIP/7.0\r\n", 1),  # 3.1.2.16, badvers
        INVITE.replace(b"Content-Length: 0", b"Content-Length: 9999"),  # 3.1.2.2, clerr
        INVITE.replace(b"Content-Length: 0", b"Content-Length: -999"),  # 3.1.2.3, ncl
        INVITE.replace(b"Content-Length: 0", b"Content-Length: 0\r\nContent-Length: 5"),  # 3.3.9, mcl01
        INVITE.replace(b"Max-Forwards: 70", b"Max-Forwards 70"),
        INVITE.replace(b"Max-Forwards: 70", b"\r\n".join([b"X: y"] * (MAX_HEADERS + 1))),
        INVITE.replace(b"Max-Forwards: 70", b"X: " + b"y" * 40_000),
    ],
)
def test_what_is_no_message_is_none(data: bytes) -> None:
    with pytest.raises(SipSyntaxError):
        parse_message(data)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (broken(CSeq="36893488147419103232 INVITE"), 400),  # 3.1.2.4, scalar02
        (broken(To='"Mr. J. User <sip:j.user@example.com>'), 400),  # 3.1.2.6, quotbal
        (broken(start="INVITE <sip:user@example.com> SIP/2.0"), 400),  # 3.1.2.7, ltgtruri
        (broken(start="INVITE sip:user@example.com; lr SIP/2.0"), 400),  # 3.1.2.8, lwsruri
        (broken(From='"Bell, Alexander" <sip:a.g.bell@example.com;tag=43'), 400),  # 3.1.2.13, badaspec
        (broken(From="Bell, Alexander <sip:a.g.bell@example.com>;tag=43"), 400),  # 3.1.2.15, baddn
        (broken(CSeq="8 OPTIONS"), 400),  # 3.1.2.17, mismatch01
        (broken(To="", From=""), 400),  # 3.3.1, insuf
        (broken(start="INVITE nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0"), 416),  # 3.3.2, unkscm
        (broken(start="INVITE soap.beep://192.0.2.103:3002 SIP/2.0"), 416),  # 3.3.3, novelsc
        (broken(Call_ID="a\r\nCall-ID: b"), 400),  # 3.3.8, multi01
        (broken(Via=","), 400),
        (broken(Max_Forwards="300"), 400),
        (broken(CSeq="INVITE"), 400),
    ],
)
def test_a_request_that_cannot_be_used_says_how_it_is_refused(data: bytes, status: int) -> None:
    assert refusal_of(data) == status


def test_extraneous_separators_are_passed_over() -> None:  # 3.1.2.1, badinv01
    request = request_of(broken(Via="SIP/2.0/UDP 192.0.2.15;;,;,,", Contact='"Joe" <sip:joe@example.org>;;;;'))
    check_request(request)
    assert request.via.host == "192.0.2.15"


def test_a_response_copies_what_the_way_back_needs() -> None:
    routed = INVITE.replace(b"Max-Forwards", b"Record-Route: <sip:p1.example.com;lr>\r\nMax-Forwards")
    response = response_to(request_of(routed), 200, "OK", (("contact", "<sip:b@192.0.2.4>"),), "ours")
    assert [name for name, _ in response.headers.pairs] == [
        "via", "record-route", "to", "from", "call-id", "cseq", "contact",
    ]  # fmt: skip
    assert response.recipient.tag == "ours"
    assert response_to(request_of(routed), 404, "Not Found").headers.get("record-route") is None
    assert response_to(request_of(TORTUOUS), 200, "OK", to_tag="ours").recipient.tag == "1918181833n"


def test_where_a_request_came_from_is_noted_in_its_via() -> None:
    """RFC 3581: with ``rport`` answers go back to the port the request came from."""
    invite = request_of(INVITE)
    noted = with_first(invite, "via", str(invite.via.came_from("192.0.2.1", 9988))).via
    assert noted.answer_to(5_060) == ("192.0.2.1", 9_988)
    plain = request_of(INVITE.replace(b";rport", b"")).via.came_from("192.0.2.1", 9_988)
    assert plain.answer_to(5_060) == ("192.0.2.1", 5_066)


def test_nothing_smuggles_a_header_in() -> None:
    with pytest.raises(ValueError, match="line break"):
        Request(Headers((("subject", "a\r\nVia: b"),)), method="BYE", uri="sip:a@b").to_bytes()


@pytest.mark.parametrize(
    "text",
    ["sip:", "sip:@host", "sip:a@", "mailto:a@b", "sip:a@b:99999", "sip:a@b:x", "sip:a b@c", "tel:", "sip:a@[::1", "x"],
)
def test_what_is_no_uri_is_none(text: str) -> None:
    with pytest.raises(SipSyntaxError):
        parse_uri(text)


@pytest.mark.parametrize(
    "text",
    [
        "sip:alice@atlanta.com:5060;transport=tcp?subject=x",
        "sips:bob@[2001:db8::1]:5061;lr",
        "sip:+4930123;phone-context=example.com@gw.example.com;user=phone",
        "tel:+1-201-555-0123;isub=1",
        "sip:atlanta.com;method=REGISTER",
    ],
)
def test_uris_come_out_as_they_went_in(text: str) -> None:
    assert str(parse_uri(text)) == text


# --- streams ---


def test_a_stream_is_cut_into_messages_wherever_it_is_split() -> None:
    body = INVITE.replace(b"Content-Length: 0\r\n\r\n", b"Content-Length: 4\r\n\r\nabcd")
    stream = INVITE + PING + body + b"\r\n" + RESPONSE
    whole = StreamFramer()
    messages = whole.feed(stream)
    assert [len(message.body) for message in messages] == [0, 4, 0]
    assert whole.pings == 1
    for cut in range(len(stream)):
        framer = StreamFramer()
        parts = [*framer.feed(stream[:cut]), *framer.feed(stream[cut:])]
        assert parts == messages
        assert framer.pings == 1


@pytest.mark.parametrize("stream", [b"x" * 40_000, INVITE.replace(b"Content-Length: 0", b"X: y"), b"nonsense\r\n\r\n"])
def test_a_stream_that_cannot_be_followed_ends(stream: bytes) -> None:
    with pytest.raises(SipSyntaxError):
        StreamFramer().feed(stream)
