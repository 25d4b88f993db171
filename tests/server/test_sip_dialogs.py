"""Dialogs, digest and session timers: RFC 3261 section 12, RFC 7616 and 8760, RFC 4028."""

from __future__ import annotations

import hashlib

import pytest
from sip_messages import INVITE, RESPONSE, broken

from server.wire.sip.dialog import Dialog, dialog_of
from server.wire.sip.digest import NONCE_LIFE_S, Credentials, DigestGuard, Signed, answer_challenge
from server.wire.sip.errors import BadRequest, SipSyntaxError
from server.wire.sip.message import Request, Response, parse_message, response_to
from server.wire.sip.session_timer import SessionTimer, timer_for, timer_from

VIA = "SIP/2.0/UDP us.example.org;branch=z9hG4bKours"


def request(data: bytes) -> Request:
    message = parse_message(data)
    assert isinstance(message, Request)
    return message


def their_dialog(*routes: str) -> Dialog:
    lines = "".join(f"Record-Route: {route}\r\n" for route in routes)
    return Dialog.accepted(request(INVITE.replace(b"Max-Forwards", lines.encode() + b"Max-Forwards")), "ours")


# --- dialogs ---


def test_requests_within_a_dialog_go_to_the_contact_by_the_recorded_routes() -> None:
    dialog = their_dialog("<sip:p1.example.com;lr>", "<sip:p2.example.com;lr>")
    bye = dialog.request("BYE", VIA)
    assert bye.uri == "sip:alice@pc33.atlanta.example.com:5066"
    assert bye.headers.all("route") == ["<sip:p1.example.com;lr>", "<sip:p2.example.com;lr>"]
    assert (bye.sender.tag, bye.recipient.tag, bye.cseq) == ("ours", "1928301774", (1, "BYE"))
    assert dialog.next_hop.host == "p1.example.com"
    assert dialog.request("INFO", VIA).cseq[0] == 2


def test_whoever_called_takes_the_routes_the_other_way_round() -> None:
    response = parse_message(RESPONSE)
    assert isinstance(response, Response)
    dialog = Dialog.answered(request(INVITE), response)
    assert [dialog.routes, str(dialog.target)] == [
        ("<sip:p1.example.com;lr>", "<sip:p2.example.com;lr>"),
        "sip:bob@192.0.2.4",
    ]
    ack = dialog.ack(VIA, 314159)
    assert (ack.cseq, ack.recipient.tag) == ((314159, "ACK"), "a6c85cf")


def test_a_strict_router_gets_its_own_address_as_the_request_uri() -> None:
    bye = their_dialog("<sip:old.example.com>", "<sip:p2.example.com;lr>").request("BYE", VIA)
    assert bye.uri == "sip:old.example.com"
    assert bye.headers.all("route") == ["<sip:p2.example.com;lr>", "<sip:alice@pc33.atlanta.example.com:5066>"]


def test_a_request_that_was_overtaken_is_refused() -> None:
    dialog = their_dialog()
    dialog.take(request(broken(start="BYE sip:x@y SIP/2.0", CSeq="314160 BYE")))
    with pytest.raises(BadRequest) as refused:
        dialog.take(request(broken(start="INFO sip:x@y SIP/2.0", CSeq="314159 INFO")))
    assert refused.value.status == 500


def test_a_request_names_its_dialog_from_our_end() -> None:
    assert dialog_of(request(INVITE)) is None
    known = request(INVITE.replace(b"To: Bob <sip:bob@biloxi.example.com>", b"To: <sip:b@x>;tag=ours"))
    assert dialog_of(known) == their_dialog().id


@pytest.mark.parametrize("contact", ["", "*", "<sip:a@b>, <sip:c@d>", "tel:+49301", "<sip:a@b"])
def test_a_call_needs_one_contact_that_can_be_reached(contact: str) -> None:
    with pytest.raises(BadRequest) as refused:
        Dialog.accepted(request(broken(Contact=contact)), "ours")
    assert refused.value.status == 400


# --- digest ---


def guard() -> DigestGuard:
    return DigestGuard("voice", b"k" * 32)


INVITED = Signed("INVITE", "sip:agent@voice.example.org")
PASSWORDS = {"anna": "correct horse battery"}


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_a_right_password_is_good_once(algorithm: str) -> None:
    asker = guard()
    challenges = [one for one in asker.challenges(10.0) if f"algorithm={algorithm}" in one]
    answer = answer_challenge(challenges, Credentials("anna", PASSWORDS["anna"]), INVITED, "c0")
    assert asker.check([answer], INVITED, PASSWORDS, 11.0) == ("good", "anna")
    assert asker.check([answer], INVITED, PASSWORDS, 12.0) == ("stale", "anna"), "nothing recorded is of use"


