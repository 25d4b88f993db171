"""Whatever bytes come, the codec raises its own error or none: Hypothesis tries."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st
from sip_messages import INVITE, ODD_METHOD, RESPONSE, TORTUOUS
from test_sip_sdp import PHONE, SECURE

from server.wire.sip.dialog import Dialog, dialog_of
from server.wire.sip.digest import Credentials, DigestGuard, Signed, answer_challenge
from server.wire.sip.errors import SipError
from server.wire.sip.flow import Flow
from server.wire.sip.framing import StreamFramer
from server.wire.sip.message import Request, check_request, parse_message, response_to, with_first
from server.wire.sip.offer_answer import MediaTaste, Place, answer_offer
from server.wire.sip.sdp import Ours, parse_sdp, write_sdp
from server.wire.sip.session_timer import timer_for
from server.wire.sip.transactions import TransactionLayer

GOLDEN = (INVITE, RESPONSE, TORTUOUS, ODD_METHOD)
SIGNS = b'\r\n \t;,=<>"\\:@?[]()0129sipSIP/v\x00\xff'


@st.composite
def damaged(draw: st.DrawFn, whole: tuple[bytes, ...]) -> bytes:
    """Something valid with a few pieces changed, taken out or put in."""
    data = bytearray(draw(st.sampled_from(whole)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 8))
        data[at : at + length] = bytes(draw(st.lists(st.sampled_from(SIGNS), max_size=6)))
    return bytes(data)


def use(data: bytes) -> None:
    """All an endpoint does with a message before it decides anything."""
    message = parse_message(data)
    layer = TransactionLayer()
    if not isinstance(message, Request):
        layer.response_came(message, 0.0)
        return
    message = with_first(message, "via", str(message.via.came_from("192.0.2.9", 5_061)))
    check_request(message)
    dialog_of(message)
    layer.known(message)
    layer.request_came(message, Flow("UDP", "192.0.2.9", 5_061), 0.0)
    response_to(message, 200, "OK", to_tag="t").to_bytes()
    guard = DigestGuard("r", b"k")
    guard.check([value for name, value in message.headers.pairs if name == "authorization"], Signed("A", "b"), {}, 0.0)
    timer_for(message, 1_800)
    dialog = Dialog.accepted(message, "t")
    dialog.request("BYE", "SIP/2.0/UDP h;branch=z9hG4bK1").to_bytes()
    parse_sdp(message.body)


@settings(max_examples=400, deadline=None)
@given(damaged(GOLDEN))
def test_damaged_messages_raise_nothing_else(data: bytes) -> None:
    with suppress(SipError):
        use(data)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400))
def test_noise_raises_nothing_else(data: bytes) -> None:
    with suppress(SipError):
        use(data)


@settings(max_examples=150, deadline=None)
@given(damaged(GOLDEN), st.integers(1, 200))
def test_damaged_streams_raise_nothing_else(data: bytes, step: int) -> None:
    framer = StreamFramer()
    with suppress(SipError):
        for at in range(0, len(data), step):
            framer.feed(data[at : at + step])


@settings(max_examples=300, deadline=None)
@given(damaged((PHONE, SECURE)))
def test_damaged_descriptions_raise_nothing_else(data: bytes) -> None:
    with suppress(SipError):
        _, sections = answer_offer(parse_sdp(data), MediaTaste(), Place(4_000, 4_001, bytes))
        parse_sdp(write_sdp(Ours("192.0.2.1", 1, 1), sections))


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_damaged_challenges_raise_nothing_else(text: str) -> None:
    with suppress(SipError):
        answer_challenge(
            [f"Digest {text}", f'Digest realm="x", nonce="{text}"'], Credentials("u", "p"), Signed("A", "b"), "c"
        )
    DigestGuard("x", b"k").check([f'Digest realm="x", qop=auth, uri="b", {text}'], Signed("A", "b"), {"u": "p"}, 0.0)