def test_the_better_hash_is_offered_and_taken_first() -> None:
    first, second = guard().challenges(0.0)
    assert ("SHA-256" in first, "MD5" in second) == (True, True)
    assert "algorithm=SHA-256" in answer_challenge([first, second], Credentials("a", "b"), INVITED, "c")


def test_what_is_wrong_is_bad() -> None:
    asker = guard()
    challenges = asker.challenges(0.0)
    wrong = answer_challenge(challenges, Credentials("anna", "guess"), INVITED, "c0")
    stranger = answer_challenge(challenges, Credentials("nobody", ""), INVITED, "c0")
    other = answer_challenge(challenges, Credentials("anna", PASSWORDS["anna"]), Signed("BYE", INVITED.uri), "c0")
    forged = wrong.replace('nonce="', 'nonce="A')
    for header in (wrong, stranger, other, forged, wrong.replace("qop=auth", "qop=auth-int")):
        assert asker.check([header], INVITED, PASSWORDS, 1.0)[0] == "bad"
    assert asker.check([], INVITED, PASSWORDS, 1.0)[0] == "absent"
    assert (
        asker.check(["Basic abc", wrong.replace('realm="voice"', 'realm="x"')], INVITED, PASSWORDS, 1.0)[0] == "absent"
    )


def test_a_challenge_that_is_old_or_anothers_is_not_good() -> None:
    asker = guard()
    answer = answer_challenge(asker.challenges(0.0), Credentials("anna", PASSWORDS["anna"]), INVITED, "c0")
    assert asker.check([answer], INVITED, PASSWORDS, NONCE_LIFE_S + 1)[0] == "stale"
    assert DigestGuard("voice", b"q" * 32).check([answer], INVITED, PASSWORDS, 1.0)[0] == "bad"


def test_the_example_of_rfc_7616_comes_out() -> None:
    challenge = (
        'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, '
        'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    answer = answer_challenge(
        [challenge], Credentials("Mufasa", "Circle of Life"), Signed("GET", "/dir/index.html"), cnonce
    )
    assert 'response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"' in answer
    assert 'opaque="FQhe' in answer


def test_a_challenge_without_protection_is_answered_the_old_way() -> None:
    answer = answer_challenge(['Digest realm="r", nonce="n"'], Credentials("u", "p"), Signed("REGISTER", "sip:r"), "c")
    ha1, ha2 = (hashlib.md5(text).hexdigest() for text in (b"u:r:p", b"REGISTER:sip:r"))
    assert f'response="{hashlib.md5(f"{ha1}:n:{ha2}".encode()).hexdigest()}"' in answer
    with pytest.raises(SipSyntaxError):
        answer_challenge(["Bearer x", 'Digest realm="r", algorithm=FOO'], Credentials("u", "p"), INVITED, "c")


def test_a_password_is_not_shown() -> None:
    assert "geheim" not in repr(Credentials("u", "geheim"))


# --- session timers ---


def invite_with(**headers: str) -> Request:
    return request(broken(**headers))


def test_whoever_knows_timers_refreshes() -> None:
    timer = timer_for(invite_with(Supported="timer", Session_Expires="1800"), 600)
    assert timer == SessionTimer(600, "them")
    assert timer is not None
    assert timer.headers(request=False) == [("session-expires", "600;refresher=uac"), ("require", "timer")]
    assert (timer.refresh_at(0), timer.expires_at(0)) == (300, 568)


def test_we_refresh_where_the_other_side_asks_us_to_or_cannot() -> None:
    asked = timer_for(invite_with(Supported="timer", Session_Expires="300;refresher=uas"), 1_800)
    assert asked == SessionTimer(300, "us")
    unaware = timer_for(invite_with(), 1_800)
    assert unaware == SessionTimer(1_800, "us", told=False)
    assert unaware is not None
    assert unaware.headers(request=False) == []
    assert timer_for(invite_with(), 0) is None


def test_an_interval_that_is_too_short_is_refused() -> None:
    with pytest.raises(BadRequest) as refused:
        timer_for(invite_with(Supported="timer", Session_Expires="60"), 1_800)
    assert refused.value.status == 422


def test_what_they_answer_to_ours_counts() -> None:
    accepted = response_to(invite_with(), 200, "OK", (("session-expires", "400;refresher=uac"),))
    assert timer_from(accepted) == SessionTimer(400, "us")
    assert timer_from(response_to(invite_with(), 200, "OK")) is None
    assert timer_from(response_to(invite_with(), 200, "OK", (("session-expires", "x"),))) is None
